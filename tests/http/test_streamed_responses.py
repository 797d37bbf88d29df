"""Streamed responses of any length, from a service that listens on a port."""

import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import msgspec
import numpy as np
import pyarrow as pa
import pytest
from helpers.raw_http import connect, half_closed, read_all, request
from helpers.service import running
from helpers.support import Connection, create_patient_app, serving, store, trade

from market_data.settings import Settings


@pytest.fixture
def many(connection: Connection) -> Connection:
    """A hundred thousand trades: as CSV 12 MB, more than the sockets between a service and its client hold."""
    store(connection, trade(0, "1"))
    with connection.transaction():
        connection.execute("SET LOCAL market_data.stream = 'off'")  # events would take most of the time
        connection.execute("""
            INSERT INTO trades (time, symbol, trade_id, price, volume)
            SELECT moment, 'AAPL', 2 ^ 62, 12345678.1234567890123456789, 0.123456789012345678901234567891
            FROM generate_series('2026-01-01T00:00:00Z'::timestamptz, '2026-01-01T00:00:00Z'::timestamptz
                + 99999 * INTERVAL '10 milliseconds', '10 milliseconds') AS moment
        """)
    return connection


@pytest.fixture
def address(settings: Settings) -> Iterator[str]:
    with serving(create_patient_app(settings)) as address:
        yield address


def slow_client(address: str) -> httpx.Client:
    """Return a client with a small receive buffer and without compression, so that the service has to wait for it."""
    transport = httpx.HTTPTransport(socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)])
    return httpx.Client(base_url=address, transport=transport, timeout=60, headers={"Accept-Encoding": "identity"})


EVERYTHING = {"symbol": "AAPL", "start": "2026-01-01T00:00:00Z", "end": "2026-03-01T00:00:00Z"}


@pytest.mark.usefixtures("many")
def test_range_of_many_pages_is_complete(address: str):
    answers = {
        form: httpx.get(f"{address}/trades", params=EVERYTHING | {"format": form}, timeout=60).content
        for form in ("csv", "arrow")
    }
    assert answers["csv"].count(b"\n") == 100_002
    times = pa.ipc.open_stream(answers["arrow"]).read_all()["timestamp"].to_numpy()
    assert len(times) == 100_001
    assert (np.diff(times) < np.timedelta64(0)).all()


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_client_that_closes_its_side_gets_the_whole_range(address: str, version: str):
    path = f"/trades?{httpx.QueryParams(EVERYTHING | {'format': 'csv'})}"
    with half_closed(address, request(path, version=version)) as client:
        head, _, body = read_all(client).partition(b"\r\n\r\n")
    chunked = version == "1.1"
    assert (b"transfer-encoding: chunked" in head) == chunked
    assert body.startswith(b"symbol,") != chunked
    assert body.endswith(b"0\r\n\r\n") == chunked
    assert body.count(b"AAPL,") == 100_001


def test_response_that_fails_is_aborted_for_http_1_0(address: str, many: Connection):
    path = f"/trades?{httpx.QueryParams(EVERYTHING | {'format': 'csv'})}"
    with connect(address, receive_buffer=65536) as client:
        client.sendall(request(path, version="1.0"))
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
        many.execute("ALTER TABLE trades RENAME TO trades_elsewhere")
        try:
            with pytest.raises(ConnectionResetError):
                read_all(client)
        finally:
            many.execute("ALTER TABLE trades_elsewhere RENAME TO trades")


def test_response_that_fails_is_aborted(address: str, many: Connection):
    with (
        slow_client(address) as client,
        client.stream("GET", "/trades", params=EVERYTHING | {"format": "csv"}) as response,
    ):
        pieces = response.iter_raw(1000)
        next(pieces)
        many.execute("ALTER TABLE trades RENAME TO trades_elsewhere")
        try:
            assert response.status_code == 200
            with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
                list(pieces)
        finally:
            many.execute("ALTER TABLE trades_elsewhere RENAME TO trades")


@pytest.mark.usefixtures("many")
def test_slow_clients_hold_no_database_connection(settings: Settings):
    one_connection = msgspec.structs.replace(settings, pool_size=1)
    with serving(create_patient_app(one_connection)) as address, ExitStack() as stack:
        unread: list[Iterator[bytes]] = []
        for _ in range(3):
            client = stack.enter_context(slow_client(address))
            response = stack.enter_context(client.stream("GET", "/trades", params=EVERYTHING | {"format": "csv"}))
            unread.append(response.iter_raw(1000))
            next(unread[-1])
        assert httpx.get(f"{address}/price", params={"symbol": "AAPL"}, timeout=60).status_code == 200


@pytest.mark.usefixtures("many")
def test_service_stops_while_a_client_does_not_read(database_url: str, tmp_path: Path):
    with (
        running(tmp_path, DATABASE_URL=database_url, FEED_ENABLED="false", POOL_TIMEOUT_SECONDS="30") as (service, quick),
        slow_client(str(quick.base_url)) as client,
        client.stream("GET", "/trades", params=EVERYTHING | {"format": "csv"}) as response,
    ):
        assert response.status_code == 200
        unread = response.iter_raw(1000)
        next(unread)
        service.signal(signal.SIGTERM)
        assert service.wait(10) == 0
    assert "Traceback" not in service.text
    assert "response aborted: the service is stopping" in service.text
