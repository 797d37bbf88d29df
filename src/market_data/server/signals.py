"""Logging and signal handlers, which each process sets up first."""

import logging
import signal
import sys
from types import FrameType

from market_data.settings import read_settings
from market_data.telemetry.logging import configure

INTERRUPTED = 130
"""Exit status after Ctrl-C, by the convention of shells."""


def configure_logging() -> None:
    """Log to standard error at LOG_LEVEL. Libraries log starts and connections only at DEBUG."""
    configure(read_settings().log_level)
    if not logging.getLogger().isEnabledFor(logging.DEBUG):
        for name in ("alembic", "uvicorn"):
            logging.getLogger(name).setLevel(logging.WARNING)
        # psycopg logs each failed attempt to connect; `database` and `feed` log each change of availability.
        logging.getLogger("psycopg").setLevel(logging.ERROR)


def stop_in_order(status: int = INTERRUPTED) -> None:
    """Exit with a status after the first SIGTERM, SIGINT or SIGHUP, and ignore later ones.

    While uvicorn runs, it handles SIGTERM and SIGINT itself, and then passes them on to this handler. SIGHUP stays ignored
    if the process was started with `nohup`.
    """

    def unwind(_signal: int, _frame: FrameType | None) -> None:
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        sys.exit(status)

    signal.signal(signal.SIGTERM, unwind)
    signal.signal(signal.SIGINT, unwind)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda _signal, _frame: signal.raise_signal(signal.SIGTERM))
