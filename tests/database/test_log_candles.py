"""Entries of many candles: read while others write, they are those of one snapshot."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from helpers.histories import History
from helpers.support import Connection, one
from psycopg.pq import TransactionStatus

from market_data.database.connection import connect
from market_data.queries import log_candle_leaves, log_candles
from market_data.queries.log_candle_leaves import read_candle_leaves
from market_data.transparency import candle_entries
from market_data.transparency.candle_entries import Candles, read_candles

NEWEST = "SELECT newest_version()"


@pytest.fixture
def writer(stopped_database: str) -> Iterator[Connection]:
    with psycopg.connect(stopped_database, autocommit=True, options="-c timezone=UTC") as connection:
        yield connection


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch):
    """Make few candles many; an entry does not wait for their refresh."""
    monkeypatch.setattr(candle_entries, "FEW", 5)
    monkeypatch.setattr(log_candle_leaves, "PAGE", 100)
    monkeypatch.setattr(log_candle_leaves, "STALE_PAGE", 100)
    monkeypatch.setattr(log_candles, "MAX_STALE", timedelta(days=9999))


def read(url: str, since: int) -> Candles | None:
    async def run() -> Candles | None:
        async with await connect(url, 60) as connection:
            return await read_candles(connection, since)

    return asyncio.run(run())


def between_pages(monkeypatch: pytest.MonkeyPatch, action: Callable[[], None]) -> None:
    """Call a function after each page that is read outside a transaction."""

    async def leaves(connection: Any, *arguments: Any) -> AsyncGenerator[list[str]]:
        async for page in read_candle_leaves(connection, *arguments):
            if connection.info.transaction_status == TransactionStatus.IDLE:
                action()
            yield page

    monkeypatch.setattr(candle_entries, "read_candle_leaves", leaves)


def in_one_snapshot(monkeypatch: pytest.MonkeyPatch, url: str, since: int) -> Candles | None:
    with monkeypatch.context() as patch:
        patch.setattr(candle_entries, "FEW", 1 << 40)
        return read(url, since)


@pytest.mark.parametrize("number", [0, 1, *(pytest.param(number, marks=pytest.mark.slow) for number in range(2, 6))])
def test_candles_read_while_others_write_are_those_of_one_snapshot(
    stopped_database: str, writer: Connection, monkeypatch: pytest.MonkeyPatch, number: int
):
    choose = random.Random(number)
    history = History(writer, number, truncates=False)

    def write() -> None:
        if choose.random() < 0.3:
            history.write()
        if choose.random() < 0.1:
            writer.execute("CALL refresh_candles()")

    for _ in range(20):
        history.write()
    writer.execute("CALL refresh_candles()")
    since = one(writer, NEWEST) if number % 2 else 0
    for _ in range(30):
        history.write()
        write()
    between_pages(monkeypatch, write)
    before = one(writer, NEWEST)
    found = read(stopped_database, since)
    assert found
    assert found.version > before
    assert found.leaf_count > 100
    assert found == in_one_snapshot(monkeypatch, stopped_database, since)


STORE: Any = """
    INSERT INTO trades (symbol, time, trade_id, price, volume)
    SELECT 'AAPL', '2026-02-08T10:00:00Z'::timestamptz + number * INTERVAL '1 minute', number, 100, 1
    FROM generate_series(1, %s) AS number
"""


def store(connection: Connection) -> None:
    connection.execute("INSERT INTO symbols (symbol, name) VALUES ('AAPL', 'Apple')")
    connection.execute(STORE, (1000,))
    connection.execute("CALL refresh_candles()")


def test_statements_of_others_run_between_pages(stopped_database: str, writer: Connection, monkeypatch: pytest.MonkeyPatch):
    store(writer)
    counts: list[int] = []
    between_pages(monkeypatch, lambda: counts.append(one(writer, "SELECT count(*) FROM trades")))
    assert read(stopped_database, 0)
    assert len(counts) > 10
    assert set(counts) == {1000}


def test_entry_waits_if_trades_are_truncated_meanwhile(
    stopped_database: str, writer: Connection, monkeypatch: pytest.MonkeyPatch
):
    store(writer)
    between_pages(monkeypatch, lambda: writer.execute("TRUNCATE trades") and None)
    assert read(stopped_database, 0) is None


def test_writers_that_never_pause_do_not_hold_back_an_entry(
    stopped_database: str, writer: Connection, monkeypatch: pytest.MonkeyPatch
):
    store(writer)
    prices = iter(range(1, 10_000))
    between_pages(
        monkeypatch,
        lambda: writer.execute("UPDATE trades SET price = %s WHERE trade_id <= 50", (next(prices),)) and None,
    )
    found = read(stopped_database, 0)
    assert found == in_one_snapshot(monkeypatch, stopped_database, 0)
