"""Candles of every interval compared with a plain grouping of the same trades."""

from collections.abc import Iterator
from decimal import Decimal

import psycopg
import pytest
from helpers.candle_scenarios import (
    DAY,
    HOUR,
    INTERVALS,
    MINUTE,
    TRADES,
    Databases,
    Scenario,
    bucket_start,
    connected_to_migrated,
    differing_intervals,
    group_trades,
    run_all_jobs,
    shift_trades,
)
from helpers.service import eventually
from helpers.support import T0, Connection, Trade, now_within_minute, store, trade
from hypothesis import given, settings


@pytest.fixture(scope="module")
def database(new_migrated_database: Databases) -> Iterator[Connection]:
    """Connect to one database for all scenarios, each of which has its own four weeks."""
    # A separate database: the embedded engine's TimescaleDB can't truncate materialized candles.
    with connected_to_migrated(new_migrated_database) as connection:
        yield connection


@settings(max_examples=8, derandomize=True, deadline=None, database=None)
@given(first=TRADES, later=TRADES, latest=TRADES)
def test_candles_of_every_interval_equal_a_grouping_of_their_trades(
    database: Connection, first: list[Trade], later: list[Trade], latest: list[Trade]
):
    scenario = Scenario(database)
    scenario.store(first)
    assert scenario.differing_intervals == [], "before a refresh"
    scenario.refresh()
    assert scenario.differing_intervals == [], "after a refresh"
    scenario.store(later)
    scenario.refresh()
    assert scenario.differing_intervals == [], "after late trades"
    scenario.compress()
    assert scenario.differing_intervals == [], "with chunks in the columnstore"
    scenario.store(latest)
    scenario.refresh()
    assert scenario.differing_intervals == [], "after late trades in the columnstore"


def test_trades_of_one_instant_are_ordered_by_trade_id_at_every_interval(database: Connection):
    scenario = Scenario(database)
    scenario.store(trade(7, str(number + 10), trade_id=number) for number in (5, 3, 9, -7, 0, 8))
    assert {row[2:6] for row in group_trades(scenario.trades, "1w")} == {(3, 19, 3, 19)}
    assert scenario.differing_intervals == []
    scenario.refresh()
    assert scenario.differing_intervals == []


def test_changed_and_deleted_trades_update_all_intervals_and_the_latest_trade(database: Connection):
    scenario = Scenario(database)
    scenario.store(trade(seconds, str(seconds + 1), symbol="ONLY") for seconds in (0, 30, 400, 90_000))
    scenario.refresh()
    newest = "SELECT price FROM latest_prices WHERE symbol = 'ONLY'"
    database.execute("UPDATE trades SET price = 77 WHERE symbol = 'ONLY' AND price = 31")
    database.execute("DELETE FROM trades WHERE symbol = 'ONLY' AND price = 1")
    assert database.execute(newest).fetchone() == (90_001,)
    database.execute("DELETE FROM trades WHERE symbol = 'ONLY' AND price = 90001")
    scenario.trades = [(*each[:3], Decimal(77) if each[3] == 31 else each[3], each[4]) for each in scenario.trades[1:3]]
    scenario.refresh()
    assert scenario.differing_intervals == []
    assert database.execute(newest).fetchone() == (401,)
    database.execute("DELETE FROM trades WHERE symbol = 'ONLY'")
    assert database.execute(newest).fetchone() is None


def test_many_distant_late_trades_update_all_intervals(database: Connection):
    scenario = Scenario(database)
    scenario.store([trade(0, "5"), trade(86_400 * 27, "6")])
    scenario.refresh()
    for number in range(120):  # one statement each, so that each has its own stale range
        scenario.store([trade(number * 7_919, str(number + 1))])
    scenario.refresh()
    assert scenario.differing_intervals == []


def test_watermark_does_not_pass_trades_that_no_refresh_has_processed(new_migrated_database: Databases):
    """After downtime of the database, trades between the last refresh and the refresh window must not be skipped."""
    with connected_to_migrated(new_migrated_database) as connection:
        now = connection.execute("SELECT now()").fetchall()[0][0]
        trades = shift_trades([trade(0, "5"), trade(90, "6")], now - 40 * DAY - T0)
        store(connection, *trades)
        # As if the trades had been on time and the database had stopped before a refresh: there are no stale ranges.
        connection.execute("DELETE FROM stale_ranges")
        recent = shift_trades([trade(0, "7")], now - 2 * MINUTE - T0)
        store(connection, *recent)
        for _ in range(3):  # a run may stop after a second, before it has refreshed everything
            run_all_jobs(connection)
            assert differing_intervals(connection, trades + recent, now - 60 * DAY) == []
        assert connection.execute("SELECT candles_watermark('1m') > %s", (now - HOUR,)).fetchone() == (True,)


def test_candles_materialized_while_the_clock_was_ahead_are_updated_by_later_trades(new_migrated_database: Databases):
    with connected_to_migrated(new_migrated_database) as connection:
        now = connection.execute("SELECT now()").fetchall()[0][0]
        trades = shift_trades([trade(-3600, "5"), trade(7200, "6")], now - T0)
        store(connection, *trades)
        for interval in ("1m", "5m", "15m", "30m", "1h"):  # as the job did before the clock was set back
            connection.execute(f"CALL refresh_continuous_aggregate('candles_{interval}', NULL, %s)", (now + 3 * HOUR,))
        late = shift_trades([trade(0, "7"), trade(30, "8"), trade(1800, "9")], now - T0)
        store(connection, *late)
        connection.execute("CALL refresh_candles()")
        assert differing_intervals(connection, trades + late, now - 30 * DAY) == []


def test_late_trades_stored_by_copy_update_all_intervals(new_migrated_database: Databases):
    """TimescaleDB records no invalidation for COPY into a table with a trigger like that of trades."""
    with connected_to_migrated(new_migrated_database) as connection:
        now = connection.execute("SELECT now()").fetchall()[0][0]
        start = now - 20 * DAY
        trades = shift_trades([trade(0, "5"), trade(3600, "6")], start - T0)
        store(connection, *trades)
        connection.execute("CALL refresh_candles()")
        late = shift_trades([trade(30, "7")], start - T0)
        columns = "time, symbol, trade_id, price, volume"
        with connection.cursor().copy(f"COPY trades ({columns}) FROM STDIN") as copy:
            copy.write_row(late[0])
        connection.execute("CALL refresh_candles()")
        assert differing_intervals(connection, trades + late, start - 30 * DAY) == []


def test_truncating_trades_removes_their_candles(new_migrated_database: Databases):
    with connected_to_migrated(new_migrated_database) as connection:
        now = connection.execute("SELECT now()").fetchall()[0][0]
        store(connection, *shift_trades([trade(0, "5"), trade(-86_400 * 30, "6")], now - 20 * DAY - T0))
        connection.execute("CALL refresh_candles()")
        connection.execute("TRUNCATE trades")
        connection.execute("CALL refresh_candles()")
        assert differing_intervals(connection, [], now - 90 * DAY) == []
        assert connection.execute("SELECT count(*) FROM latest_trades").fetchone() == (0,)


def test_jobs_refresh_all_intervals_after_late_trades_of_any_age(new_migrated_database: Databases):
    with connected_to_migrated(new_migrated_database, jobs=True) as connection:
        now = connection.execute("SELECT now()").fetchall()[0][0]
        trades = shift_trades([trade(0, "5"), trade(61, "6"), trade(121, "7")], now - 45 * DAY - T0)
        store(connection, *trades)
        materialized = "SELECT candles_watermark('1w') > %s AND NOT EXISTS (SELECT FROM stale_ranges)"
        eventually(lambda: connection.execute(materialized, (now - 45 * DAY,)).fetchone() == (True,))
        # Before every watermark, so that only a refresh can show them; the second is older than all others.
        late = shift_trades([trade(30, "4"), trade(-300 * 86_400, "8")], now - 45 * DAY - T0)
        store(connection, *late)
        eventually(lambda: differing_intervals(connection, trades + late, now - 400 * DAY) == [], seconds=20)


def test_candle_is_closed_once_its_bucket_has_ended(connection: Connection):
    now = now_within_minute()
    store(connection, *shift_trades([trade(0, "5"), trade(-8 * 86_400, "6")], now - T0))
    rows = connection.execute('SELECT "interval", bucket, closed FROM candles').fetchall()
    assert {interval for interval, _, closed in rows if not closed} == set(INTERVALS)
    assert all(closed == (bucket < bucket_start(interval, now)) for interval, bucket, closed in rows)


@pytest.mark.parametrize("interval", INTERVALS)
def test_view_of_all_candles_reads_one_aggregate(connection: Connection, interval: str):
    explain = "EXPLAIN (VERBOSE) SELECT close FROM candles WHERE \"interval\" = %s AND symbol = 'AAPL' AND bucket > %s"
    with psycopg.ClientCursor(connection) as cursor:  # as in psql, the interval is a literal
        plan = "\n".join(line for (line,) in cursor.execute(explain, (interval, T0)))
    materializations = connection.execute(
        "SELECT view_name, materialization_hypertable_name FROM timescaledb_information.continuous_aggregates"
    ).fetchall()
    finer = list(INTERVALS)[: list(INTERVALS).index(interval) + 1]
    coarser = {name for view, name in materializations if view.removeprefix("candles_") not in finer}
    assert not [name for name in coarser if f"{name}." in plan or f"{name} " in plan]
