"""Start of the engine, and attachment to a running one."""

import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from market_data.embedded.errors import EngineBusy
from market_data.embedded.home import Home
from market_data.embedded.packages import node_modules
from market_data.embedded.process import START_SECONDS, EngineProcess

POLL_SECONDS = 0.1


@contextmanager
def owned_engine(home: Path, *, report: Callable[[str], None], port: int = 0, wait: float = 5.0) -> Generator[str]:
    """Run the engine on `home` during the block and yield its DSN.

    It listens on `port` of the loopback interface, or on any port if that one is in use. If it dies it is restarted on the
    same port; `report` is then called from another thread.

    Raises:
        EngineBusy: Another process has owned `home` for all of `wait` seconds.
        EngineError: The engine can't start.
    """
    with ExitStack() as stack:
        yield _retry_while_busy(lambda: stack.enter_context(_engine(Home(home), report, port)), wait)


@contextmanager
def attached_engine(home: Path, *, report: Callable[[str], None]) -> Generator[str]:
    """Yield the DSN of the engine that runs on `home`; if there is none, run one during the block."""
    place = Home(home)
    with ExitStack() as stack:
        # Busy without a connection: another process starts or restarts the engine right now.
        yield _retry_while_busy(lambda: place.running_dsn() or stack.enter_context(_engine(place, report, 0)), START_SECONDS)


def _retry_while_busy(start: Callable[[], str], seconds: float) -> str:
    deadline = time.monotonic() + seconds
    while True:
        try:
            return start()
        except EngineBusy:
            if time.monotonic() >= deadline:
                raise
        time.sleep(POLL_SECONDS)


@contextmanager
def _engine(home: Home, report: Callable[[str], None], port: int) -> Generator[str]:
    modules = node_modules(report)
    with home.locked() as lock:
        home.create_password()
        process = EngineProcess(home, lock, modules, port, report)
        bound_port = process.start()
        try:
            yield home.dsn(bound_port)
        finally:
            process.stop()
