"""Runs of refresh_candles() that end early, meet another clock, or find that trades were truncated."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest
from helpers.candle_scenarios import UNSCHEDULE, connected_to_migrated, differing_intervals
from helpers.support import Connection, Databases, one, store
from psycopg import sql

from market_data.database.connection import connect
from market_data.queries.candle_refresh import refresh_candles

MINUTE = timedelta(minutes=1)
INSERT = "INSERT INTO trades (time, symbol, price, volume) VALUES (%s, 'AAPL', 1, 1)"
FRESH_TRADES = """
    INSERT INTO trades (time, symbol, price, volume)
    SELECT moment, 'AAPL', 1, 1
    FROM generate_series(%s::timestamptz, now() - INTERVAL '2 minutes', INTERVAL '30 minutes') AS moment
"""
SHORT_RUN = """CALL refresh_candles(NULL, '{"buckets": 1440, "budget": "0 seconds"}')"""


@pytest.fixture
def database(new_migrated_database: Databases) -> Iterator[Connection]:
    with connected_to_migrated(new_migrated_database) as connection:
        connection.execute("INSERT INTO symbols (symbol, name) VALUES ('AAPL', 'Apple'), ('MSFT', 'Microsoft')")
        yield connection


def run_to_the_end(connection: Connection) -> None:
    for _ in range(200):
        connection.execute(SHORT_RUN)
        if one(connection, "SELECT NOT EXISTS (SELECT FROM stale_ranges)"):
            return
    raise AssertionError("candles are still stale")


def assert_candles_of_all_trades(connection: Connection) -> None:
    trades = connection.execute("SELECT time, symbol, trade_id, price, volume FROM trades").fetchall()
    assert differing_intervals(connection, trades, datetime(2000, 1, 1, tzinfo=UTC)) == []


def test_late_trade_beyond_the_minutes_of_a_short_run_hides_no_live_trade(database: Connection):
    start = datetime.now(UTC) - timedelta(days=2, hours=3)
    database.execute(INSERT, (start - timedelta(days=10),))
    run_to_the_end(database)
    database.execute(FRESH_TRADES, (start,))
    database.execute("DELETE FROM stale_ranges")  # live trades leave none while no run sets the bound
    database.execute(INSERT, (datetime.now(UTC) - timedelta(hours=2),))
    run_to_the_end(database)
    assert_candles_of_all_trades(database)


def test_trades_that_are_deleted_before_the_first_run_leave_no_candles(database: Connection):
    for days in (30, 20, 0):
        database.execute(INSERT, (datetime.now(UTC) - timedelta(days=days, minutes=3),))
    database.execute("DELETE FROM trades")
    database.execute("CALL refresh_candles()")
    assert one(database, "SELECT count(*) FROM candles") == 0


def test_truncated_trades_leave_their_candles_though_new_ones_were_stored_before_the_run(database: Connection):
    today = datetime.now(UTC)
    store(database, *((today - timedelta(days=days), "AAPL", 0, Decimal(1), Decimal(1)) for days in (30, 20, 0)))
    database.execute("CALL refresh_candles()")
    database.execute("TRUNCATE trades")
    database.execute(INSERT, (today,))
    database.execute("CALL refresh_candles()")
    assert one(database, "SELECT count(*) FROM candles_1m") == 1
    assert_candles_of_all_trades(database)


def test_trades_can_be_truncated_after_all_chunks_were_dropped(database: Connection):
    database.execute(INSERT, (datetime.now(UTC),))
    database.execute("SELECT drop_chunks('trades', older_than => now() + INTERVAL '30 days')")
    database.execute("TRUNCATE trades")
    database.execute("SELECT advance_stream()")
    assert one(database, "SELECT count(*) FROM latest_trades") == 0
    assert one(database, "SELECT count(*) FROM stream_events WHERE kind = 'reload'") == 1


def test_bound_follows_a_clock_that_was_set_back(database: Connection):
    ahead = "SELECT setval('refreshed_until', (extract(epoch FROM now() + INTERVAL '1 day') * 1000000)::bigint)"
    database.execute(ahead)
    assert one(database, "SELECT fresh_since() > now()")
    database.execute("CALL refresh_candles()")
    database.execute(INSERT, (datetime.now(UTC),))
    assert one(database, "SELECT count(*) FROM stale_ranges") == 0


def test_candles_that_a_policy_has_materialized_during_a_run_are_stale(database: Connection):
    """Another run is longer than a policy's; its bound is before the candles that the policy has materialized meanwhile."""
    time = (datetime.now(UTC) - timedelta(hours=3)).replace(minute=0)
    database.execute(INSERT, (time,))
    database.execute("CALL refresh_candles()")
    database.execute(INSERT, (time + MINUTE,))
    database.execute("SELECT setval('refreshed_until', 1)")
    assert one(database, "SELECT stale_times(2) @> %s", time + MINUTE)


def test_run_shows_its_progress_after_each_level(database: Connection):
    """A run of a role that may not see the session of another one takes the lease over after 10 minutes without progress."""
    database.execute(INSERT, (datetime.now(UTC) - timedelta(days=30),))
    database.execute("""
        CREATE FUNCTION record_progress() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN INSERT INTO progress VALUES (new.active_at); RETURN NULL; END'
    """)
    database.execute("CREATE TABLE progress (active_at timestamptz)")
    database.execute(
        "CREATE TRIGGER progress AFTER UPDATE ON candle_refresh FOR EACH ROW EXECUTE FUNCTION record_progress()"
    )
    database.execute("CALL refresh_candles()")
    # At the beginning, after each of the levels, and at the end.
    assert one(database, "SELECT count(*) >= 10 FROM progress")


def test_run_of_a_second_tells_if_candles_are_still_stale(new_migrated_database: Databases):
    async def run(url: str) -> bool:
        async with await connect(url, query_timeout=0) as connection:
            return await refresh_candles(connection)

    with new_migrated_database() as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute(UNSCHEDULE)
        connection.execute("""
            INSERT INTO stale_ranges (write_id, since, until)
            SELECT number, moment, moment
            FROM generate_series(1, 5000) AS number
            CROSS JOIN LATERAL (SELECT '2020-01-01'::timestamptz - number * INTERVAL '2 days') AS range (moment)
        """)
        assert asyncio.run(run(url))
        connection.execute("DELETE FROM stale_ranges")
        assert not asyncio.run(run(url))


def test_session_that_has_refreshed_candles_keeps_no_other_from_it(database: Connection):
    database.execute("CALL refresh_candles()")
    assert not one(database, "SELECT is_held(candle_refresh) FROM candle_refresh")


def test_range_that_ends_before_it_begins_is_rejected(database: Connection):
    with pytest.raises(psycopg.errors.CheckViolation):
        database.execute("INSERT INTO stale_ranges (write_id, since, until) VALUES (0, now(), now() - INTERVAL '1 s')")


def test_live_trades_take_turns_with_bulk_history(database: Connection):
    """Each run has one step, of a live trade if one is stale; a longer run would take a step of bulk history next."""
    now = datetime.now(UTC)
    stale = "INSERT INTO stale_ranges (write_id, since, until, bulk) VALUES (%s, %s, %s, %s)"
    for write_id in range(1, 4):
        time = now - timedelta(days=40 * write_id)
        database.execute(stale, (write_id, time, time, True))
    live = now - timedelta(hours=2)
    database.execute(stale, (4, live, live, False))
    for _ in range(8):
        database.execute(SHORT_RUN)
    assert database.execute("SELECT DISTINCT level, bulk FROM stale_ranges").fetchall() == [(1, True)]
    run_to_the_end(database)


def test_bulk_history_reaches_a_level_as_a_whole_before_the_next(database: Connection):
    """A coarse candle beside finer ones that are not materialized would be computed from trades."""
    for write_id in range(1, 4):
        time = datetime.now(UTC) - timedelta(days=40 * write_id)
        stale = "INSERT INTO stale_ranges (write_id, since, until, bulk) VALUES (%s, %s, %s, true)"
        database.execute(stale, (write_id, time, time))
    seen: set[tuple[int, int]] = set()
    while levels := database.execute("SELECT min(level), max(level) FROM stale_ranges HAVING count(*) > 0").fetchone():
        seen.add(levels)
        database.execute(SHORT_RUN)
    assert {level for level, _ in seen} == {*range(1, 9)}
    assert all(last - first <= 1 for first, last in seen)


def test_policies_refresh_no_bulk_history_again(database: Connection):
    """They would do so in one statement, during which the embedded engine does nothing else."""
    database.execute("SET market_data.stream = off")
    database.execute("""
        INSERT INTO trades (time, symbol, price, volume)
        SELECT date_trunc('day', now()) - number * INTERVAL '1 hour', 'AAPL', 1, 1
        FROM generate_series(240, 600) AS number
    """)
    run_to_the_end(database)
    database.execute(SHORT_RUN.replace("0 seconds", "1 minute"))
    policies = """
        SELECT job_id, materialization_hypertable_schema, materialization_hypertable_name
        FROM timescaledb_information.jobs AS job
        JOIN timescaledb_information.continuous_aggregates ON materialization_hypertable_name = job.hypertable_name
        WHERE job.proc_name = 'policy_refresh_continuous_aggregate'
    """
    for job, *name in database.execute(policies).fetchall():
        rows = sql.SQL("SELECT tableoid, ctid, xmin::text FROM {} ORDER BY tableoid, ctid").format(sql.Identifier(*name))
        before = database.execute(rows).fetchall()
        database.execute("CALL run_job(%s)", (job,))
        assert len(before) > 0
        assert database.execute(rows).fetchall() == before, name


def test_bulk_history_is_marked_as_such(database: Connection):
    old = datetime.now(UTC) - timedelta(days=3)
    store(database, (old, "AAPL", 0, Decimal(1), Decimal(1)))
    many = """
        INSERT INTO trades (time, symbol, price, volume)
        SELECT %s::timestamptz + number * INTERVAL '1 second', 'MSFT', 1, 1
        FROM generate_series(1, 1001) AS number
    """
    database.execute(many, (old,))
    ranges = database.execute("SELECT DISTINCT write_id = (SELECT min(write_id) FROM stale_ranges), bulk FROM stale_ranges")
    assert set(ranges.fetchall()) == {(True, False), (False, True)}
