"""Replay of missed events, and streams of a stopping service."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from helpers.support import T0, Connection, current_trade, store, trade

from market_data.database.pool import Database
from market_data.settings import Settings
from market_data.streaming.clients import Client
from market_data.streaming.event_batches import MAX_GAP_BUCKETS, MAX_RANGE_BUCKETS, _ranges
from market_data.streaming.events import EventId, Message
from market_data.streaming.hub import Hub
from market_data.streaming.recent_rows import RecentRows
from market_data.streaming.replay import MissedEvents, enqueue_missed, replay
from market_data.streaming.subscriptions import Subscription

LARGE = """
    INSERT INTO trades (time, symbol, trade_id, price, volume)
    SELECT now(), 'AAPL', number, 1, 1
    FROM generate_series(1, 6000) AS number
"""

CLOSING = """
    INSERT INTO stream_events (write_id, number, kind, symbol, time, "interval")
    VALUES (nextval('write_ids'), 1, 'closing', 'AAPL', date_trunc('minute', now()), '1m')
"""


def _missed(database: Database) -> MissedEvents:
    """Return the reads of a worker that keeps no rows."""
    kept = RecentRows()
    kept.start_after(EventId(10**15, 0, 0))
    return MissedEvents(database, kept, 1)


def read(database_url: str, client: Client, bound: Callable[[], EventId]) -> list[Message]:
    """Return the messages of a replay up to a bound."""

    async def run() -> list[Message]:
        async with Database(database_url, Settings(database_url=database_url)) as database:
            pieces = replay(_missed(database), client, bound)
            return [message async for piece in pieces for message in piece]

    return asyncio.run(run())


def last_version(connection: Connection) -> int:
    ((version,),) = connection.execute("SELECT newest_version()").fetchall()
    return version


@pytest.mark.parametrize("symbols", [None, frozenset(["AAPL"])])
def test_replay_delivers_nothing_beyond_the_bound(database_url: str, connection: Connection, symbols: frozenset[str] | None):
    """The hub is publishing a commit that takes several pages."""
    store(connection, trade(0, "1"))
    before = EventId.after(last_version(connection))
    connection.execute(LARGE)
    bound = EventId(last_version(connection), 2500, 8)
    client = Client("sse", Subscription.to(["trades"], symbols))
    client.start_at(before)
    found = read(database_url, client, lambda: bound)
    assert [message.id.number for message in found] == list(range(1, 2501))
    assert client.delivered_up_to == bound


def test_replay_removes_a_candle_that_closes_beyond_the_bound(database_url: str, connection: Connection):
    """The hub publishes the closing, which says nothing, because there is no candle."""
    store(connection, current_trade("1"))
    before = EventId.after(last_version(connection))
    connection.execute("DELETE FROM trades")
    bound = EventId.after(last_version(connection))
    with connection.transaction():
        connection.execute(CLOSING)
        connection.execute(
            "INSERT INTO pending_commits (write_id, kind, trade_count) VALUES (currval('write_ids'), 'close', 0)"
        )
    client = Client("sse", Subscription.to(["candles_1m"], None))
    client.start_at(before)
    (removed,) = read(database_url, client, lambda: bound)
    assert b'"removed":true' in removed.text
    assert removed.id < bound == client.delivered_up_to


def test_replay_finds_a_rare_symbol(database_url: str, connection: Connection, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("market_data.streaming.replay.MAX_VERSIONS", 3)
    store(connection, *(trade(second, "1") for second in range(20)))
    store(connection, trade(0, "2", symbol="RARE"))
    end = EventId.after(last_version(connection))
    client = Client("sse", Subscription.to(["trades"], frozenset(["RARE"])))
    client.start_at(EventId.after(last_version(connection) - 21))
    assert len(read(database_url, client, lambda: end)) == 1
    assert client.delivered_up_to == end


@pytest.mark.parametrize("subscribed", [Subscription(), Subscription.to(["trades"], frozenset(["AAPL"]))])
def test_resuming_a_rare_symbol_delivers_its_events_only(
    database_url: str, connection: Connection, monkeypatch: pytest.MonkeyPatch, subscribed: Subscription
):
    monkeypatch.setattr("market_data.streaming.replay.MAX_VERSIONS", 3)
    before = EventId.after(last_version(connection))
    store(connection, trade(0, "2", symbol="RARE"))
    store(connection, *(trade(second, "1") for second in range(10)))
    end = EventId.after(last_version(connection))

    async def resume() -> list[Message]:
        async with Database(database_url, Settings(database_url=database_url)) as database:
            client = Client("sse", subscribed)
            client.start_at(end)
            rare = Subscription.to(["trades"], frozenset(["RARE"]))
            task = asyncio.create_task(enqueue_missed(_missed(database), client, rare, before, lambda: end))
            task.add_done_callback(lambda _: client.close())
            found: list[Message] = []
            while batch := await client.next_batch():
                found += batch
            await task
            return found

    (message,) = asyncio.run(resume())
    assert b"RARE" in message.text


def test_replay_yields_a_gap_if_rows_are_trimmed_meanwhile(database_url: str, connection: Connection):
    store(connection, *(trade(second, "1") for second in range(4)))
    last = last_version(connection)
    connection.execute("UPDATE commits SET committed_at = committed_at - INTERVAL '61 minutes'")
    connection.execute("CALL trim_stream()")
    client = Client("sse", Subscription.to(["trades"], None))
    client.start_at(EventId(last - 2, 1, 8))
    (gap,) = read(database_url, client, lambda: EventId.after(last))
    assert b"event: gap" in gap.text
    assert gap.id == client.delivered_up_to == EventId.after(last)


def test_client_that_connects_while_the_service_stops_keeps_its_position(database_url: str):
    async def messages(after: EventId | None) -> list[Message]:
        settings = Settings(database_url=database_url)
        async with Database(database_url, settings) as database:
            hub = Hub(database_url, settings, database)
            hub.clients.stop()
            client = Client("sse", Subscription.to(["trades"], None))
            return [message async for piece in hub.messages(client, after) for message in piece]

    (bye,) = asyncio.run(messages(EventId(7, 3, 0)))
    assert b"event: bye" in bye.text
    assert bye.id == EventId(7, 3, 0)


def test_distant_candles_are_read_in_ranges_of_limited_length():
    minutes = {
        T0 + timedelta(minutes=MAX_GAP_BUCKETS * number) for number in range(5 * MAX_RANGE_BUCKETS // MAX_GAP_BUCKETS)
    }
    ranges = list(_ranges(minutes | {T0 + timedelta(days=300)}, "1m"))
    assert all(last - first <= timedelta(minutes=MAX_RANGE_BUCKETS) for first, last in ranges)
    assert len(ranges) <= 7
    assert {minute for minute in minutes if any(first <= minute <= last for first, last in ranges)} == minutes


def test_clients_that_return_after_a_restart_are_answered_without_a_query_each(
    database_url: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
):
    store(connection, current_trade("1"))
    last_seen = EventId.after(last_version(connection))
    for _ in range(3):
        store(connection, current_trade("2"))
    queries: list[str] = []
    read_database = Database.read

    async def counted(database: Database, query: Callable[..., Any], *args: Any, **options: Any) -> Any:
        queries.append(query.__name__)
        return await read_database(database, query, *args, **options)

    monkeypatch.setattr(Database, "read", counted)

    async def returning(hub: Hub, channels: list[str]) -> list[Message]:
        client = Client("sse", Subscription.to(channels, None))
        found: list[Message] = []
        async for batch in hub.messages(client, last_seen):
            found += batch
            if len(found) > 1 and b"event: heartbeat" in found[-1].text:
                break
        return found

    async def run() -> list[list[Message]]:
        settings = Settings(database_url=database_url)
        async with Database(database_url, settings) as database:
            hub = Hub(database_url, settings, database)
            task = asyncio.create_task(hub.run())
            await hub.wait_until_ready()
            clients = [returning(hub, ["trades", "candles_1m"] if number % 2 else ["trades"]) for number in range(200)]
            found = await asyncio.gather(*clients)
            task.cancel()
            return found

    found = asyncio.run(run())
    assert all(sum(b"event: trade" in message.text for message in each) == 3 for each in found)
    assert all(any(b"event: candle" in message.text for message in each) for each in found[1::2])
    assert queries.count("read_stream_events") == 0
    assert len(queries) < 10
    hints = {each[0].text.split(b"\n")[2] for each in found}
    assert len(hints) > 100
    assert all(1000 <= int(hint.removeprefix(b"retry: ")) <= 5000 for hint in hints)
