"""Concurrent writers of the same trades, on a server only: the embedded engine has one session."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from helpers.candle_scenarios import connected_to_migrated, differing_intervals
from helpers.service import eventually
from helpers.support import SERVER, T0, Connection, Databases, store
from helpers.support import trade as stored_trade

from market_data.database.connection import connect
from market_data.models_writes import TradeIn
from market_data.queries.trade_writes import ConflictingTrade, Outcome, write_trades

NEWEST = "SELECT price FROM latest_trades WHERE symbol = 'AAPL'"
INSERT = "INSERT INTO trades (time, symbol, trade_id, price, volume) VALUES (%s, %s, %s, %s, %s)"
DELETE = "DELETE FROM trades WHERE price = %s"
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def incoming(number: int, price: str = "1") -> TradeIn:
    """Return an incoming trade."""
    return TradeIn(symbol="AAPL", timestamp=T0, price=Decimal(price), volume=Decimal(1), trade_id=number)


def write(url: str, trades: Mapping[int, TradeIn]) -> Outcome:
    """Store trades as the service does."""

    async def run() -> Outcome:
        async with await connect(url, 30) as connection:
            return await write_trades(connection, trades, 60, partial=True)

    return asyncio.run(run())


if SERVER:

    @pytest.fixture
    def other(database_url: str) -> Iterator[Connection]:
        """Open a second connection in a transaction."""
        with psycopg.connect(database_url) as connection:
            yield connection

    @contextmanager
    def blocked_in_thread(connection: Connection, task: Callable[..., Any], *arguments: Any) -> Iterator[Future[Any]]:
        """Start a call in another thread and wait until it waits for a lock; it continues within the block."""
        with ThreadPoolExecutor(1) as threads:
            future = threads.submit(task, *arguments)
            eventually(lambda: connection.execute(WAITING).fetchone() == (1,), seconds=10)
            yield future
            future.result(timeout=10)

    def test_a_trade_stored_while_the_latest_is_cancelled_becomes_the_latest(connection: Connection, other: Connection):
        store(connection, stored_trade(0, "1"), stored_trade(9, "9"))
        other.execute(DELETE, (9,))
        with (
            psycopg.connect(connection.info.dsn, autocommit=True) as third,
            blocked_in_thread(connection, third.execute, INSERT, stored_trade(5, "5")),
        ):
            other.commit()
        assert connection.execute(NEWEST).fetchall() == [(5,)]

    def test_a_cancel_while_a_trade_is_stored_finds_that_trade(connection: Connection, other: Connection):
        store(connection, stored_trade(0, "1"), stored_trade(9, "9"))
        other.execute(INSERT, stored_trade(5, "5"))
        with (
            psycopg.connect(connection.info.dsn, autocommit=True) as third,
            blocked_in_thread(connection, third.execute, DELETE, (9,)),
        ):
            other.commit()
        assert connection.execute(NEWEST).fetchall() == [(5,)]

    def test_two_concurrent_cancels_leave_the_trade_before_both(connection: Connection, other: Connection):
        store(connection, stored_trade(0, "1"), stored_trade(5, "5"), stored_trade(9, "9"))
        other.execute(DELETE, (9,))
        with (
            psycopg.connect(connection.info.dsn, autocommit=True) as third,
            blocked_in_thread(connection, third.execute, DELETE, (5,)),
        ):
            other.commit()
        assert connection.execute(NEWEST).fetchall() == [(1,)]

    def test_a_trade_older_than_all_others_reaches_candles_that_are_being_refreshed(
        new_migrated_database: Databases,
    ):
        trades = [stored_trade(0, "1"), stored_trade(-400 * 86_400, "2")]
        with (
            connected_to_migrated(new_migrated_database) as connection,
            psycopg.connect(connection.info.dsn) as other,
            psycopg.connect(connection.info.dsn, autocommit=True) as third,
        ):
            store(connection, trades[0])
            other.execute("LOCK TABLE stale_ranges IN SHARE MODE")  # until the commit, the refresh can only start
            other.execute(INSERT, trades[1])
            with blocked_in_thread(connection, third.execute, "CALL refresh_candles()"):
                other.commit()
            connection.execute("CALL refresh_candles()")
            assert differing_intervals(connection, trades, T0 - timedelta(days=500)) == []

    def test_writers_of_trades_that_are_not_the_latest_do_not_wait_for_each_other(connection: Connection, other: Connection):
        store(connection, stored_trade(9, "9"))
        other.execute(INSERT, stored_trade(0, "1"))
        connection.execute("SET lock_timeout = '1s'")
        connection.execute(INSERT, stored_trade(1, "1"))
        connection.execute("RESET lock_timeout")

    def test_of_two_calls_with_one_trade_key_one_stores_and_the_other_sees_it(
        connection: Connection, other: Connection, database_url: str
    ):
        store(connection, stored_trade(100, "1"))
        other.execute(INSERT, stored_trade(0, "1", trade_id=1))
        other.execute(INSERT, stored_trade(0, "1", trade_id=2))
        with blocked_in_thread(
            connection, write, database_url, {0: incoming(1), 1: incoming(2, "7"), 2: incoming(3)}
        ) as outcome:
            other.commit()
        stored, existing, rejected = outcome.result()
        assert (stored, existing, list(rejected)) == (1, 1, [1])
        assert isinstance(rejected[1], ConflictingTrade)

    def test_a_retry_while_the_trade_is_cancelled_does_not_restore_it(
        connection: Connection, other: Connection, database_url: str
    ):
        store(connection, stored_trade(0, "1", trade_id=1))
        other.execute(DELETE, (1,))
        with blocked_in_thread(connection, write, database_url, {0: incoming(1), 1: incoming(2)}) as outcome:
            other.commit()
        stored, existing, rejected = outcome.result()
        assert (stored, existing) == (1, 0)
        assert "was cancelled at" in str(rejected[0])
        assert connection.execute("SELECT trade_id FROM trades").fetchall() == [(2,)]

    def test_many_calls_with_the_same_trades_store_each_once(connection: Connection, database_url: str):
        store(connection, stored_trade(100, "1"))
        calls = [{index: incoming((index * step) % 97) for index in range(97)} for step in (1, 5, 11, 96)]
        start = threading.Barrier(len(calls))

        def call(trades: Mapping[int, TradeIn]) -> Outcome:
            start.wait()
            return write(database_url, trades)

        with ThreadPoolExecutor(len(calls)) as threads:
            outcomes = list(threads.map(call, calls))
        assert sum(outcome.stored for outcome in outcomes) == 97
        assert sum(outcome.existing for outcome in outcomes) == 97 * 3
        assert not any(outcome.rejected for outcome in outcomes)


def test_outcomes_are_the_same_without_concurrency(connection: Connection, database_url: str):
    store(connection, stored_trade(0, "1", trade_id=1))
    stored, existing, rejected = write(database_url, {0: incoming(1), 4: incoming(2), 5: incoming(2), 6: incoming(2, "3")})
    assert (stored, existing, list(rejected)) == (1, 2, [6])
