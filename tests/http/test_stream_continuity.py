"""`/stream` and `/ws`: clients that resume or change their subscription; closings of candles; an idle stream."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from decimal import Decimal
from types import ModuleType
from typing import Any

import httpx
import msgspec
import psycopg
import pytest
from helpers.service import eventually
from helpers.sse_client import listening
from helpers.support import (
    Connection,
    Databases,
    changed_url,
    create_patient_app,
    current_trade,
    now_within_minute,
    one,
    serving,
    store,
)
from helpers.tcp_proxy import proxy_to
from helpers.websocket_client import open_websocket, receive
from psycopg.conninfo import conninfo_to_dict

from market_data.settings import Settings
from market_data.streaming import hub, replay
from market_data.streaming.disconnections import AWAY
from market_data.trade_validation import rfc3339

SEVERAL = """
    INSERT INTO trades (time, symbol, trade_id, price, volume)
    SELECT now(), 'AAPL', number, 1, 1 FROM generate_series(%s::int, %s::int) AS number
"""


def test_reconnecting_with_the_newest_id_is_no_gap(address: str, connection: Connection):
    now_within_minute()  # no candle closes meanwhile
    with listening(address, channels="trades,candles_1m") as events:
        store(connection, current_trade("1"))
        last = events.take(2)[-1].id
    with listening(address, last, channels="trades,candles_1m") as events:
        assert [events.any().name, events.any().name] == ["heartbeat"] * 2, "the position of the client, and of the stream"
        store(connection, current_trade("2"))
        assert [(event.name, event.data.get("price")) for event in events.take(2)] == [("trade", 2), ("candle", None)]


@pytest.mark.parametrize("symbols", [{}, {"symbols": "AAPL"}])
def test_resuming_within_a_large_commit_continues_with_small_ones(
    address: str, connection: Connection, symbols: dict[str, Any]
):
    with listening(address) as events:
        connection.execute(SEVERAL, (1, 5))
        large = events.take(5)
    for number in range(6, 9):
        connection.execute(SEVERAL, (number, number))
    for event in large:
        with listening(address, event.id, **symbols) as events:
            expected = list(range(event.data["trade_id"] + 1, 9))
            assert [each.data["trade_id"] for each in events.take(len(expected))] == expected


class HeldReads:
    """Reads of a stream that wait until they are released."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str) -> None:
        self.waiting = False
        self.released = False
        self._read = getattr(module, name)
        monkeypatch.setattr(module, name, self.read)

    async def read(self, *arguments: Any, **limits: Any) -> Any:
        while not self.released:
            self.waiting = True
            await asyncio.sleep(0.01)
        return await self._read(*arguments, **limits)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch, address: str) -> Iterator[HeldReads]:
    assert address
    held = HeldReads(monkeypatch, replay, "read_stream_candles")
    yield held
    held.released = True


def test_unsubscribing_from_candles_while_trades_wait_for_theirs_loses_no_trade(
    address: str, connection: Connection, held: HeldReads
):
    now_within_minute()  # no candle closes meanwhile
    with open_websocket(address, channels="trades,candles_1m") as client, listening(address) as trades:
        store(connection, current_trade("1"), current_trade("2", symbol="MSFT"))
        assert len(trades.take(2)) == 2
        eventually(lambda: held.waiting)
        client.send(json.dumps({"action": "unsubscribe", "channels": ["candles_1m"]}))
        received = [receive(client) for _ in range(3)]
        held.released = True
        store(connection, current_trade("3"))
        received.append(receive(client))
    assert [each["data"]["price"] for each in received if each["event"] == "trade"] == [1, 2, 3]
    assert [each["event"] for each in received if each["event"] != "trade"] == ["subscribed"]


def test_subscribing_to_candles_while_trades_wait_for_theirs_repeats_no_trade(
    address: str, connection: Connection, held: HeldReads
):
    now_within_minute()  # no candle closes meanwhile
    with open_websocket(address, channels="trades") as client, listening(address, channels="candles_1m") as candles:
        store(connection, current_trade("1"))
        assert receive(client)["data"]["price"] == 1
        eventually(lambda: held.waiting)
        client.send(json.dumps({"action": "subscribe", "channels": ["candles_1m"]}))
        assert receive(client)["event"] == "subscribed"
        held.released = True
        assert candles.next().data["trade_count"] == 1
        store(connection, current_trade("2", symbol="MSFT"))
        received = [receive(client) for _ in range(2)]
    assert [(each["event"], each["data"]["symbol"]) for each in received] == [("trade", "MSFT"), ("candle", "MSFT")]


def test_events_deleted_before_they_were_read_end_the_stream_with_a_gap(
    address: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
):
    held = HeldReads(monkeypatch, hub, "read_stream_events")
    held.released = True
    with listening(address) as events:
        store(connection, current_trade("1"))
        first = events.next()
        held.waiting = held.released = False
        store(connection, current_trade("2"))
        store(connection, current_trade("3"))
        eventually(lambda: held.waiting)
        # As trim_stream() does an hour later.
        connection.execute("UPDATE stream_progress SET trimmed_before = newest_version()")
        connection.execute("DELETE FROM stream_events WHERE trade_id IS NULL OR price < 3")
        held.released = True
        ended = events.next()
        assert (ended.name, ended.data["reason"]) == ("bye", AWAY)
    with listening(address, first.id) as events:
        assert events.next().name == "gap"
        store(connection, current_trade("4"))
        assert events.next().data["price"] == 4


def test_resuming_by_command_with_an_id_of_a_worker_that_is_ahead_loses_and_repeats_nothing(
    address: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
):
    with open_websocket(address, symbols="AAPL", channels="trades") as client:
        held = HeldReads(monkeypatch, hub, "read_stream_events")
        store(connection, current_trade("1"))
        store(connection, current_trade("2", symbol="MSFT"))
        last_id = f"{one(connection, 'SELECT newest_version()')}-1-0"
        eventually(lambda: held.waiting)
        resumed = {"action": "subscribe", "symbols": ["MSFT"], "channels": ["trades"], "last_event_id": last_id}
        client.send(json.dumps(resumed))
        received = [receive(client)]
        held.released = True
        store(connection, current_trade("3", symbol="MSFT"))
        received += [receive(client) for _ in range(2)]
    assert [each["data"].get("price") for each in received if each["event"] != "heartbeat"] == [None, 1, 3]


@pytest.mark.parametrize("clients", [0, 1])
def test_idle_stream_asks_the_database_a_few_times_a_second(settings: Settings, database_url: str, clients: int):
    target = conninfo_to_dict(database_url)
    with proxy_to(str(target["host"]), int(str(target["port"]))) as proxy:
        proxied = msgspec.structs.replace(settings, database_url=changed_url(database_url, port=proxy.port))
        with serving(create_patient_app(proxied)) as address, ExitStack() as stack:
            for _ in range(clients):
                stack.enter_context(listening(address))
            eventually(lambda: httpx.get(f"{address}/stream", params={"symbols": "NOPE"}).status_code == 404)
            time.sleep(1)
            before = proxy.requests
            time.sleep(2)
            assert 0 < proxy.requests - before < 40


def test_trade_at_the_start_of_a_bucket_closes_it(address: str, known: Connection):
    with listening(address, channels="candles_1m") as events:
        with known.transaction():
            reopened = "UPDATE stream_progress SET closed_until = closed_until - INTERVAL '1 minute' RETURNING closed_until"
            bucket = one(known, reopened)
            store(known, (bucket, "AAPL", 0, Decimal(1), Decimal(1)))
        closing = next(event.data for event in events if event.data.get("closed") and not event.data["revised"])
    assert datetime.fromisoformat(closing["timestamp"]) == bucket


@pytest.mark.parametrize("minutes", [1, 2, 3])
def test_trade_after_its_minute_revises_the_candle_of_that_minute(
    settings: Settings, new_migrated_database: Databases, minutes: int
):
    """Near the time at which the minute is materialized; the job for it runs, too."""
    with (
        new_migrated_database() as url,
        psycopg.connect(url, autocommit=True) as connection,
        serving(create_patient_app(msgspec.structs.replace(settings, database_url=url))) as address,
    ):
        minute = now_within_minute().replace(second=0, microsecond=0) - timedelta(minutes=minutes)
        store(connection, (minute, "AAPL", 0, Decimal(1), Decimal(1)))
        connection.execute("CALL refresh_candles()")
        eventually(lambda: one(connection, "SELECT closed_until FROM stream_progress") > minute)
        with listening(address, channels="candles_1m") as events:
            store(connection, (minute + timedelta(seconds=1), "AAPL", 0, Decimal(3), Decimal(1)))
            connection.execute("CALL refresh_candles()")
            revised = next(event.data for event in events if event.data.get("trade_count") == 2)
        assert (revised["timestamp"], revised["closed"], revised["revised"]) == (rfc3339(minute), True, True)
        time_range = {"start": minute.isoformat(), "end": (minute + timedelta(minutes=1)).isoformat()}
        listed = httpx.get(f"{address}/candles", params={"symbol": "AAPL", "interval": "1m", **time_range}).json()
        assert [(each["trade_count"], each["high"]) for each in listed["candles"]] == [(2, 3)]
