"""A PostgreSQL server of a run, which may be killed: TEST_POSTGRES_BIN is the folder of its programs."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
from helpers.service import eventually

BIN = os.environ.get("TEST_POSTGRES_BIN")

CONFIGURATION = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
shared_preload_libraries = 'timescaledb'
timescaledb.telemetry_level = off
max_worker_processes = 32
timescaledb.max_background_workers = 16
fsync = off  # the processes are killed, not the machine
max_wal_size = 4GB
"""


class PostgresServer:
    """A server in a folder of its own. PostgreSQL does not run as root; root starts it as another user."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        assert BIN
        self._bin = Path(BIN)
        self._data = folder / "data"
        self._log = folder / "server.log"
        self._environment = {**os.environ, **environment}
        self._user = None if os.geteuid() else unprivileged_user()
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            self._port = bound.getsockname()[1]
        if self._user:
            owner = pwd.getpwnam(self._user)
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        arguments = ["--pgdata", self._data, "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync"]
        subprocess.run([self._bin / "initdb", *arguments], user=self._user, env=os.environ, cwd="/", check=True, stdout=-3)
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(f"{CONFIGURATION}port = {self._port}\n")

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        """Start the server. A killed server's shared memory may be in use for a moment."""
        eventually(self._try_start, 60)

    def _try_start(self) -> bool:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", self._data],
                user=self._user,
                env=self._environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return eventually(self._state, 60) == "ready"

    def _state(self) -> str:
        if self._process.poll() is not None:
            return "ended"
        with suppress(psycopg.OperationalError):
            psycopg.connect(self.url, connect_timeout=2).close()
            return "ready"
        return ""

    def kill(self) -> None:
        """Kill the server and all its processes."""
        parent = str(self._process.pid)
        children = subprocess.run(["pgrep", "-P", parent], capture_output=True, text=True, check=False).stdout.split()
        for pid in (parent, *children):
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()


def unprivileged_user() -> str:
    """Return the user that runs the server for root: `postgres` if there is one."""
    with suppress(KeyError):
        return pwd.getpwnam("postgres").pw_name
    return "nobody"


@contextmanager
def running_server(environment: Mapping[str, str]) -> Iterator[PostgresServer]:
    """Run a server in a `with` block."""
    # Not in a folder that only its owner may enter.
    folder = Path(tempfile.mkdtemp(prefix="market-data-server-"))
    try:
        server = PostgresServer(folder, environment)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
