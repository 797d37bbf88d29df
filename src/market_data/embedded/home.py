"""The directory of one engine.

data/           PostgreSQL's data directory
engine.lock     locked by the owner and by the engine itself until both have ended; contains the owner's pid and command
engine.json     port and DSN while the engine is ready; may be stale after a crash, because only the lock is authoritative
engine.log      log of the engine
"""

import fcntl
import json
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psycopg

from market_data.embedded.errors import EngineBusy, EngineError

MAX_LOG_BYTES = 5_000_000
DATABASE = "market_data"


def dsn(port: int) -> str:
    """DSN of the engine's superuser."""
    return f"postgresql://postgres@127.0.0.1:{port}/{DATABASE}"


class Home:
    """Directory of one engine, which need not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self.data = self.path / "data"
        self.log = self.path / "engine.log"
        self._lock = self.path / "engine.lock"
        self._connection_file = self.path / "engine.json"

    @contextmanager
    def locked(self) -> Generator[int]:
        """Own the directory during the block; yields the lock's file descriptor, which the engine inherits.

        Raises `EngineBusy` at once if another process owns the directory.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise EngineError(
                f"can't use {self.path} for the embedded engine: {error.strerror}; set MARKET_DATA_HOME to another directory"
            ) from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise EngineBusy(
                    f"{self._lock_owner()} runs the embedded engine on {self.path}: "
                    "stop it, or set MARKET_DATA_HOME to another directory"
                ) from None
            try:
                owner = json.dumps({"pid": os.getpid(), "command": _command()}).encode()
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, owner, 0)
                self.remove_connection_file()
            except OSError as error:
                raise EngineError(f"can't write to {self.path}: {error.strerror}") from error
            yield descriptor
        finally:
            os.close(descriptor)

    def _lock_owner(self) -> str:
        try:
            owner = json.loads(self._lock.read_text())
            return f"another process (pid {owner['pid']}, {owner['command']})"
        except (OSError, ValueError, KeyError, TypeError):
            return "another process"

    def write_connection_file(self, pid: int, port: int) -> None:
        """Let other processes attach to the engine."""
        connection = {"pid": pid, "port": port, "dsn": dsn(port), "owner": os.getpid(), "command": _command()}
        draft = self._connection_file.with_suffix(".json.new")
        try:
            draft.write_text(json.dumps(connection))
            draft.rename(self._connection_file)
        except OSError as error:
            raise EngineError(f"can't write to {self.path}: {error.strerror}") from error

    def remove_connection_file(self) -> None:
        """Prevent other processes from attaching to the engine."""
        self._connection_file.unlink(missing_ok=True)

    def running_dsn(self) -> str | None:
        """DSN of the running engine; None if there is none, or it accepts no connection."""
        try:
            address = dsn(int(json.loads(self._connection_file.read_text())["port"]))
            # Another program may use the port after a crash; a server that has this database is the engine.
            psycopg.connect(address, connect_timeout=5).close()
            return address
        except (OSError, ValueError, KeyError, TypeError, psycopg.Error):
            return None

    def open_log(self) -> IO[bytes]:
        """Open the log for appending; a log over `MAX_LOG_BYTES` is first renamed to `engine.log.1`."""
        try:
            if self.log.exists() and self.log.stat().st_size > MAX_LOG_BYTES:
                self.log.rename(self.log.with_suffix(".log.1"))
            return self.log.open("ab")
        except OSError as error:
            raise EngineError(f"can't write {self.log}: {error.strerror}") from error


def _command() -> str:
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200]
