"""Revisions in SQL: a copy of closed candles that follows them stays exact, and each one is a change of a closed candle."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import psycopg
import pytest
from helpers.histories import SYMBOLS, History
from helpers.support import Connection, one, store, trade

from market_data.queries.intervals import INTERVALS, LENGTHS

REVISIONS = """
    SELECT
        version, bucket, reload_until, changed_at, cause,
        open_before, high_before, low_before, close_before, volume_before, turnover_before, trade_count_before,
        open_after, high_after, low_after, close_after, volume_after, turnover_after, trade_count_after
    FROM candle_revisions(%(interval)s, %(symbol)s, %(since)s)
    ORDER BY version, bucket
"""
CANDLES = """
    SELECT
        time_bucket(%(width)s::interval, time), first(price, time ORDER BY trade_id), max(price), min(price),
        last(price, time ORDER BY trade_id DESC), sum(volume), sum(price * volume), count(*)
    FROM trades
    WHERE symbol = %(symbol)s
    GROUP BY 1
"""
COMPRESS = "SELECT compress_chunk(chunk, true) FROM show_chunks('trades', now() - INTERVAL '8 days') AS chunk"

AT_CLOSE = """
    SELECT bucket, open, high, low, close, volume, turnover, trade_count
    FROM candles_as_of_close(%(interval)s, %(grace)s, newest_version(), %(symbol)s, %(since)s)
    ORDER BY bucket
"""
# Each bucket on its own.
EXPECTED_AT_CLOSE = """
    SELECT start, open, high, low, close, volume, turnover, trade_count
    FROM (
        SELECT DISTINCT time_bucket(%(width)s::interval, time)
        FROM (SELECT symbol, time FROM trades UNION SELECT symbol, time FROM trade_changes) AS known
        WHERE symbol = %(symbol)s
    ) AS buckets (start)
    CROSS JOIN LATERAL candles_as_of(
        %(interval)s, version_until(start + %(width)s::interval + %(grace)s), %(symbol)s, start, start + INTERVAL '1 us'
    )
    WHERE start >= %(since)s AND start + %(width)s::interval + %(grace)s <= now()
    ORDER BY start
"""
# As if there had been some minutes between two commits.
SPREAD = """
    UPDATE commits
    SET committed_at = now() - (newest_version() - version) * INTERVAL '47 minutes'
"""

Candles = dict[datetime, tuple[Any, ...]]
"""By the start of the bucket."""


class Moment(NamedTuple):
    """Candles of all intervals and symbols at a version, computed from trades."""

    version: int
    time: datetime
    candles: dict[tuple[str, str], Candles]

    def closed(self, interval: str, symbol: str, time: datetime) -> Candles:
        """Return the candles of buckets that had ended at a time."""
        found = self.candles[interval, symbol]
        return {bucket: values for bucket, values in found.items() if bucket + INTERVALS[interval] <= time}


def moment(connection: Connection) -> Moment:
    """Return the present candles."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        return Moment(
            one(connection, "SELECT newest_version()"),
            one(connection, "SELECT max(committed_at) FROM commits"),
            {
                (interval, symbol): {
                    bucket: tuple(values)
                    for bucket, *values in connection.execute(CANDLES, {"width": width, "symbol": symbol})
                }
                for interval, width in LENGTHS.items()
                for symbol in SYMBOLS
            },
        )


@pytest.fixture
def stopped(stopped_database: str) -> Iterator[Connection]:
    with psycopg.connect(stopped_database, autocommit=True, options="-c timezone=UTC") as connection:
        yield connection


def follow(connection: Connection, interval: str, symbol: str, start: Moment, end: Moment) -> None:
    """Check that the candles of one moment become those of another by the revisions in between."""
    copy = start.closed(interval, symbol, start.time)
    parameters = {"interval": interval, "symbol": symbol, "since": start.version}
    for version, bucket, until, time, cause, *values in connection.execute(REVISIONS, parameters):
        assert start.version < version <= end.version
        assert bucket + INTERVALS[interval] <= time
        if cause == "reload":
            assert all(value is None for value in values)
            copy = {each: value for each, value in copy.items() if not bucket <= each < until}
            copy |= {
                each: value for each, value in end.closed(interval, symbol, start.time).items() if bucket <= each < until
            }
            continue
        before, after = (None if part[-1] is None else tuple(part) for part in (values[:7], values[7:]))
        assert before != after
        if bucket + INTERVALS[interval] > start.time:
            continue  # closed later
        known = copy.pop(bucket, None)
        # A reload has read the newest candle.
        assert known == before or known == end.candles[interval, symbol].get(bucket)
        if after:
            copy[bucket] = after
    assert copy == end.closed(interval, symbol, start.time)


@pytest.mark.parametrize("number", [0, 1, *(pytest.param(number, marks=pytest.mark.slow) for number in range(2, 5))])
def test_copy_of_closed_candles_that_follows_revisions_stays_exact(stopped: Connection, number: int):
    choose = random.Random(number)
    history = History(stopped, number, truncates=number % 2 == 1)
    moments = [moment(stopped)] if one(stopped, "SELECT newest_version()") else []
    for _ in range(40):
        history.write()
        if choose.random() < 0.2:
            stopped.execute("CALL refresh_candles()")
        if choose.random() < 0.05:
            stopped.execute(COMPRESS)
        if choose.random() < 0.08:
            moments.append(moment(stopped))
    end = moment(stopped)
    for start in moments:
        for interval in LENGTHS:
            for symbol in SYMBOLS:
                follow(stopped, interval, symbol, start, end)


@pytest.mark.parametrize("is_empty", [False, True], ids=["other chunks", "no chunks"])
def test_a_copy_from_before_two_truncations_stays_exact(stopped: Connection, is_empty: bool):
    store(stopped, trade(0, "10"))
    start = moment(stopped)
    stopped.execute("TRUNCATE trades")
    if not is_empty:
        store(stopped, trade(-30 * 86_400, "20"))
    stopped.execute("TRUNCATE trades")
    store(stopped, trade(86_400, "30"))
    end = moment(stopped)
    for interval in LENGTHS:
        assert start.closed(interval, "AAPL", start.time)
        follow(stopped, interval, "AAPL", start, end)


@pytest.mark.parametrize("number", [0, *(pytest.param(number, marks=pytest.mark.slow) for number in range(1, 4))])
def test_candles_as_of_close_are_those_of_each_bucket_when_its_time_had_come(stopped: Connection, number: int):
    history = History(stopped, number, truncates=False)
    for _ in range(50):
        history.write()
    stopped.execute("CALL refresh_candles()")
    stopped.execute(SPREAD)
    found = 0
    for interval, width in LENGTHS.items():
        for grace in (timedelta(), timedelta(seconds=30), timedelta(hours=3)):
            for symbol in SYMBOLS:
                since = one(stopped, "SELECT now() - INTERVAL '30 days'")
                parameters = {"interval": interval, "width": width, "grace": grace, "symbol": symbol, "since": since}
                with stopped.transaction():  # in which now() stays the same
                    expected = stopped.execute(EXPECTED_AT_CLOSE, parameters).fetchall()
                    assert stopped.execute(AT_CLOSE, parameters).fetchall() == expected, parameters
                found += len(expected)
    assert found
