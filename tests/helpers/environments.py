"""Services for fault injection: restarted on the same port, with direct connections to their databases."""

import json
import os
import random
import shutil
import socket
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from helpers.service import Service
from helpers.standby import Pair, primary_and_standby
from helpers.support import SERVER, Databases, changed_url
from helpers.tcp_proxy import Proxy, proxy_to
from psycopg.conninfo import conninfo_to_dict

from market_data.database import migrations

SETTINGS = {
    "INGESTION_INTERVAL_SECONDS": "0.2",
    "FEED_LEASE_SECONDS": "1",
    "POOL_TIMEOUT_SECONDS": "1",
    "QUERY_TIMEOUT_SECONDS": "1",
    "FUTURE_TOLERANCE_SECONDS": "86400",  # longer than the clock is set back
}

DISK_BYTES = 120_000_000


def lasting_port() -> int:
    """Return a free port for a service that is killed and restarted.

    It is below those of clients: one that connects to a killed service again and again may get its port, and then it
    responds to itself.
    """
    while True:
        port = random.randrange(20_000, 32_768)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Environment:
    """A service and its database. `injected` counts the faults."""

    def __init__(self, folder: Path, url: Callable[[], str], **settings: str) -> None:
        self.folder = folder
        self._url = url
        self._settings = {**SETTINGS, **settings}
        self._arguments: tuple[str, ...] = ()
        self._port = str(lasting_port())
        self._proxy: Proxy | None = None
        self._pair: Pair | None = None
        self.home = folder
        """Home of the embedded engine, if the service runs it."""
        self.disk = folder
        """Mount point of the small disk, if the environment has one."""
        self.services: list[Service] = []
        self.injected = Counter[str]()

    def prepare(self, *arguments: str, **settings: str) -> None:
        """Set arguments and settings for the next starts of the service."""
        self._arguments = arguments or self._arguments
        self._settings |= settings

    def start(self) -> None:
        """Start the service, at the same address as before."""
        self.services.append(Service(self.folder, *self._arguments, "--port", self._port, **self._settings))
        self.address = self.service.wait_until_ready()
        self._port = self.address.rpartition(":")[2]

    def end(self) -> None:
        """End the service, if it runs."""
        if self.services:
            self.service.end()

    @property
    def service(self) -> Service:
        return self.services[-1]

    @property
    def proxy(self) -> Proxy:
        """Proxy between the service and the database."""
        assert self._proxy, "the environment has no proxy"
        return self._proxy

    @proxy.setter
    def proxy(self, proxy: Proxy) -> None:
        self._proxy = proxy

    @property
    def pair(self) -> Pair:
        """Primary and standby that the service runs on."""
        assert self._pair, "the environment has no standby"
        return self._pair

    @pair.setter
    def pair(self, pair: Pair) -> None:
        self._pair = pair

    @property
    def url(self) -> str:
        """URL of the database without the proxy."""
        return self._url()

    @property
    def engine(self) -> int:
        """Process id of the engine that the service runs."""
        return engine_state(self.home)["pid"]

    @property
    def logs(self) -> str:
        """Output of all runs of the service."""
        return "".join(service.text for service in self.services)

    @property
    def clock(self) -> Path:
        """File with the offset of the service's clock, for libfaketime."""
        return self.folder / "clock"


@contextmanager
def with_own_database(folder: Path, databases: Databases, seed: Path | None) -> Iterator[Environment]:
    """Yield a service that runs the embedded engine, or has its own database on the test server."""
    if seed:
        yield engine_environment(folder, shutil.copytree(seed, folder / "home"))
        return
    with databases() as url:
        yield Environment(folder, lambda: url, DATABASE_URL=url)


def engine_environment(folder: Path, home: Path) -> Environment:
    """Return a service that runs the embedded engine on a home."""
    environment = Environment(folder, lambda: str(engine_state(home)["dsn"]), MARKET_DATA_HOME=str(home), EMBEDDED_PORT="0")
    environment.home = home
    return environment


def engine_state(home: Path) -> dict[str, Any]:
    """Read the state file of a running engine."""
    return json.loads((home / "engine.json").read_text())


@contextmanager
def behind_proxy(folder: Path, databases: Databases, seed: Path | None) -> Iterator[Environment]:
    """Yield a service that reaches its database through a proxy."""
    with databases() as url:
        target = conninfo_to_dict(url)
        with proxy_to(str(target["host"]), int(str(target["port"]))) as proxy:
            environment = Environment(folder, lambda: url, DATABASE_URL=changed_url(url, port=proxy.port))
            environment.proxy = proxy
            yield environment


@contextmanager
def on_a_synchronous_pair(folder: Path, databases: Databases, seed: Path | None) -> Iterator[Environment]:
    """Yield a service on a primary and a synchronous standby of its own."""
    with primary_and_standby(synchronous=True) as pair:
        migrations.upgrade(pair.url)
        environment = Environment(folder, lambda: pair.url, DATABASE_URL=pair.url)
        environment.pair = pair
        yield environment


def _mount_command(disk: Path) -> list[str]:
    return ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=711", "tmpfs", str(disk)]


def can_mount_small_disk() -> bool:
    """True if this process may mount a tmpfs: only root may, and not in every container."""
    if shutil.which("mount") is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        if subprocess.run(_mount_command(Path(folder)), capture_output=True, check=False).returncode:
            return False
        subprocess.run(["umount", folder], check=True)
    return True


@contextmanager
def on_a_small_disk(folder: Path, databases: Databases, seed: Path | None) -> Iterator[Environment]:
    """Yield a service whose engine's data, or whose database's tablespace on the server, is on a small tmpfs.

    The server's write-ahead log is elsewhere, because other databases use it, too.
    """
    # Not in pytest's folder, which the server may not read.
    disk = Path(tempfile.mkdtemp(prefix="market-data-disk-"))
    disk.chmod(0o711)
    subprocess.run(_mount_command(disk), check=True)
    try:
        with ExitStack() as stack:
            if seed:
                environment = engine_environment(folder, shutil.copytree(seed, disk / "home"))
            else:
                url = stack.enter_context(_database_in(disk))
                environment = Environment(folder, lambda: url, DATABASE_URL=url)
            environment.disk = disk
            yield environment
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
        disk.rmdir()


@contextmanager
def _database_in(disk: Path) -> Iterator[str]:
    assert SERVER
    name = f"market_data_test_{uuid4().hex[:12]}"
    with ExitStack() as stack:
        connection = stack.enter_context(psycopg.connect(SERVER, autocommit=True))
        ((data,),) = connection.execute("SHOW data_directory").fetchall()
        if not Path(data).is_dir():
            pytest.skip("the server runs on another machine")
        owner = Path(data).stat()
        os.chown(disk, owner.st_uid, owner.st_gid)
        for create, drop in (
            (f"CREATE TABLESPACE {name} LOCATION '{disk}'", f"DROP TABLESPACE {name}"),
            (f"CREATE DATABASE {name} TABLESPACE {name}", f"DROP DATABASE {name} WITH (FORCE)"),
        ):
            connection.execute(create.encode())
            stack.callback(connection.execute, drop.encode())
        url = changed_url(SERVER, database=name)
        migrations.upgrade(url)
        yield url


def fill_up(disk: Path) -> Path:
    """Fill a disk with one file and return its path."""
    path = disk / "full"
    with path.open("wb", buffering=0) as file:
        for size in (1_000_000, 4096):
            with suppress(OSError):
                while file.write(bytes(size)):
                    pass
    assert shutil.disk_usage(disk).free == 0
    return path
