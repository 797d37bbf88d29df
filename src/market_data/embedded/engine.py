"""Starting the engine, and sharing the one that runs."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from market_data.embedded.errors import EngineBusy
from market_data.embedded.home import Home, dsn
from market_data.embedded.packages import node_modules
from market_data.embedded.process import START_SECONDS, EngineProcess

POLL_SECONDS = 0.1


@contextmanager
def owned_engine(home: Path, *, say: Callable[[str], None], port: int = 0, wait: float = 5.0) -> Generator[str]:
    """Run the engine on `home` for the block; yields its DSN.

    It listens on `port` of the loopback interface if that is free, else on any. If it dies under us it is started
    again on the same port; `say` is then called from another thread. Raises `EngineBusy` if somebody else has had
    `home` for all of `wait` seconds, and `EngineError` if the engine can't start.
    """
    place = Home(home)
    deadline = time.monotonic() + wait
    while True:
        try:
            with _running(place, say=say, port=port) as address:
                yield address
            return
        except _Taken as taken:
            if time.monotonic() >= deadline:
                raise taken.busy from None
        time.sleep(POLL_SECONDS)


@contextmanager
def attached_engine(home: Path, *, say: Callable[[str], None]) -> Generator[str]:
    """The DSN of the engine that runs on `home`, or of one that runs for the duration of the block."""
    place = Home(home)
    deadline = time.monotonic() + START_SECONDS
    while True:
        address = place.reachable()
        if address is not None:
            yield address
            return
        try:
            with _running(place, say=say, port=0) as address:
                yield address
            return
        except _Taken as taken:
            # Somebody is starting it, or it is being started again.
            if time.monotonic() >= deadline:
                raise taken.busy from None
        time.sleep(POLL_SECONDS)


class _Taken(Exception):
    """The home is somebody else's; an exception of the caller's block can't be taken for it."""

    def __init__(self, busy: EngineBusy) -> None:
        super().__init__(str(busy))
        self.busy = busy


@contextmanager
def _running(place: Home, *, say: Callable[[str], None], port: int) -> Generator[str]:
    modules = node_modules(say)
    claim = place.claim()
    try:
        lock = claim.__enter__()
    except EngineBusy as busy:
        raise _Taken(busy) from None
    try:
        process = EngineProcess(place, lock, modules, port, say)
        bound = process.start()
        try:
            yield dsn(bound)
        finally:
            process.stop()
    finally:
        claim.__exit__(None, None, None)
