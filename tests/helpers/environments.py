"""Services that faults are injected into: started on one port again and again, with databases that are reached past them."""

import json
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from helpers.service import Service
from helpers.support import SERVER, changed_url
from helpers.tcp_proxy import Proxy, proxy_to
from psycopg.conninfo import conninfo_to_dict

from market_data.database import migrations

SETTINGS = {
    "INGESTION_INTERVAL_SECONDS": "0.2",
    "FEED_LEASE_SECONDS": "1",
    "POOL_TIMEOUT_SECONDS": "1",
    "QUERY_TIMEOUT_SECONDS": "1",
    "FUTURE_TOLERANCE_SECONDS": "86400",  # for a clock that is put back
}

DISK_BYTES = 120_000_000

Databases = Callable[[], AbstractContextManager[str]]


class Stage:
    """A service and its database. What is done to them is counted in `injected`."""

    def __init__(self, folder: Path, url: Callable[[], str], **settings: str) -> None:
        self.folder = folder
        self._url = url
        self._settings = {**SETTINGS, **settings}
        self._arguments: tuple[str, ...] = ()
        self._port = "0"
        self._proxy: Proxy | None = None
        self.home = folder
        """Where the embedded engine is, where the service runs it."""
        self.disk = folder
        """A folder that is a small disk of its own, at a stage that has one."""
        self.services: list[Service] = []
        self.injected = Counter[str]()

    def prepare(self, *arguments: str, **settings: str) -> None:
        """Start the service like this from now on."""
        self._arguments = arguments or self._arguments
        self._settings |= settings

    def start(self) -> None:
        """Start the service; at the address that it had before, if it was started before."""
        self.services.append(Service(self.folder, *self._arguments, "--port", self._port, **self._settings))
        self.address = self.service.wait_until_ready()
        self._port = self.address.rpartition(":")[2]

    @property
    def service(self) -> Service:
        return self.services[-1]

    @property
    def proxy(self) -> Proxy:
        """Between the service and the database."""
        assert self._proxy, "the stage has none"
        return self._proxy

    @proxy.setter
    def proxy(self, proxy: Proxy) -> None:
        self._proxy = proxy

    @property
    def url(self) -> str:
        """The database, past the proxy."""
        return self._url()

    @property
    def engine(self) -> int:
        """The process of the engine, where the service runs it."""
        return _running(self.home)["pid"]

    @property
    def logs(self) -> str:
        """What the service has printed, each time that it ran."""
        return "".join(service.text for service in self.services)

    @property
    def clock(self) -> Path:
        """What is added to the service's clock, for libfaketime."""
        return self.folder / "clock"


@contextmanager
def on_its_own(folder: Path, databases: Databases, seed: Path | None) -> Iterator[Stage]:
    """A service that runs the embedded engine itself; on the server, one with a database of its own."""
    if seed:
        yield _with_engine(folder, shutil.copytree(seed, folder / "home"))
        return
    with databases() as url:
        yield Stage(folder, lambda: url, DATABASE_URL=url)


def _with_engine(folder: Path, home: Path) -> Stage:
    stage = Stage(folder, lambda: str(_running(home)["dsn"]), MARKET_DATA_HOME=str(home), EMBEDDED_PORT="0")
    stage.home = home
    return stage


def _running(home: Path) -> dict[str, Any]:
    """What the engine that runs there tells of itself."""
    return json.loads((home / "engine.json").read_text())


@contextmanager
def behind_a_proxy(folder: Path, databases: Databases, seed: Path | None) -> Iterator[Stage]:
    """A service that reaches its database through a proxy."""
    with databases() as url:
        target = conninfo_to_dict(url)
        with proxy_to(str(target["host"]), int(str(target["port"]))) as proxy:
            stage = Stage(folder, lambda: url, DATABASE_URL=changed_url(url, port=proxy.port))
            stage.proxy = proxy
            yield stage


def _mounting(disk: Path) -> list[str]:
    return ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=711", "tmpfs", str(disk)]


def can_have_a_small_disk() -> bool:
    """Whether we may mount one: only root may, and not in each container."""
    if shutil.which("mount") is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        if subprocess.run(_mounting(Path(folder)), capture_output=True, check=False).returncode:
            return False
        subprocess.run(["umount", folder], check=True)
    return True


@contextmanager
def on_a_small_disk(folder: Path, databases: Databases, seed: Path | None) -> Iterator[Stage]:
    """As `on_its_own`, with the data of the engine, or the tablespace of the server's database, on a small tmpfs.

    The server's write-ahead log is elsewhere: it is the other databases' as well.
    """
    # Not in pytest's folder, where the server may not go.
    disk = Path(tempfile.mkdtemp(prefix="market-data-disk-"))
    disk.chmod(0o711)
    subprocess.run(_mounting(disk), check=True)
    try:
        with ExitStack() as stack:
            if seed:
                stage = _with_engine(folder, shutil.copytree(seed, disk / "home"))
            else:
                url = stack.enter_context(_database_in(disk))
                stage = Stage(folder, lambda: url, DATABASE_URL=url)
            stage.disk = disk
            yield stage
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
            pytest.skip("the server's disks are another machine's")
        owner = Path(data).stat()
        os.chown(disk, owner.st_uid, owner.st_gid)
        for made, dropped in (
            (f"CREATE TABLESPACE {name} LOCATION '{disk}'", f"DROP TABLESPACE {name}"),
            (f"CREATE DATABASE {name} TABLESPACE {name}", f"DROP DATABASE {name} WITH (FORCE)"),
        ):
            connection.execute(made)  # type: ignore[arg-type]
            stack.callback(connection.execute, dropped)  # type: ignore[arg-type]
        url = changed_url(SERVER, database=name)
        migrations.upgrade(url)
        yield url


def fill(disk: Path) -> Path:
    """A file that takes all that is left of a disk."""
    path = disk / "full"
    with path.open("wb", buffering=0) as file:
        for size in (1_000_000, 4096):
            with suppress(OSError):
                while file.write(bytes(size)):
                    pass
    assert shutil.disk_usage(disk).free == 0
    return path
