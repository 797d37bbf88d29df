"""Retention: dropped trades, and candles that stay."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import psycopg
import pytest
from helpers.candle_scenarios import DAY, INTERVALS, connected_to_migrated, run_all_jobs
from helpers.support import Connection, Databases, Trade, store, trade

# Without the column `closed`, which changes with time.
CANDLES = """
    SELECT "interval", symbol, bucket, open, high, low, close, volume, turnover, vwap, trade_count, write_id
    FROM candles
    ORDER BY "interval", symbol, bucket
"""
TO_COLUMNSTORE = "SELECT compress_chunk(chunk) FROM show_chunks('trades', older_than => INTERVAL '8 days') AS chunk"


AGES = range(0, 60, 4)
"""Retention of trades in days."""


@contextmanager
def filled(new_migrated_database: Databases) -> Iterator[Connection]:
    """Yield a database with 60 days of trades, materialized candles, and older trades in the columnstore."""
    with connected_to_migrated(new_migrated_database) as connection:
        store(connection, *(trade_ago(connection, days) for days in AGES))
        connection.execute("CALL refresh_candles()")
        connection.execute(TO_COLUMNSTORE)
        yield connection


@pytest.fixture
def connection(new_migrated_database: Databases) -> Iterator[Connection]:
    """Connect to a filled database of this test."""
    with filled(new_migrated_database) as connection:
        yield connection


@pytest.fixture(scope="module")
def shared_connection(new_migrated_database: Databases) -> Iterator[Connection]:
    with filled(new_migrated_database) as connection:
        yield connection


@pytest.fixture
def untouched(shared_connection: Connection) -> Iterator[Connection]:
    """Connect to a filled database shared by tests that drop nothing and leave nothing behind.

    They set a retention in a transaction only, which the job does not see: it would drop trades at once.
    """
    yield shared_connection
    assert count(shared_connection) == len(AGES)


def now(connection: Connection) -> datetime:
    return connection.execute("SELECT now()").fetchall()[0][0]


def trade_ago(connection: Connection, days: float, *, trade_id: int = 0) -> Trade:
    return (now(connection) - days * DAY, *trade(0, str(days + 1), trade_id=trade_id)[1:])


def count(connection: Connection) -> int:
    return connection.execute("SELECT count(*) FROM trades").fetchall()[0][0]


def candles(connection: Connection) -> list[tuple[object, ...]]:
    return connection.execute(CANDLES).fetchall()


def test_dropping_old_trades_keeps_all_candles_through_all_jobs(connection: Connection):
    before = candles(connection)
    connection.execute("CALL set_retention('30 days')")
    run_all_jobs(connection)
    assert 30 / 4 <= count(connection) <= 37 / 4 + 1, "a chunk of 7 days is dropped once all of it is too old"
    assert candles(connection) == before
    # A late trade after the retention horizon has its candles refreshed; the others stay.
    store(connection, trade_ago(connection, 20, trade_id=5))
    for _ in range(2):
        run_all_jobs(connection)
    assert len(candles(connection)) >= len(before)
    assert dict(counted(connection)) == dict.fromkeys(INTERVALS, len(AGES) + 1)


def counted(connection: Connection) -> list[tuple[str, int]]:
    return connection.execute('SELECT "interval", sum(trade_count)::int FROM candles GROUP BY "interval"').fetchall()


def test_manually_dropped_chunks_keep_all_candles_through_all_jobs(connection: Connection):
    before = candles(connection)
    connection.execute("SELECT drop_chunks('trades', older_than => INTERVAL '20 days')")
    for _ in range(2):
        run_all_jobs(connection)
    connection.execute("CALL refresh_candles()")
    assert count(connection) < 30 / 4
    assert candles(connection) == before
    with pytest.raises(psycopg.errors.CheckViolation, match="older than the retention horizon"):
        store(connection, trade_ago(connection, 40.1))


def test_trades_are_kept_forever_by_default(untouched: Connection):
    run_all_jobs(untouched)
    assert count(untouched) == len(AGES)
    with untouched.transaction():
        untouched.execute("CALL set_retention('30 days')")
        untouched.execute("CALL set_retention(NULL)")
    run_all_jobs(untouched)
    assert count(untouched) == len(AGES)


def test_retention_job_is_scheduled_only_with_a_retention(untouched: Connection):
    scheduled = "SELECT scheduled FROM timescaledb_information.jobs WHERE proc_name = 'drop_old_trades'"
    assert untouched.execute(scheduled).fetchone() == (False,)
    with untouched.transaction():
        untouched.execute("CALL set_retention('30 days')")
        assert untouched.execute(scheduled).fetchone() == (True,)
        untouched.execute("CALL set_retention(NULL)")
    assert untouched.execute(scheduled).fetchone() == (False,)


def test_trade_beyond_the_retention_horizon_is_rejected_with_the_reason(untouched: Connection):
    with untouched.transaction(force_rollback=True):
        untouched.execute("CALL set_retention('30 days')")
        with (
            pytest.raises(psycopg.errors.CheckViolation, match="older than the retention horizon") as refused,
            untouched.transaction(),
        ):
            store(untouched, trade_ago(untouched, 31))
        assert refused.value.diag.constraint_name == "trades_within_retention"
        store(untouched, trade_ago(untouched, 29.5))


def test_trade_at_the_retention_horizon_is_stored(untouched: Connection):
    with untouched.transaction(force_rollback=True):
        untouched.execute("CALL set_retention('30 days')")
        at, before = trade_ago(untouched, 30, trade_id=5), trade_ago(untouched, 30 + 1 / 86_400_000_000)
        assert at[0] - before[0] == timedelta(microseconds=1)
        store(untouched, at)
        with pytest.raises(psycopg.errors.CheckViolation, match="older than the retention horizon"):
            store(untouched, before)


def test_horizon_stays_at_dropped_trades_when_retention_is_lengthened(connection: Connection):
    connection.execute("CALL set_retention('30 days')")
    connection.execute("CALL drop_old_trades()")
    connection.execute("CALL set_retention('50 days')")
    with pytest.raises(psycopg.errors.CheckViolation, match="older than the retention horizon"):
        store(connection, trade_ago(connection, 45))
    connection.execute("CALL set_retention(NULL)")
    with pytest.raises(psycopg.errors.CheckViolation, match="older than the retention horizon"):
        store(connection, trade_ago(connection, 45))


def test_trades_with_stale_candles_are_not_dropped(connection: Connection):
    late = trade_ago(connection, 50, trade_id=5)
    store(connection, late)
    connection.execute("CALL set_retention('30 days')")
    connection.execute("CALL drop_old_trades()")
    assert connection.execute("SELECT count(*) FROM trades WHERE time = %s", (late[0],)).fetchone() == (1,)
    connection.execute("CALL refresh_candles()")
    connection.execute("CALL drop_old_trades()")
    assert connection.execute("SELECT count(*) FROM trades WHERE time = %s", (late[0],)).fetchone() == (0,)
    assert dict(counted(connection)) == dict.fromkeys(INTERVALS, len(AGES) + 1)


def test_trades_that_no_refresh_has_processed_are_not_dropped(new_migrated_database: Databases):
    with connected_to_migrated(new_migrated_database) as connection:
        store(connection, trade_ago(connection, 100))
        connection.execute("DELETE FROM stale_ranges")  # as if it had arrived on time, before the database stopped
        connection.execute("CALL set_retention('30 days')")
        connection.execute("CALL drop_old_trades()")
        assert count(connection) == 1


def test_late_trade_stored_while_chunks_are_dropped_is_not_lost(connection: Connection):
    """The job waits for the transaction, and then keeps the chunk until the candles contain the trade."""
    if not connection.execute("SELECT count(*) > 0 FROM pg_stat_activity WHERE pid <> pg_backend_pid()").fetchall()[0][0]:
        return  # the embedded engine has no concurrent transactions
    connection.execute("CALL set_retention('30 days')")
    late = trade_ago(connection, 29.9, trade_id=5)
    with psycopg.connect(connection.info.dsn) as writer:
        store(writer, late)
        dropping = threading.Thread(target=lambda: connection.execute("CALL drop_old_trades()"))
        dropping.start()
        dropping.join(1)
        assert dropping.is_alive()
        writer.commit()
        dropping.join()
    connection.execute("CALL refresh_candles()")
    assert dict(counted(connection)) == dict.fromkeys(INTERVALS, len(AGES) + 1)


def test_refresh_windows_end_before_the_shortest_retention(untouched: Connection):
    """Only the 1m job reads trades, with a window shorter than the shortest retention; policies read candles."""
    on_trades = """
        SELECT count(*)
        FROM timescaledb_information.jobs
        JOIN timescaledb_information.continuous_aggregates
            ON materialization_hypertable_name = jobs.hypertable_name
        WHERE proc_name = 'policy_refresh_continuous_aggregate' AND view_name = 'candles_1m'
    """
    assert untouched.execute(on_trades).fetchone() == (0,)
    chunk = "SELECT time_interval FROM timescaledb_information.dimensions WHERE hypertable_name = 'trades'"
    ((interval,),) = untouched.execute(chunk).fetchall()
    with pytest.raises(psycopg.errors.CheckViolation, match="retention_drop_after_long_enough"):
        untouched.execute("CALL set_retention(%s)", (timedelta(hours=3, minutes=1) + interval,))
