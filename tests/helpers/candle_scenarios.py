"""Scenarios for tests of candles: trades in a time range of their own, and the candles that they must have."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from operator import itemgetter

import psycopg
from helpers.service import eventually
from helpers.support import RUNNING_JOBS, T0, Connection, Databases, Trade, one, store, trade
from hypothesis import strategies as st

Row = tuple[str, datetime, Decimal, Decimal, Decimal, Decimal, Decimal, Decimal, int]

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
INTERVALS = {
    "1m": MINUTE,
    "5m": 5 * MINUTE,
    "15m": 15 * MINUTE,
    "30m": 30 * MINUTE,
    "1h": HOUR,
    "4h": 4 * HOUR,
    "1d": DAY,
    "1w": 7 * DAY,
}
MONDAY = datetime(2000, 1, 3, tzinfo=UTC)

CANDLES: Mapping[str, bytes] = {
    interval: f"""
        SELECT symbol, bucket, open, high, low, close, volume, turnover, trade_count
        FROM candles_{interval}
        WHERE bucket >= %s
        ORDER BY symbol, bucket
    """.encode()
    for interval in INTERVALS
}
CANDLES_VIEW = """
    SELECT symbol, bucket, open, high, low, close, volume, turnover, trade_count
    FROM candles
    WHERE "interval" = %s AND bucket >= %s
    ORDER BY symbol, bucket
"""
UNSCHEDULE = "SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs"
JOBS = "SELECT job_id FROM timescaledb_information.jobs WHERE job_id >= 1000 ORDER BY job_id"
TO_COLUMNSTORE = """
    SELECT compress_chunk(format('%%I.%%I', chunk_schema, chunk_name)::regclass, if_not_compressed => true)
    FROM timescaledb_information.chunks
    WHERE range_end <= %s AND hypertable_name IN (
        SELECT 'trades'
        UNION ALL
        SELECT materialization_hypertable_name
        FROM timescaledb_information.continuous_aggregates
        WHERE view_name IN ('candles_1m', 'candles_5m', 'candles_15m')
    )
"""


def bucket_start(interval: str, time: datetime) -> datetime:
    """Return the start of a time's bucket."""
    width = INTERVALS[interval]
    return MONDAY + (time - MONDAY) // width * width


def group_trades(trades: Iterable[Trade], interval: str = "1m") -> list[Row]:
    """Return the candles of trades, computed without a database."""

    def bucket(each: Trade) -> tuple[str, datetime]:
        time, symbol, *_ = each
        return symbol, bucket_start(interval, time)

    rows: list[Row] = []
    for key, group in groupby(sorted(trades, key=lambda each: (each[1], each[0], each[2])), bucket):
        within = list(group)
        prices = [price for *_, price, _ in within]
        volume = sum((volume for *_, volume in within), Decimal(0))
        turnover = sum((price * volume for *_, price, volume in within), Decimal(0))
        rows.append((*key, prices[0], max(prices), min(prices), prices[-1], volume, turnover, len(within)))
    return rows


def shift_trades(trades: Iterable[Trade], offset: timedelta) -> list[Trade]:
    """Return the same trades at another time."""
    return [(time + offset, symbol, number, price, volume) for time, symbol, number, price, volume in trades]


def differing_intervals(connection: Connection, trades: Iterable[Trade], since: datetime) -> list[str]:
    """Return the intervals whose candles since a time differ from the candles of these trades."""
    trades = list(trades)
    return [
        interval
        for interval, query in CANDLES.items()
        if connection.execute(query, (since,)).fetchall() != group_trades(trades, interval)
        or connection.execute(CANDLES_VIEW, (interval, since)).fetchall() != group_trades(trades, interval)
    ]


@contextmanager
def connected_to_migrated(new_migrated_database: Databases, *, jobs: bool = False) -> Iterator[Connection]:
    """Connect to a new migrated database, whose scheduled jobs are disabled unless `jobs` is true."""
    with new_migrated_database() as url, psycopg.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
        if not jobs:
            connection.execute(UNSCHEDULE)
            eventually(lambda: one(connection, RUNNING_JOBS) == 0)  # those that run once created
        yield connection


def run_all_jobs(connection: Connection) -> None:
    """Run every policy and job once, as the scheduler does."""
    for (job,) in connection.execute(JOBS).fetchall():
        connection.execute("CALL run_job(%s)", (job,))


class Scenario:
    """Four weeks of a database, empty at first."""

    length = 28 * DAY
    number = 0

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.start = MONDAY + Scenario.number * self.length
        Scenario.number += 1
        self.trades: list[Trade] = []

    def store(self, trades: Iterable[Trade]) -> None:
        """Store the trades that are not stored yet, with their times relative to the start of the scenario."""
        taken = {each[:3] for each in self.trades}
        new = [each for each in shift_trades(trades, self.start - T0) if each[:3] not in taken]
        self.trades += new
        store(self.connection, *new)

    def refresh(self) -> None:
        self.connection.execute("CALL refresh_candles()")

    def compress(self) -> None:
        """Convert the chunks that end within the scenario to the columnstore."""
        self.connection.execute(TO_COLUMNSTORE, (self.start + self.length,))

    @property
    def differing_intervals(self) -> list[str]:
        return differing_intervals(self.connection, self.trades, self.start)


# Few instants, symbols and ids, so that many trades share one, around the boundaries of minutes, hours, days and weeks.
MOMENTS = st.builds(
    lambda unit, count, milliseconds: unit * count + milliseconds / 1000,
    st.sampled_from([60, 300, 3600, 86_400, 604_800]),
    st.integers(0, 3),
    st.integers(0, 2) | st.integers(59_998, 60_002),
)
TRADES = st.lists(
    st.builds(
        lambda seconds, price, volume, symbol, number: trade(
            seconds, str(price), str(volume), symbol=symbol, trade_id=number
        ),
        MOMENTS,
        st.decimals("0.01", "999.99", places=2),
        st.just(Decimal(0)) | st.decimals("0.01", "99.99", places=2),
        st.sampled_from(["AAPL", "MSFT"]),
        st.integers(-1, 3),
    ),
    max_size=30,
    unique_by=itemgetter(0, 1, 2),
)
