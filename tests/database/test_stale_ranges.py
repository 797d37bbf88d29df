"""Stale ranges: which trades leave one, and the order in which they are refreshed."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from helpers.candle_scenarios import connected_to_migrated
from helpers.service import eventually
from helpers.support import SERVER, Connection, Databases, store, trade

INSERT = "INSERT INTO trades (time, symbol, price, volume) VALUES (%s, 'AAPL', 1, 1)"
RANGES = "SELECT level, since, until FROM stale_ranges ORDER BY id"
REFRESH_STARTS = """
    SELECT setval('refreshed_until', (extract(epoch FROM now() + INTERVAL '1 minute') * 1000000)::bigint)
"""
"""As refresh_candles() does behind the lock of commits, before it materializes the minutes that have closed."""


@pytest.fixture(scope="module")
def database(new_migrated_database: Databases) -> Iterator[Connection]:
    """Connect to a database of its own, because materialized candles can't be emptied again on both engines."""
    with connected_to_migrated(new_migrated_database) as connection:
        connection.execute("INSERT INTO symbols (symbol, name) VALUES ('AAPL', 'Apple')")
        yield connection


def now() -> datetime:
    return datetime.now(UTC)


def test_only_trades_of_materialized_minutes_leave_a_stale_range(known: Connection):
    late = now() - timedelta(minutes=5)
    known.execute(f"{INSERT}, (%s, 'AAPL', 1, 1)", (now(), late))
    known.execute("UPDATE trades SET price = 2")
    known.execute("DELETE FROM trades")
    assert known.execute(RANGES).fetchall() == [(1, late, late)] * 3


@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ"])
@pytest.mark.parametrize("change", [None, "UPDATE trades SET price = 2", "DELETE FROM trades"])
def test_trade_whose_minute_was_materialized_before_its_commit_leaves_a_stale_range(
    known: Connection, isolation: str, change: str | None
):
    time = now()
    if change:
        known.execute(INSERT, (time,))
    with known.transaction():
        known.execute(f"SET TRANSACTION ISOLATION LEVEL {isolation}".encode())
        if change:
            known.execute(change.encode())
        else:
            known.execute(INSERT, (time,))
        assert known.execute(RANGES).fetchall() == []
        known.execute(REFRESH_STARTS)
    assert known.execute(RANGES).fetchall() == [(1, time, time)]
    late = known.execute("SELECT bool_or(late) FROM stream_events").fetchone()
    assert late == (True,)
    assert known.execute("SELECT count(*) FROM stream_late_candles").fetchone() == (1,)


def test_refresh_begins_with_its_bound(database: Connection):
    database.execute("CALL refresh_candles()")
    bound = database.execute("SELECT to_timestamp(last_value / 1000000) >= candles_watermark('1m') FROM refreshed_until")
    assert bound.fetchone() in [(True,), (None,)]
    assert database.execute("SELECT fresh_since() > now() - INTERVAL '2 minutes'").fetchone() == (True,)


def test_ranges_are_refreshed_in_the_order_of_their_arrival(database: Connection):
    """A run has at least one step, and the older range is at a coarser level."""
    old, new = trade(0, "1")[0], trade(9_000_000, "1")[0]
    database.execute(f"{INSERT}, (%s, 'AAPL', 1, 1)", (old, new))
    database.execute("CALL refresh_candles()")
    stale = "INSERT INTO stale_ranges (write_id, level, since, until) VALUES (%s, %s, %s, %s)"
    database.execute(stale, (1, 7, old, old))
    database.execute(stale, (2, 1, new, new))
    levels = []
    for _ in range(4):
        database.execute("""CALL refresh_candles(NULL, '{"budget": "0 seconds"}')""")
        levels.append([level for level, *_ in database.execute("SELECT level FROM stale_ranges ORDER BY write_id")])
    assert levels == [[8, 1], [1], [2], [3]]
    database.execute("CALL refresh_candles()")


def test_times_of_candles_that_are_not_materialized_are_not_stale(known: Connection):
    store(known, trade(0, "1"))
    assert known.execute("SELECT stale_times(8)::text").fetchone() == ("{}",)
    known.execute(REFRESH_STARTS)
    assert known.execute("SELECT stale_times(8) @> %s", (trade(0, "1")[0],)).fetchone() == (True,)


def test_times_are_stale_from_the_level_of_their_range(database: Connection):
    database.execute("CALL refresh_candles()")
    time = trade(20_000_000, "1")[0]
    database.execute(INSERT, (time,))
    database.execute("UPDATE stale_ranges SET level = 3")
    stale = [database.execute("SELECT stale_times(%s) @> %s", (level, time)).fetchone() for level in (1, 2, 3, 8)]
    assert stale == [(False,), (False,), (True,), (True,)]
    view = database.execute("""SELECT "interval" FROM candles WHERE NOT settled ORDER BY "interval" """).fetchall()
    assert view == [("15m",), ("1d",), ("1h",), ("1w",), ("30m",), ("4h",)]
    database.execute("CALL refresh_candles()")
    assert database.execute("SELECT bool_and(settled) FROM candles").fetchone() == (True,)


if SERVER:  # the embedded engine has one session

    def test_lease_of_a_session_that_has_ended_or_stopped_waiting_is_taken(known: Connection, database_url: str):
        lease = "SELECT lease_candle_refresh()"
        with psycopg.connect(database_url, autocommit=True) as holder:
            holder.execute(lease)
            with holder.cursor() as cursor:
                assert known.execute(lease).fetchone() == (True,), "an idle session has been interrupted"
                cursor.execute(lease)
        assert known.execute(lease).fetchone() == (True,)

    def test_run_with_a_budget_gives_way_to_a_running_one(known: Connection, database_url: str):
        store(known, trade(0, "1"))
        run = "DO 'BEGIN PERFORM lease_candle_refresh(); COMMIT; PERFORM pg_sleep(60); END'"
        with psycopg.connect(database_url, autocommit=True) as holder, ThreadPoolExecutor(1) as thread:
            running = thread.submit(holder.execute, run)
            leased = "SELECT pid IS NOT NULL FROM candle_refresh"
            eventually(lambda: known.execute(leased).fetchone() == (True,))
            known.execute("""CALL refresh_candles(NULL, '{"budget": "1 second"}')""")
            assert len(known.execute(RANGES).fetchall()) == 1
            holder.cancel_safe()
            assert isinstance(running.exception(), psycopg.errors.QueryCanceled)
