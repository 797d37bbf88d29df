"""What each process does first: it says where its log goes, and how signals end it."""

import logging
import signal
import sys
from types import FrameType

from market_data.settings import read_settings
from market_data.telemetry.logging import configure


def configure_logging() -> None:
    """Log to standard error at LOG_LEVEL, without what the libraries say of every connection and start."""
    configure(read_settings().log_level)
    if not logging.getLogger().isEnabledFor(logging.DEBUG):
        for name in ("alembic", "uvicorn"):
            logging.getLogger(name).setLevel(logging.WARNING)
        # Of a lost database it tells every attempt; `database` and `ingest` tell of each change of state.
        logging.getLogger("psycopg").setLevel(logging.ERROR)


def stop_in_order() -> None:
    """Let SIGTERM, SIGINT and a closed terminal unwind the process once, and with status 0; later ones don't disturb that.

    While uvicorn runs, the first two are its own; it passes the one that ended it on to this handler. A hang-up that we were
    told to ignore (by nohup) stays ignored.
    """

    def unwind(_signal: int, _frame: FrameType | None) -> None:
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        sys.exit(0)

    def hang_up(_signal: int, _frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGTERM)

    signal.signal(signal.SIGTERM, unwind)
    signal.signal(signal.SIGINT, unwind)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, hang_up)
