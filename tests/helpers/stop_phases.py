"""Phases in which a test stops the service or an import: each function starts one, and returns it in its phase."""

import os
import shutil
import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

import httpx
import psycopg
import pytest
from helpers.pgbouncer import PROGRAM, pausable_pgbouncer
from helpers.service import Process, Service, eventually
from helpers.sse_client import listening
from helpers.support import DEFAULT_TIMEOUTS, Databases, changed_url
from helpers.tcp_proxy import Proxy, proxy_to
from helpers.websocket_client import open_websocket
from psycopg.conninfo import conninfo_to_dict

from market_data.cli.data.trade_source import BLOCK_ROWS
from market_data.database import migrations

STOP_SECONDS = 10

LONG_SYMBOL = "AN-UNUSUALLY-LONG-NAME-OF-SYMBOL"

LONG_TRADES = f"""
    INSERT INTO trades (time, symbol, trade_id, price, volume)
    SELECT '2026-02-08T00:00:00Z'::timestamptz + n * INTERVAL '1 second', '{LONG_SYMBOL}', 0, number, number
    FROM generate_series(%s::integer + 1, %s::integer + 4000) AS n
    CROSS JOIN (VALUES (12345678901234567890123456789.123456789012345678901234567891)) AS long (number)
"""
"""Trades that take 0.7 MB of CSV or 1.2 MB of events."""


BLOCK = b"".join(b"NEW,2026-02-08T10:00:00Z,1,1,%d\n" % number for number in range(BLOCK_ROWS))
"""Lines of a file that an import stores in one transaction."""


class Site(NamedTuple):
    """Databases of one test; the stack ends what a phase has started."""

    folder: Path
    database_url: str
    new_database: Databases
    seed: Path
    """Home of an embedded engine with a migrated database."""
    stack: ExitStack

    def start(self, *arguments: str, **settings: str) -> Service:
        """Start a service."""
        service = Service(self.folder, *arguments, **{"DATABASE_URL": self.database_url, **DEFAULT_TIMEOUTS, **settings})
        self.stack.callback(service.end)
        return service

    def serve(self, *arguments: str, **settings: str) -> tuple[Service, str]:
        """Start a service, and return it with its address when it feeds."""
        service = self.start(*arguments, **settings)
        address = service.wait_until_ready()
        eventually(lambda: "feeding 5 symbols" in service.text)
        return service, address

    def proxy(self, database_url: str) -> tuple[Proxy, str]:
        """Start a proxy in front of a database, and return it with the URL through it."""
        target = conninfo_to_dict(database_url)
        proxy = self.stack.enter_context(proxy_to(str(target["host"]), int(str(target["port"]))))
        return proxy, changed_url(database_url, port=proxy.port)

    def start_import(self, **settings: str) -> tuple[BinaryIO, Process]:
        """Start an import, and return the pipe that it reads and the process."""
        path = self.folder / "trades.csv"
        os.mkfifo(path)
        pipe = self.stack.enter_context(path.open("r+b", buffering=0))  # to read, too: opening it does not wait for a reader
        pipe.write(b"symbol,timestamp,price,volume,trade_id\n")
        loading = Process(self.folder, "import", str(path), **{"DATABASE_URL": self.database_url, **settings})
        self.stack.callback(loading.end)
        return pipe, loading

    def request(self, address: str, *paths: str) -> None:
        """Send requests, and check when the test ends that each one was answered."""
        for path in paths:
            client = self.connect(address)
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            self.stack.callback(_check_answer, client, path)
        assert httpx.get(f"{address}/health/live").status_code == 200  # the service has read the requests by now

    def get_unread(self, address: str, path: str, headers: str = "") -> None:
        """Send a request and read only the status of its response."""
        client = self.connect(address)
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode())
        assert client.recv(12) in (b"HTTP/1.1 200", b"HTTP/1.1 101")

    def connect(self, address: str) -> socket.socket:
        """Return a connection that receives little at a time."""
        url = httpx.URL(address)
        client = self.stack.enter_context(socket.socket())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect((url.host, url.port))
        return client


def _check_answer(client: socket.socket, path: str) -> None:
    client.settimeout(1)
    status = client.recv(12)
    assert status in (b"HTTP/1.1 200", b"HTTP/1.1 404", b"HTTP/1.1 503"), f"{path}: {status}"


def _check_stream(client: socket.socket) -> None:
    client.settimeout(1)
    with suppress(ConnectionError):
        status = client.recv(12)
        assert status in (b"HTTP/1.1 200", b""), f"an EventSource does not return after {status}"


def starting_the_engine(site: Site) -> Process:
    home = site.folder / "home"
    service = site.start(DATABASE_URL="", MARKET_DATA_HOME=str(home), EMBEDDED_PORT="0")
    eventually((home / "data.new").exists)
    return service


def waiting_for_the_database(site: Site) -> Process:
    proxy, proxied = site.proxy(site.database_url)
    proxy.cut()
    service = site.start(DATABASE_URL=proxied)
    eventually(lambda: "waiting for the database" in service.text)
    return service


def connecting(site: Site) -> Process:
    """The server accepts the connection and sends nothing."""
    silent = site.stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    service = site.start(DATABASE_URL=changed_url(site.database_url, port=silent.getsockname()[1]))
    client, _ = silent.accept()
    site.stack.callback(client.close)
    return service


def migrating(site: Site) -> Process:
    """The network stalls in the middle of the migration."""
    proxy, proxied = site.proxy(site.stack.enter_context(site.new_database()))
    proxy.stall_before(b"CREATE TABLE trades")
    service = site.start(DATABASE_URL=proxied)
    eventually(lambda: proxy.is_stalled)
    return service


def waiting_for_a_migration(site: Site) -> Process:
    """Another process migrates."""
    other = site.stack.enter_context(psycopg.connect(site.database_url))
    other.execute(migrations.MIGRATION_LOCK.encode())
    proxy, proxied = site.proxy(site.database_url)
    service = site.start(DATABASE_URL=proxied)
    eventually(lambda: proxy.connections)
    return service


def replica_dead(site: Site, *arguments: str) -> Process:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        dead = changed_url(site.database_url, port=nobody.getsockname()[1])
    service, address = site.serve(*arguments, DATABASE_READ_URL=dead)
    eventually(lambda: "replica not used" in service.text)
    assert httpx.get(f"{address}/symbols").status_code == 200
    return service


def replica_dead_with_two_workers(site: Site) -> Process:
    return replica_dead(site, "--workers", "2")


def _replica_lost(site: Site, fault: Callable[[Proxy], None]) -> Process:
    proxy, proxied = site.proxy(site.database_url)
    service, address = site.serve(DATABASE_READ_URL=proxied)
    eventually(lambda: "replica used" in service.text)
    fault(proxy)
    site.request(address, "/symbols", "/price/latest?symbol=AAPL")
    eventually(lambda: "replica not used" in service.text)
    return service


def replica_cut(site: Site) -> Process:
    return _replica_lost(site, Proxy.cut)


def replica_stalled(site: Site) -> Process:
    return _replica_lost(site, Proxy.stall)


def _primary_lost(site: Site, fault: Callable[[Proxy], None], *, replica: bool = False) -> Process:
    proxy, proxied = site.proxy(site.database_url)
    settings = {"DATABASE_READ_URL": proxied} if replica else {}
    service, address = site.serve(DATABASE_URL=proxied, QUERY_TIMEOUT_SECONDS="1", **settings)
    fault(proxy)
    eventually(lambda: "feed lost the database" in service.text)
    site.request(address, "/symbols", "/price/latest?symbol=AAPL", "/health", "/stream")
    return service


def primary_cut(site: Site) -> Process:
    return _primary_lost(site, Proxy.cut)


def primary_stalled(site: Site) -> Process:
    return _primary_lost(site, Proxy.stall)


def both_cut(site: Site) -> Process:
    return _primary_lost(site, Proxy.cut, replica=True)


def both_stalled(site: Site) -> Process:
    return _primary_lost(site, Proxy.stall, replica=True)


def pgbouncer_paused(site: Site) -> Process:
    if PROGRAM is None:
        pytest.skip("pgbouncer is not installed")
    pooled, send_signal = site.stack.enter_context(pausable_pgbouncer(site.database_url))
    service, address = site.serve(
        DATABASE_URL=pooled, DATABASE_DIRECT_URL=site.database_url, QUERY_TIMEOUT_SECONDS="1", POOL_TIMEOUT_SECONDS="1"
    )
    send_signal(signal.SIGUSR1)
    eventually(lambda: httpx.get(f"{address}/symbols", timeout=30).status_code == 503)
    site.request(address, "/symbols", "/price/latest?symbol=AAPL")
    return service


def streams_open(site: Site) -> Process:
    service, address = site.serve()
    site.stack.enter_context(listening(address))
    site.stack.enter_context(open_websocket(address, symbols="AAPL"))
    return service


def streams_starting(site: Site) -> Process:
    """Clients that came at once, of which most wait for their turn."""
    service, address = site.serve()
    for _ in range(500):
        client = site.connect(address)
        client.sendall(b"GET /stream?symbols=AAPL HTTP/1.1\r\nHost: localhost\r\n\r\n")
        site.stack.callback(_check_stream, client)
    return service


def streams_unread(site: Site) -> Process:
    """Clients of a stream, a WebSocket and a long answer that read nothing, so that more waits than the kernel buffers."""
    service, address = site.serve(QUERY_TIMEOUT_SECONDS="30", POOL_TIMEOUT_SECONDS="30")
    with psycopg.connect(site.database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO symbols (symbol, name) VALUES (%s, '')", (LONG_SYMBOL,))
        site.get_unread(address, f"/stream?symbols={LONG_SYMBOL}")
        site.get_unread(address, f"/ws?symbols={LONG_SYMBOL}", UPGRADE)
        for first in range(0, 20_000, 4000):
            connection.execute(LONG_TRADES, (first, first))
    eventually(lambda: httpx.get(f"{address}/price/latest?symbol={LONG_SYMBOL}", timeout=60).status_code == 200)
    site.get_unread(address, f"/trades?symbol={LONG_SYMBOL}&start=2026-01-01T00:00:00Z&end=2027-01-01T00:00:00Z&format=csv")
    return service


UPGRADE = """Upgrade: websocket\r
Connection: Upgrade\r
Sec-WebSocket-Version: 13\r
Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r
"""


def import_running(site: Site) -> Process:
    """An import that waits for input uses the engine of the service."""
    engine = {"DATABASE_URL": "", "MARKET_DATA_HOME": str(shutil.copytree(site.seed, site.folder / "home"))}
    service, address = site.serve(EMBEDDED_PORT="0", **engine)
    pipe, loading = site.start_import(**engine)
    pipe.write(BLOCK)
    eventually(lambda: httpx.get(f"{address}/price/latest?symbol=NEW", timeout=60).status_code == 200)
    site.stack.callback(_check_ended_import, loading)
    return service


def _check_ended_import(loading: Process) -> None:
    loading.signal(signal.SIGTERM)
    assert loading.wait(STOP_SECONDS) == 130


PHASES = [
    starting_the_engine,
    waiting_for_the_database,
    connecting,
    migrating,
    waiting_for_a_migration,
    replica_dead,
    replica_dead_with_two_workers,
    replica_cut,
    replica_stalled,
    primary_cut,
    primary_stalled,
    both_cut,
    both_stalled,
    pgbouncer_paused,
    streams_open,
    streams_starting,
    streams_unread,
    import_running,
]


def import_waiting_for_input(site: Site) -> Process:
    pipe, loading = site.start_import()
    pipe.write(BLOCK)
    with psycopg.connect(site.database_url, autocommit=True) as connection:
        eventually(lambda: connection.execute("SELECT FROM trades LIMIT 1").fetchall())
    return loading


def import_stalled(site: Site) -> Process:
    proxy, proxied = site.proxy(site.database_url)
    proxy.stall_before(b"COPY imported")
    pipe, loading = site.start_import(DATABASE_URL=proxied)
    pipe.write(BLOCK)
    eventually(lambda: proxy.is_stalled)
    return loading
