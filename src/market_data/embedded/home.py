"""The directory of one engine: who has it, and how to reach the engine that runs on it.

data/           PostgreSQL's data directory
engine.lock     locked by the owner and by the engine itself, so until the last of them is gone; says who it is
engine.json     how to connect, while the engine is ready; harmless when it is stale, for the lock is the truth
engine.log      what the engine wrote
"""

import fcntl
import json
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypedDict

import psycopg

from market_data.embedded.errors import EngineBusy, EngineError

LOG_LIMIT = 5_000_000
DATABASE = "market_data"


class Running(TypedDict):
    """What `engine.json` says."""

    pid: int
    port: int
    dsn: str
    owner: int
    command: str


def dsn(port: int) -> str:
    """How to connect to the engine as its superuser."""
    return f"postgresql://postgres@127.0.0.1:{port}/{DATABASE}"


class Home:
    """One engine's directory, which need not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self.data = self.path / "data"
        self.log = self.path / "engine.log"
        self._lock = self.path / "engine.lock"
        self._running = self.path / "engine.json"

    @contextmanager
    def claim(self) -> Generator[int]:
        """Own the directory for the block; yields the descriptor that holds the lock, for the engine to inherit.

        Raises `EngineBusy` at once if somebody else owns it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise EngineError(f"can't use {self.path} for the embedded engine: {error.strerror}") from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise EngineBusy(
                    f"{self._holder()} runs the embedded engine on {self.path}: "
                    "stop it, or set MARKET_DATA_HOME to another directory"
                ) from None
            try:
                owner = json.dumps({"pid": os.getpid(), "command": _command()}).encode()
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, owner, 0)
                self.withdraw()
            except OSError as error:
                raise EngineError(f"can't write to {self.path}: {error.strerror}") from error
            yield descriptor
        finally:
            os.close(descriptor)

    def _holder(self) -> str:
        try:
            owner = json.loads(self._lock.read_text())
            return f"another process (pid {owner['pid']}, {owner['command']})"
        except (OSError, ValueError, KeyError, TypeError):
            return "another process"

    def announce(self, pid: int, port: int) -> None:
        """Tell those who attach that the engine is ready."""
        running = Running(pid=pid, port=port, dsn=dsn(port), owner=os.getpid(), command=_command())
        draft = self._running.with_suffix(".json.new")
        try:
            draft.write_text(json.dumps(running))
            draft.rename(self._running)
        except OSError as error:
            raise EngineError(f"can't write to {self.path}: {error.strerror}") from error

    def withdraw(self) -> None:
        """Take the announcement back."""
        self._running.unlink(missing_ok=True)

    def reachable(self) -> str | None:
        """The DSN of the announced engine, if one answers there."""
        try:
            running: Running = json.loads(self._running.read_text())
            address = dsn(int(running["port"]))
            # The port alone may be another's by now; a server that lets us into this database is the engine.
            psycopg.connect(address, connect_timeout=5).close()
            return address
        except (OSError, ValueError, KeyError, TypeError, psycopg.Error):
            return None

    def open_log(self) -> IO[bytes]:
        """The log, to be appended to; a long one is put aside first."""
        try:
            if self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
                self.log.rename(self.log.with_suffix(".log.1"))
            return self.log.open("ab")
        except OSError as error:
            raise EngineError(f"can't write {self.log}: {error.strerror}") from error


def _command() -> str:
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200]
