"""`/stream`: events, resumption, slow clients."""

import asyncio
import socket
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from helpers.raw_http import connect, read_all, read_until, request
from helpers.service import eventually
from helpers.sse_client import Events, connected_clients, listening, next_trade, open_raw
from helpers.support import Connection, create_patient_app, current_trade, now_within_minute, serving, store, trade

from market_data.settings import Settings
from market_data.streaming import clients, hub
from market_data.streaming.recent_rows import RecentRows
from market_data.telemetry.metrics import STREAM_DROPPED


def test_trade_event_has_the_fields_of_trades(address: str, connection: Connection):
    with listening(address) as events:
        store(connection, trade(0.5, "189.44", "0.1"))
        event = events.next()
    assert event.name == "trade"
    answer = httpx.get(f"{address}/trades?symbol=AAPL&start=2026-02-08T00:00:00Z&end=2026-02-09T00:00:00Z")
    (stored,) = answer.json()["trades"]
    assert event.data == {**stored, "version": int(answer.headers["data-version"])}


@pytest.mark.parametrize("interval", ["1m", "5m", "15m", "30m", "1h", "4h", "1d", "1w"])
def test_candle_event_has_the_fields_of_candles_with_symbol_and_interval(
    address: str, connection: Connection, interval: str
):
    now_within_minute()  # no candle closes meanwhile
    with listening(address, channels=f"candles_{interval}") as events:
        store(connection, current_trade("10.5"))
        event = events.next()
    assert event.name == "candle"
    start, end = datetime.now(UTC) - timedelta(days=8), datetime.now(UTC) + timedelta(days=1)
    parameters = {"symbol": "AAPL", "interval": interval, "start": start.isoformat(), "end": end.isoformat()}
    answer = httpx.get(f"{address}/candles", params=parameters)
    (candle,) = answer.json()["candles"]
    assert event.data == {
        "symbol": "AAPL",
        "interval": interval,
        **candle,
        "closed": False,
        "revised": False,
        "version": int(answer.headers["data-version"]),
    }


def test_symbols_and_channels_filter_events(address: str, connection: Connection):
    with listening(address, symbols="msft", channels="trades,candles_1m") as events:
        store(connection, current_trade("1"), current_trade("2", symbol="MSFT"))
        found = events.take(2)
    assert [(event.name, event.data["symbol"]) for event in found] == [("trade", "MSFT"), ("candle", "MSFT")]


def test_subscription_to_all_includes_new_symbols(address: str, connection: Connection):
    with listening(address) as events:
        store(connection, current_trade("1", symbol="NEW"))
        assert events.next().data["symbol"] == "NEW"


def test_ids_increase_and_a_candle_follows_the_last_trade_of_its_batch(address: str, connection: Connection):
    with listening(address, channels="candles_1m,trades,candles_1h") as events:
        minute = now_within_minute().replace(second=0, microsecond=0)
        trades = [(minute, "AAPL", number, Decimal(number + 1), Decimal(1)) for number in range(3)]
        rows = ", ".join(["(%s, %s, %s, %s, %s)"] * 3)
        connection.execute(
            f"INSERT INTO trades (time, symbol, trade_id, price, volume) VALUES {rows}".encode(),
            [value for each in trades for value in each],
        )
        found = events.take(5)
    assert [event.name for event in found] == ["trade", "trade", "trade", "candle", "candle"]
    assert [event.key for event in found] == sorted(event.key for event in found)
    assert len({event.id for event in found}) == 5
    assert [event.data["interval"] for event in found[3:]] == ["1m", "1h"]
    assert found[3].data["trade_count"] == 3


@pytest.mark.parametrize("place", ["header", "parameter"])
def test_reconnecting_client_gets_missed_events_once(address: str, connection: Connection, place: str):
    with listening(address, symbols="AAPL") as events:
        store(connection, *(trade(second, str(second + 1)) for second in range(6)))
        everything = events.take(6)
    for number, event in enumerate(everything[:-1]):
        last, parameters = (event.id, {}) if place == "header" else (None, {"last_event_id": event.id})
        with httpx.stream(
            "GET",
            f"{address}/stream",
            params={"symbols": "AAPL", **parameters},
            headers={"Last-Event-ID": last} if last else {},
        ) as response:
            lines = response.iter_lines()
            ids: list[str] = []
            while len(ids) < 6 - number:
                line = next(lines)
                ids += [line[4:]] if line.startswith("id: ") else []
        assert ids == [each.id for each in everything[number:]], "the first one is that of a heartbeat"


def test_client_resumes_between_the_events_of_one_commit(address: str, connection: Connection):
    channels: dict[str, Any] = {"channels": "trades,candles_1m,candles_5m"}
    now_within_minute()  # no candle closes meanwhile
    with listening(address, **channels) as events:
        store(connection, current_trade("1"))
        trade_event, minute, five = events.take(3)
    with listening(address, trade_event.id, **channels) as events:
        assert [event.id for event in events.take(2)] == [minute.id, five.id]
    with listening(address, minute.id, **channels) as events:
        assert events.next().id == five.id
    with listening(address, five.id, **channels) as events:
        assert events.any().name == "heartbeat"


def test_missed_changes_of_a_candle_are_one_event(address: str, connection: Connection):
    now_within_minute()  # no candle closes meanwhile
    with listening(address, channels="candles_1m") as events:
        first = current_trade("1")
        store(connection, first)
        last = events.next().id
    with listening(address, channels="trades") as trades:
        for number in range(1, 4):
            store(connection, (first[0], "AAPL", number, Decimal(number), Decimal(1)))
        while trades.next().data["price"] < 3:  # the worker has read all of them then
            pass
    with listening(address, last, channels="candles_1m") as events:
        assert events.next().data["trade_count"] == 4
        assert events.any().name == "heartbeat"


def test_client_resumes_after_a_heartbeat(address: str, connection: Connection):
    with httpx.stream("GET", f"{address}/stream") as response:
        heartbeat = next(response.iter_lines())[4:]
    store(connection, current_trade("7"))
    with listening(address, heartbeat) as events:
        assert events.next().data["price"] == 7


def test_deleted_events_are_a_gap(address: str, connection: Connection, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(RecentRows, "between", lambda *_: None)  # the worker has just read them
    for second in range(3):
        store(connection, trade(second, "1"))
    connection.execute("UPDATE commits SET committed_at = now() - INTERVAL '61 minutes'")
    versions = [row[0] for row in connection.execute("SELECT version FROM commits ORDER BY version")]
    connection.execute("CALL trim_stream()")
    with listening(address, f"{versions[0]}-1-0") as events:
        gap = events.next()
        assert gap.name == "gap"
        assert "kept for an hour" in gap.data["reason"]
        assert events.any().name == "heartbeat"
        store(connection, current_trade("9"))
        assert events.next().data["price"] == 9
    with listening(address, f"{versions[-1]}-1-0") as events:
        assert events.next().data["price"] == 9, "nothing after the last one was deleted"


def test_id_of_another_database_is_a_gap(address: str):
    with listening(address, "999999999999999999-1-0") as events:
        assert "not of this database" in events.next().data["reason"]


@pytest.mark.parametrize(
    ("parameters", "status", "named"),
    [
        ({"symbols": "NOPE"}, 404, "NOPE"),
        ({"channels": "candles_2m"}, 400, "channels"),
        ({"channels": ""}, 400, "channels"),
        ({"symbols": "A,,B"}, 400, "symbols"),
        ({"last_event_id": "yesterday"}, 400, "last_event_id"),
        ({"last_event_id": "1-2-3-4"}, 400, "last_event_id"),
    ],
)
def test_wrong_subscription_is_a_problem(address: str, parameters: dict[str, str], status: int, named: str):
    answer = httpx.get(f"{address}/stream", params=parameters)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert named in answer.json()["detail"]


def test_malformed_last_event_id_header_is_named(address: str):
    answer = httpx.get(f"{address}/stream", headers={"Last-Event-ID": "x"})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["name"] == "Last-Event-ID"


@pytest.mark.parametrize("place", ["header", "parameter"])
def test_an_empty_last_event_id_is_none(address: str, place: str):
    headers, parameters = ({"Last-Event-ID": ""}, {}) if place == "header" else ({}, {"last_event_id": ""})
    with httpx.stream("GET", f"{address}/stream", headers=headers, params=parameters) as response:
        assert response.status_code == 200
        assert Events(response).any().name == "heartbeat"


def test_stream_is_neither_stored_nor_buffered_nor_compressed(address: str):
    with httpx.stream("GET", f"{address}/stream") as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.headers["cache-control"] == "no-store, no-transform"
        assert response.headers["x-accel-buffering"] == "no"


def test_heartbeats_are_sent_without_events(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hub, "HEARTBEAT_SECONDS", 0.5)
    with serving(create_patient_app(settings)) as address, listening(address) as events:
        assert [events.any().name for _ in range(3)] == ["heartbeat"] * 3


@pytest.mark.usefixtures("no_clients")
def test_disconnected_client_is_removed_at_once(address: str):
    with listening(address), listening(address):
        assert connected_clients() == 2
    eventually(lambda: connected_clients() == 0, 5)


@pytest.mark.usefixtures("no_clients")
def test_client_that_closes_its_side_is_removed_at_once(address: str):
    with connect(address) as client:
        client.sendall(request("/stream"))
        read_until(client, b"event: heartbeat")
        assert connected_clients() == 1
        client.shutdown(socket.SHUT_WR)
        assert b"event: bye" not in read_all(client)
    eventually(lambda: connected_clients() == 0, 5)


def test_http_1_0_gets_events_without_chunk_sizes(address: str):
    with connect(address) as client:
        client.sendall(request("/stream", version="1.0"))
        received = b""
        while not received.endswith(b"\n\n"):
            received += client.recv(65536)
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert body.startswith(b"id: ")


def test_slow_client_is_disconnected_with_a_reason_and_others_are_not(
    address: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(clients, "MAX_PENDING_BYTES", 20_000)
    dropped = STREAM_DROPPED.labels("slow")._value.get()
    with ExitStack() as stack:
        quick = stack.enter_context(listening(address))
        slow = stack.enter_context(slow_reader(address))
        rows = 0
        last = ""
        while STREAM_DROPPED.labels("slow")._value.get() == dropped:
            connection.execute(
                """
                INSERT INTO trades (time, symbol, trade_id, price, volume)
                SELECT now(), 'AAPL', number, 1, 1 FROM generate_series(%s::int, %s::int + 1999) AS number
                """,
                (rows, rows),
            )
            rows += 2000
            assert rows < 400_000, "no client was disconnected"
            last = [quick.next("trade") for _ in range(2000)][-1].id
        store(connection, current_trade("5", symbol="MSFT"))
        assert quick.next("trade").data["symbol"] == "MSFT"
        # Its last event is the reason, and it can resume with the last id.
        text = read_to_the_end(slow)
    *_, before_last, bye = [part for part in text.split("\n\n") if part]
    assert "event: bye" in bye
    assert "too slowly" in bye
    ids = [part.partition("\n")[0].removeprefix("id: ") for part in (before_last, bye)]
    assert ids[0] == ids[1] or ids[0] < ids[1]
    with listening(address, ids[1], symbols="AAPL") as events:
        missed = events.next()
        assert missed.name == "trade"
        position, number, _ = map(int, ids[0].split("-"))
        assert missed.key == (position, number + 1, 0) or missed.key[0] > position
    assert last


def slow_reader(address: str) -> socket.socket:
    """Connect a client that does not read."""
    url = httpx.URL(address)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect((url.host, url.port or 80))
    client.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    client.settimeout(20)
    return client


def read_to_the_end(client: socket.socket) -> str:
    """Return the events from the chunks of the response body."""
    body, text = read_all(client).partition(b"\r\n\r\n")[2], b""
    while body:
        size, _, body = body.partition(b"\r\n")
        text, body = text + body[: int(size, 16)], body[int(size, 16) + 2 :]
    return text.decode()


@pytest.mark.usefixtures("no_clients")
def test_thousand_clients_of_one_worker_get_every_event_once(address: str, connection: Connection):
    """200 clients subscribe to a traded symbol, 800 to an idle one."""
    asyncio.run(_thousand(address, connection))


async def _thousand(address: str, connection: Connection) -> None:
    busy = [await open_raw(address, "AAPL") for _ in range(200)]
    idle = [await open_raw(address, "MSFT") for _ in range(800)]
    assert connected_clients() == 1000
    for price in range(50):
        await asyncio.to_thread(store, connection, current_trade(f"{price + 1}"))
    for stream in busy:
        assert [(await next_trade(stream))["price"] for _ in range(50)] == [price + 1 for price in range(50)]
    for _, writer in [*busy, *idle]:
        writer.close()
