"""The unmodified WebSocket client of Massive, against our own API."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from helpers.api_keys import store_key
from helpers.foreign_clients import run_client
from helpers.service import Service, eventually
from helpers.support import Connection, now_within_minute, store
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

SCRIPT = Path(__file__).with_name("massive_stream_messages.py")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Messages = list[dict[str, Any]]


def milliseconds(time: datetime) -> int:
    return (time - EPOCH) // timedelta(milliseconds=1)


class Follower:
    """A running client."""

    def __init__(self, future: "Future[Any]", ready: Path) -> None:
        self._future = future
        self._ready = ready

    def wait_until_subscribed(self, times: int = 1) -> None:
        def is_subscribed() -> bool:
            if self._future.done():
                self._future.result()
            return self._ready.exists() and self._ready.read_text().count("\n") >= times

        eventually(is_subscribed, 60)

    def result(self) -> dict[str, Any]:
        return self._future.result()


@contextmanager
def following(base: str, folder: Path, topics: str, count: int, key: str = "any", seconds: float = 20) -> Iterator[Follower]:
    """Run the client until it has received a number of messages, or for some seconds."""
    ready = folder / f"subscribed-{time.monotonic_ns()}"
    arguments = f"{httpx.URL(base).netloc.decode()}/massive/ws", key, topics, str(count), str(ready), str(seconds)
    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(run_client, SCRIPT, *arguments, packages=("massive==2.9.1",), seconds=seconds + 60)
        yield Follower(future, ready)


def write(connection: Connection, time: datetime, price: str, volume: str = "1", symbol: str = "AAPL") -> None:
    store(connection, (time, symbol, 0, Decimal(price), Decimal(volume)))


def test_trades_and_seconds(base: str, connection: Connection, tmp_path: Path):
    write(connection, now_within_minute(2), "100", "2")
    write(connection, datetime.now(UTC), "50", symbol="EUR/USD")
    with following(base, tmp_path, "T.AAPL,A.EUR/USD,A.AAPL", 6) as follower:
        follower.wait_until_subscribed()
        second = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
        write(connection, second, "101.25", "3")
        write(connection, second + timedelta(microseconds=250_001), "100.75", "0.000000001")
        write(connection, second + timedelta(milliseconds=300), "102", "7")
        write(connection, second, "51", "0.5", symbol="EUR/USD")
        write(connection, datetime.now(UTC) - timedelta(hours=3), "7")  # is late
        connection.execute("UPDATE trades SET price = 103 WHERE price = 102")
        connection.execute("DELETE FROM trades WHERE price = 100.75")
    found = follower.result()
    assert found["log"] == []
    trades = [each for each in found["messages"] if each["event_type"] == "T"]
    assert [(each["price"], each["size"]) for each in trades] == [(101.25, 3), (100.75, 1e-9), (102, 7), (7, 1)]
    assert trades[1]["timestamp"] == milliseconds(second) + 250
    assert {each["symbol"] for each in trades} == {"AAPL"}
    assert {each["id"] for each in trades} == {"0"}
    aapl, pair = sorted((each for each in found["messages"] if each["event_type"] == "A"), key=lambda each: each["symbol"])
    assert (aapl["open"], aapl["high"], aapl["low"], aapl["close"]) == (101.25, 102, 100.75, 102)
    assert aapl["volume"] == 10.000000001
    assert aapl["vwap"] == pytest.approx((101.25 * 3 + 102 * 7) / 10)
    assert aapl["average_size"] == pytest.approx(10 / 3)
    assert (aapl["start_timestamp"], aapl["end_timestamp"]) == (milliseconds(second), milliseconds(second) + 1000)
    assert (pair["symbol"], pair["volume"], pair["average_size"]) == ("EUR/USD", 0.5, 0.5)
    query = {"interval": "1d", "start": f"{second:%Y-%m-%d}"}
    day = httpx.get(f"{base}/candles", params={"symbol": "EUR/USD", **query}).json()["candles"][-1]
    figures = pair["accumulated_volume"], pair["official_open_price"], pair["aggregate_vwap"]
    assert figures == (day["volume"], day["open"], day["vwap"])


def test_keys_of_the_stream(serve: Any, database_url: str, connection: Connection, tmp_path: Path):
    key = store_key(database_url, "read")
    wrong = key[:-1] + ("A" if key[-1] != "A" else "B")
    connection.execute("INSERT INTO symbols (symbol, name) VALUES ('AAPL', 'Apple')")
    with serve(auth="required") as base:
        for refused in ("any", wrong):
            with following(base, tmp_path, "T.AAPL", 1, refused) as follower:
                pass
            (error,) = follower.result()["messages"]
            assert "unknown, expired or revoked" in error["AuthError"]
        with following(base, tmp_path, "T.AAPL", 1, key) as follower:
            follower.wait_until_subscribed()
            write(connection, datetime.now(UTC), "189.44")
        assert [each["price"] for each in follower.result()["messages"]] == [189.44]
        address = f"{base.replace('http', 'ws')}/massive/ws/stocks"
        with connect(address) as client:
            client.recv(timeout=20)
            client.send('{"action": "subscribe", "params": "T.*"}')
            assert json.loads(client.recv(timeout=20))[0]["status"] == "auth_failed"
        with connect(f"{address}?apiKey={key}") as client:
            client.recv(timeout=20)
            client.send('{"action": "subscribe", "params": "T.*"}')
            assert json.loads(client.recv(timeout=20))[0]["status"] == "success"


def test_a_client_is_disconnected_when_its_key_ends(serve: Any, database_url: str, connection: Connection):
    key = store_key(database_url, "read")
    with serve(auth="required") as base, connect(f"{base.replace('http', 'ws')}/massive/ws/stocks") as client:
        client.recv(timeout=20)
        client.send(json.dumps({"action": "auth", "params": key}))
        assert json.loads(client.recv(timeout=20))[0]["status"] == "auth_success"
        connection.execute("UPDATE api_keys SET revoked_at = now()")
        assert json.loads(client.recv(timeout=20))[0]["status"] == "force_disconnect"
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=20)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


def test_reconnection_after_a_restart(database_url: str, connection: Connection, tmp_path: Path):
    connection.execute("INSERT INTO symbols (symbol, name) VALUES ('AAPL', 'Apple')")
    environment = {"DATABASE_URL": database_url, "FEED_ENABLED": "false"}
    service = Service(tmp_path, **environment)
    base = service.wait_until_ready()
    with following(base, tmp_path, "T.AAPL", 2, seconds=60) as follower:
        try:
            follower.wait_until_subscribed()
            write(connection, datetime.now(UTC), "1")
            time.sleep(1)
            service.end()
            assert '"status":500' not in service.text
            service = Service(tmp_path, "--port", str(httpx.URL(base).port), **environment)
            service.wait_until_ready()
            follower.wait_until_subscribed(2)
            write(connection, datetime.now(UTC), "2")
            found = follower.result()
        finally:
            service.end()
    assert [each["price"] for each in found["messages"]] == [1, 2]
    # The server may close the connection before the status is sent.
    assert set(found["log"]) <= {"server force_disconnect: The service restarts; reconnect."}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_minutes(base: str, connection: Connection, tmp_path: Path):
    """Two minutes, with a late and a corrected trade: each minute comes once, as it stood at its end."""
    write(connection, datetime.now(UTC), "99.5", "4")
    minute = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
    with following(base, tmp_path, "AM.*", 1000, seconds=185) as follower:
        follower.wait_until_subscribed()
        _sleep_until(minute + timedelta(seconds=1))
        connection.execute("DELETE FROM trades")
        for part in range(1, 110, 3):
            _sleep_until(minute + timedelta(seconds=part))
            write(connection, datetime.now(UTC), str(100 + part), "1.5")
            if part == 70:  # the first minute is closed
                write(connection, minute + timedelta(seconds=30, microseconds=1), "500")
                connection.execute("UPDATE trades SET price = 600 WHERE price = 101")
        _sleep_until(minute + timedelta(seconds=125))
    bars = [each for each in follower.result()["messages"] if each["start_timestamp"] >= milliseconds(minute)]
    assert [each["start_timestamp"] for each in bars] == [milliseconds(minute), milliseconds(minute) + 60_000]
    first, second = bars
    assert (first["open"], first["high"], first["low"], first["close"]) == (101, 158, 101, 158)
    assert (first["volume"], first["average_size"]) == (30, 1.5)
    query = {"symbol": "AAPL", "interval": "1m", "start": f"{minute + timedelta(minutes=1):%Y-%m-%dT%H:%M:%SZ}"}
    candle = httpx.get(f"{base}/candles", params=query).json()["candles"][0]
    assert {name: second[name] for name in ("open", "high", "low", "close", "volume", "vwap")} == {
        name: candle[name] for name in ("open", "high", "low", "close", "volume", "vwap")
    }
    day = httpx.get(f"{base}/candles", params={**query, "interval": "1d", "start": f"{minute:%Y-%m-%d}"}).json()
    if minute.date() == (minute + timedelta(minutes=3)).date():
        figures = second["accumulated_volume"], second["official_open_price"], second["aggregate_vwap"]
        whole = day["candles"][-1]
        assert figures == (whole["volume"], whole["open"], whole["vwap"])


def _sleep_until(moment: datetime) -> None:
    threading.Event().wait(max(0, (moment - datetime.now(UTC)).total_seconds()))
