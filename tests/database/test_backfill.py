"""`market-data backfill`: history without gaps or duplicates after any interruption, and its candles."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest
from helpers.service import command, error_line, eventually
from helpers.support import Connection, store
from psycopg import sql

from market_data.cli.data.backfill import History, backfill
from market_data.feed.random_walk import LISTINGS

TWO = LISTINGS[:2]
WEEKS = ("backfill", "--days", "21", "--rate", "1m", "--seed", "1", "--symbols", "AAPL,GOOGL")

STEPS = """
    SELECT count(*), count(DISTINCT time), (max(time) - min(time)) / (count(*) - 1), now() - min(time), now() - max(time)
    FROM trades
    GROUP BY symbol
"""
DIFFERENCES = """
    WITH grouped AS (
        SELECT symbol, time_bucket({bucket}, time) AS bucket, first(price, time) AS open, max(price) AS high,
            min(price) AS low, last(price, time) AS close, sum(volume) AS volume, sum(price * volume) AS turnover,
            count(*) AS trade_count
        FROM trades
        GROUP BY 1, 2
    ), candles AS (
        SELECT symbol, bucket, open, high, low, close, volume, turnover, trade_count FROM {view}
    )
    SELECT count(*)
    FROM ((TABLE grouped EXCEPT TABLE candles) UNION ALL (TABLE candles EXCEPT TABLE grouped)) AS difference
"""
BUCKETS = {
    "1m": "1 minute",
    "5m": "5 minutes",
    "15m": "15 minutes",
    "30m": "30 minutes",
    "1h": "1 hour",
    "4h": "4 hours",
    "1d": "1 day",
    "1w": "7 days",
}


@pytest.fixture
def fresh_url(new_migrated_database: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    with new_migrated_database() as url:
        yield url


@pytest.fixture
def fresh(fresh_url: str) -> Iterator[Connection]:
    with psycopg.connect(fresh_url, autocommit=True, options="-c timezone=UTC") as connection:
        yield connection


def candles_are_correct(connection: Connection) -> bool:
    """True if the candles of all intervals are the aggregates of the trades."""
    for interval, bucket in BUCKETS.items():
        # One statement, so that both sides are read from one snapshot while a job may materialize candles.
        query = sql.SQL(DIFFERENCES).format(bucket=bucket, view=sql.Identifier(f"candles_{interval}"))
        (differences,) = connection.execute(query).fetchone() or (None,)
        assert differences == 0, f"{differences} of {interval}"
    return True


def has_one_trade_per_step(connection: Connection, step: timedelta, reach: timedelta, symbols: int) -> bool:
    found = connection.execute(STEPS).fetchall()
    assert len(found) == symbols
    for count, instants, distance, begin, end in found:
        assert count == instants
        assert distance == step
        assert reach - step - timedelta(minutes=2) < begin < reach + timedelta(minutes=2)
        assert end < step + timedelta(minutes=2)
    return True


def trades_stored(connection: Connection) -> int:
    (count,) = connection.execute("SELECT count(*) FROM trades").fetchone() or (0,)
    return count


def test_after_an_interruption_and_a_kill_it_continues_where_it_stopped(fresh_url: str, fresh: Connection):
    done = 0
    for number, status in ((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
        process = subprocess.Popen(
            [sys.executable, "-m", "market_data.cli.main", *WEEKS],
            env={**os.environ, "DATABASE_URL": fresh_url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        eventually(lambda done=done: trades_stored(fresh) > done)
        process.send_signal(number)
        output, errors = process.communicate(timeout=30)
        assert (process.returncode, output) == (status, "")
        done = trades_stored(fresh)
        assert 0 < done < 2 * 21 * 1440, "it was interrupted before its end"
        if number == signal.SIGINT:
            assert errors == "market-data: interrupted; the same command continues where this one stopped\n"
            assert fresh.execute("SELECT FROM leases WHERE name = 'backfill'").fetchall() == []

    ended = command(*WEEKS, DATABASE_URL=fresh_url)
    assert ended.returncode == 0, ended.stderr
    assert has_one_trade_per_step(fresh, timedelta(minutes=1), timedelta(days=21), 2)
    assert candles_are_correct(fresh)
    (stale,) = fresh.execute("SELECT count(*) FROM stale_ranges").fetchone() or (None,)
    assert stale == 0
    chunks = fresh.execute("""
        SELECT is_compressed, range_end < now() - INTERVAL '7 days'
        FROM timescaledb_information.chunks WHERE hypertable_name = 'trades'
    """).fetchall()
    assert all(compressed == old for compressed, old in chunks)
    assert any(compressed for compressed, _ in chunks)

    again = command(*WEEKS, DATABASE_URL=fresh_url)
    assert again.returncode == 0
    assert again.stdout.startswith("nothing to do: the history already starts at ")


def test_it_joins_existing_trades_and_leaves_other_symbols_alone(fresh_url: str, fresh: Connection):
    first = datetime.now(UTC).replace(microsecond=123456) - timedelta(hours=5)
    store(fresh, (first, "AAPL", 5, Decimal("123.456"), Decimal(1)), (first, "OTHER", 0, Decimal(1), Decimal(1)))
    asyncio.run(backfill(fresh_url, History(TWO, timedelta(days=1), timedelta(seconds=30), 1)))
    trades = fresh.execute("SELECT time, price FROM trades WHERE symbol = 'AAPL' ORDER BY time DESC").fetchall()
    assert trades[0] == (first, Decimal("123.456"))
    assert trades[1][0] == first - timedelta(seconds=30)
    assert abs(trades[1][1] - Decimal("123.46")) < Decimal("0.3")
    assert len({time for time, _ in trades}) == len(trades)
    assert first - trades[-1][0] == (len(trades) - 1) * timedelta(seconds=30)
    assert abs(datetime.now(UTC) - timedelta(days=1) - trades[-1][0]) < timedelta(minutes=1)
    assert fresh.execute("SELECT price FROM latest_trades WHERE symbol = 'AAPL'").fetchone() == (Decimal("123.456"),)
    assert fresh.execute("SELECT count(*) FROM trades WHERE symbol = 'OTHER'").fetchone() == (1,)
    assert candles_are_correct(fresh)


def test_the_history_starts_at_the_retention_horizon(fresh_url: str, fresh: Connection):
    fresh.execute("CALL set_retention('9 days')")
    ended = command("backfill", "--days", "20", "--rate", "10m", DATABASE_URL=fresh_url)
    assert ended.returncode == 0, ended.stderr
    assert "retention is set: the history starts at " in ended.stderr
    assert has_one_trade_per_step(fresh, timedelta(minutes=10), timedelta(days=9) - timedelta(hours=1), 5)


def test_only_one_backfill_runs_at_a_time(database_url: str, connection: Connection):
    connection.execute("INSERT INTO leases VALUES ('backfill', 'another', now() + INTERVAL '1 minute')")
    message = error_line("backfill", "--days", "1", "--rate", "1h", DATABASE_URL=database_url)
    assert message == "market-data: Another backfill writes to this database; wait for it, or stop it.\n"


def test_invalid_options_are_named():
    for arguments, expected in (
        (("--days", "0", "--rate", "1s"), "argument --days: '0' is out of range; give a whole number from 1 to 36500"),
        (("--days", "1", "--rate", "1"), "argument --rate: '1' is not a duration"),
        (
            ("--days", "1", "--rate", "1s", "--symbols", "AAPL,NONE"),
            "argument --symbols: 'NONE' is not a symbol of the feed",
        ),
    ):
        ended = command("backfill", *arguments)
        assert ended.returncode == 2
        assert expected in ended.stderr
