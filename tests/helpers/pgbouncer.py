"""PgBouncer on loopback, in transaction mode, with the configuration of `src/market_data/server/README.md`."""

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
from helpers.support import PROJECT, changed_url
from psycopg.conninfo import conninfo_to_dict

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/bin")

POOL_SIZE = 2


def readme_ini() -> str:
    """Return the recommended configuration."""
    (text,) = re.findall(r"```ini\n(.*?)```", (PROJECT / "src/market_data/server/README.md").read_text(), re.DOTALL)
    return text


@contextmanager
def running_pgbouncer(database_url: str, *settings: str) -> Iterator[str]:
    """Run PgBouncer in front of a database, with further lines of configuration, and yield the URL through it."""
    with pausable_pgbouncer(database_url, *settings) as (url, _):
        yield url


@contextmanager
def pausable_pgbouncer(database_url: str, *settings: str) -> Iterator[tuple[str, Callable[[signal.Signals], None]]]:
    """Run PgBouncer in front of a database, and yield the URL through it and a function that signals it.

    SIGUSR1 lets it finish transactions and begin no others until SIGUSR2; SIGSTOP stops everything until SIGCONT.
    """
    with pgbouncer_process(database_url, readme_ini(), *settings) as (url, process):
        yield url, process.send_signal


@contextmanager
def pgbouncer_process(
    database_url: str, configuration: str, *settings: str
) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """Run PgBouncer with a configuration, without its secrets and TLS, and yield the URL through it and the process."""
    # Not in a folder of pytest, which only its owner may enter.
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as folder:
        yield from _running_pgbouncer(database_url, configuration, Path(folder), settings)


def _running_pgbouncer(
    database_url: str, text: str, folder: Path, settings: Sequence[str]
) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    assert PROGRAM
    target = {"password": None, **conninfo_to_dict(database_url)}
    if "passfile" in target:  # of the embedded engine; PgBouncer reads no such file
        target["password"] = Path(str(target["passfile"])).read_text().strip().rpartition(":")[2]
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        own_port = bound.getsockname()[1]
    server = [f"{name}={target[name]}" for name in ("host", "port", "dbname", "user", "password") if target[name]]
    changes = {
        r"market_data = host=.*": f"{target['dbname']} = {' '.join(server)}",
        r"listen_addr = .*": "listen_addr = 127.0.0.1",
        r"listen_port = .*": f"listen_port = {own_port}\nunix_socket_dir =\nlogfile = {folder}/pgbouncer.log",
        r"auth_type = scram-sha-256\nauth_file = .*": "auth_type = any",  # as on the servers of the tests
        r"default_pool_size = .*": f"default_pool_size = {POOL_SIZE}",
    }
    for theirs, ours in changes.items():
        text, count = re.subn(f"^{theirs}$", lambda _, ours=ours: ours, text, flags=re.MULTILINE)
        assert count == 1, theirs
    text = re.sub(r"^server_tls_.*\n", "", text, flags=re.MULTILINE)
    (folder / "pgbouncer.ini").write_text("\n".join([text, *settings, ""]))
    process = subprocess.Popen(
        [PROGRAM, "--quiet", *_as_nobody(folder), "pgbouncer.ini"], cwd=folder, stdin=subprocess.DEVNULL
    )
    url = changed_url(database_url, port=own_port)
    try:
        _wait_for(url, process, folder)
        yield url, process
    finally:
        process.terminate()
        process.wait(10)


def _as_nobody(folder: Path) -> list[str]:
    """Return options to run as `nobody`: PgBouncer refuses to run as root."""
    if os.geteuid():
        return []
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return ["--user", "nobody"]


def _wait_for(url: str, process: "subprocess.Popen[bytes]", folder: Path) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            log = folder / "pgbouncer.log"
            assert process.poll() is None, log.read_text() if log.exists() else "pgbouncer ended"
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        else:
            return
