"""The service refreshes candles while the database's job does not run, as after a crash of a server."""

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from helpers.candle_scenarios import DAY, differing_intervals
from helpers.environments import Environment, with_own_database
from helpers.service import eventually
from helpers.support import SERVER, Connection, Databases, Trade, store, trade

STOP_JOB = """
    SELECT alter_job(job_id, next_start => now() + INTERVAL '1 hour')
    FROM timescaledb_information.jobs
    WHERE proc_name = 'refresh_candles'
"""
STALE = "SELECT count(*) FROM stale_ranges"
PROGRESS = "SELECT active_at FROM candle_refresh"
ACTIVE_LONG_AGO = "UPDATE candle_refresh SET active_at = now() - INTERVAL '1 minute'"


@pytest.fixture
def environment(tmp_path: Path, new_migrated_database: Databases, request: pytest.FixtureRequest) -> Iterator[Environment]:
    seed = None if SERVER else request.getfixturevalue("migrated_seed")
    with with_own_database(tmp_path, new_migrated_database, seed) as environment:
        environment.prepare(FEED_ENABLED="false")
        environment.start()
        yield environment
        environment.service.end()


def is_idle(connection: Connection) -> bool:
    """Return True if no candles are refreshed for a second."""
    before = connection.execute(PROGRESS).fetchone()
    time.sleep(1)
    return connection.execute(PROGRESS).fetchone() == before


def test_late_trades_reach_all_candles_without_the_job(environment: Environment):
    with psycopg.connect(environment.url, autocommit=True, options="-c timezone=UTC") as connection:
        ((now,),) = connection.execute("SELECT date_trunc('second', now())").fetchall()
        trades: list[Trade] = [
            (now - timedelta(days=30), *trade(0, "1")[1:]),
            (now - timedelta(hours=1), *trade(0, "2")[1:]),
        ]
        store(connection, *trades)
        connection.execute("CALL refresh_candles()")
        connection.execute(STOP_JOB)
        eventually(lambda: is_idle(connection))
        connection.execute(STOP_JOB)  # again: a run that had begun has set the time of the next one
        connection.execute(ACTIVE_LONG_AGO)
        for days in (1, 9, 20):
            trades.append((now - timedelta(days=days), *trade(0, str(days))[1:]))
            store(connection, trades[-1])
            assert connection.execute(STALE).fetchone() == (1,)
            eventually(lambda: connection.execute(STALE).fetchone() == (0,), 60)
            assert differing_intervals(connection, sorted(trades), now - 40 * DAY) == []
    assert environment.logs.count("the service refreshes candles") == 1
