"""The directory of one engine.

data/           PostgreSQL's data directory
engine.lock     locked by the owner and by the engine itself until both have ended; contains the owner's pid and command
engine.json     port and DSN while the engine is ready; may be stale after a crash, because only the lock is authoritative
pgpass          random password of the engine, in libpq's format, which DSNs name as `passfile`
engine.log      log of the engine
"""

import fcntl
import json
import os
import secrets
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import quote

import psycopg

from market_data.embedded.errors import EngineBusy, EngineError

MAX_LOG_BYTES = 5_000_000
DATABASE = "market_data"


class Home:
    """Directory of one engine, which need not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self.data = self.path / "data"
        self.log = self.path / "engine.log"
        self.passfile = self.path / "pgpass"
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

    def dsn(self, port: int) -> str:
        """DSN of the engine's superuser. libpq reads the password from the file, and an empty one keeps PGPASSWORD out."""
        return f"postgresql://postgres@127.0.0.1:{port}/{DATABASE}?password=&passfile={quote(str(self.passfile))}"

    def create_password(self) -> None:
        """Create the password file, or restrict the existing one to its owner: libpq ignores one that others may read."""
        try:
            if self.passfile.exists():
                self.passfile.chmod(0o600)
            else:
                _write_private(self.passfile, f"127.0.0.1:*:{DATABASE}:*:{secrets.token_urlsafe(32)}\n")
        except OSError as error:
            raise EngineError(f"can't write to {self.passfile}: {error.strerror}") from error

    def write_connection_file(self, pid: int, port: int) -> None:
        """Let other processes attach to the engine."""
        connection = {"pid": pid, "port": port, "dsn": self.dsn(port), "owner": os.getpid(), "command": _command()}
        try:
            _write_private(self._connection_file, json.dumps(connection))
        except OSError as error:
            raise EngineError(f"can't write to {self.path}: {error.strerror}") from error

    def remove_connection_file(self) -> None:
        """Prevent other processes from attaching to the engine."""
        self._connection_file.unlink(missing_ok=True)

    def running_dsn(self) -> str | None:
        """DSN of the running engine; None if there is none, or it accepts no connection."""
        try:
            address = self.dsn(int(json.loads(self._connection_file.read_text())["port"]))
            # Another program may use the port after a crash; a server that knows the password is the engine.
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


def _write_private(path: Path, text: str) -> None:
    """Replace a file by one that only its owner may read."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    draft.touch(0o600, exist_ok=False)
    draft.write_text(text)
    draft.rename(path)


def _command() -> str:
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200]
