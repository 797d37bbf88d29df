"""A primary and a streaming standby of its own server programs, which a test may kill and promote.

The server in TEST_DATABASE_URL is not touched. The programs are those in PG_BIN, whose `timescaledb` is the same.
"""

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest
from helpers.backups import PG_BIN
from helpers.service import eventually

USER = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
"""PostgreSQL refuses to run as root."""

SETTINGS = {
    "shared_preload_libraries": "timescaledb",
    "listen_addresses": "127.0.0.1",
    "timescaledb.telemetry_level": "off",
    "max_connections": "200",
    "max_worker_processes": "32",
    "wal_keep_size": "512MB",
    "wal_sender_timeout": "5s",
    "log_min_messages": "warning",
}


CAUGHT_UP = "SELECT bool_and(replay_lsn = pg_current_wal_lsn()) FROM pg_stat_replication"


@dataclass
class Server:
    """One PostgreSQL server."""

    data: Path
    port: int

    @property
    def url(self) -> str:
        """A superuser's DSN."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it with its settings, and wait until it accepts connections."""
        settings = SETTINGS | {"port": str(self.port), "unix_socket_directories": str(self.data)}
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        _run("pg_ctl", "-D", str(self.data), "-w", "-l", str(self.data / "server.log"), "-o", options, "start")

    def kill(self) -> None:
        """End all of its processes at once, as a lost machine does."""
        first = int((self.data / "postmaster.pid").read_text().split()[0])
        children = subprocess.run(["pgrep", "-P", str(first)], capture_output=True, text=True, check=False)
        subprocess.run(["kill", "-KILL", str(first), *children.stdout.split()], check=False)

    def promote(self) -> None:
        """Make a standby the primary."""
        _run("pg_ctl", "-D", str(self.data), "-w", "promote")

    def end(self) -> None:
        """Stop it if it runs."""
        with suppress(subprocess.CalledProcessError):
            _run("pg_ctl", "-D", str(self.data), "-m", "immediate", "stop")


@dataclass
class Pair:
    """Two servers, the first of which is the primary."""

    primary: Server
    standby: Server

    @property
    def url(self) -> str:
        """A DSN that leads to whichever server accepts writes."""
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in (self.primary, self.standby))
        return f"postgresql://postgres@{hosts}/postgres?target_session_attrs=read-write"

    def caught_up(self) -> bool:
        """True if the standby has replayed all that the primary has written."""
        with psycopg.connect(self.primary.url, autocommit=True) as connection:
            row = connection.execute(CAUGHT_UP).fetchone()
        return bool(row and row[0])

    def disconnect_standby(self) -> None:
        """Let the standby receive nothing more."""
        with psycopg.connect(self.standby.url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET primary_conninfo = ''")
            connection.execute("SELECT pg_reload_conf()")
            eventually(lambda: connection.execute("SELECT pid FROM pg_stat_wal_receiver").fetchall() == [])

    def fail_over(self) -> None:
        """Lose the primary, and let the standby take its place."""
        self.primary.kill()
        self.standby.promote()


@contextmanager
def primary_and_standby(*, synchronous: bool) -> Iterator[Pair]:
    """Yield a running pair; with `synchronous`, a commit is acknowledged once the standby has it."""
    # Not pytest's folder, which other users can't enter.
    with TemporaryDirectory(prefix="market-data-pair-") as name:
        folder = Path(name)
        shutil.chown(folder, USER)
        if not Path(f"{PG_BIN}/initdb").exists():
            pytest.skip("the programs of a server are not in PG_BIN")
        pair = Pair(Server(folder / "primary", _free_port()), Server(folder / "standby", _free_port()))
        _run("initdb", "-D", str(pair.primary.data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N")
        try:
            pair.primary.start()
            _run("pg_basebackup", "-D", str(pair.standby.data), "-d", pair.primary.url, "-R", "-X", "stream", "-c", "fast")
            pair.standby.start()
            eventually(pair.caught_up)
            if synchronous:
                with psycopg.connect(pair.primary.url, autocommit=True) as connection:
                    connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
                    connection.execute("SELECT pg_reload_conf()")
            yield pair
        finally:
            for server in (pair.standby, pair.primary):
                server.end()


def _run(program: str, *arguments: str) -> None:
    subprocess.run(
        [f"{PG_BIN}/{program}", *arguments],
        user=USER,
        group=pwd.getpwnam(USER).pw_gid,
        extra_groups=[],
        cwd="/",
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        timeout=60,
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
