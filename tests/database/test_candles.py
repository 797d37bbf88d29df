"""`candles_1m` against a plain grouping of the same trades."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby
from operator import itemgetter

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from service import eventually
from support import T0, Connection, Trade, store, trade

from market_data import migrate

Row = tuple[str, datetime, Decimal, Decimal, Decimal, Decimal, Decimal, Decimal, int]

CANDLES = """
    SELECT symbol, bucket, open, high, low, close, volume, turnover, trade_count
    FROM candles_1m
    WHERE bucket >= %s
    ORDER BY symbol, bucket
"""
REFRESH = "CALL refresh_continuous_aggregate('candles_1m', %s::timestamptz, %s::timestamptz)"

MINUTE = timedelta(minutes=1)

# Few instants, symbols and ids, so that many trades share one; whole and broken milliseconds around whole minutes.
MOMENTS = st.integers(0, 4 * 60).map(float) | st.integers(-2, 240_002).map(lambda milliseconds: milliseconds / 1000)
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
    max_size=40,
    unique_by=itemgetter(0, 1, 2),
)


def grouped(trades: Iterable[Trade]) -> list[Row]:
    """The candles of trades, without a database."""

    def bucket(each: Trade) -> tuple[str, datetime]:
        time, symbol, *_ = each
        return symbol, time.replace(second=0, microsecond=0)

    rows: list[Row] = []
    for key, group in groupby(sorted(trades, key=lambda each: (each[1], each[0], each[2])), bucket):
        within = list(group)
        prices = [price for *_, price, _ in within]
        volume = sum((volume for *_, volume in within), Decimal(0))
        turnover = sum((price * volume for *_, price, volume in within), Decimal(0))
        rows.append((*key, prices[0], max(prices), min(prices), prices[-1], volume, turnover, len(within)))
    return rows


def moved(trades: Iterable[Trade], offset: timedelta) -> list[Trade]:
    """The same trades at another time."""
    return [(time + offset, symbol, number, price, volume) for time, symbol, number, price, volume in trades]


class Stage:
    """A database of which each scene has an hour of its own, later than the ones before: nothing there is materialized."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._start = T0 - timedelta(minutes=30)

    def next_scene(self) -> None:
        self._start += timedelta(hours=1)

    def store(self, trades: Iterable[Trade]) -> None:
        store(self._connection, *moved(trades, self._offset))

    def refresh(self, cut: datetime) -> None:
        """Materialize the scene from its start to a cut."""
        self._connection.execute(REFRESH, (self._start, cut + self._offset))

    def shows(self, trades: Iterable[Trade]) -> bool:
        """Whether the candles of the scene are those of these trades."""
        found = self._connection.execute(CANDLES, (self._start,)).fetchall()
        return found == grouped(moved(trades, self._offset))

    @property
    def _offset(self) -> timedelta:
        return self._start - T0 + timedelta(minutes=30)


@pytest.fixture(scope="module")
def stage(new_database: Callable[[], AbstractContextManager[str]]) -> Iterator[Stage]:
    # A database of its own: the embedded engine's TimescaleDB can't truncate what has been materialized.
    with new_database() as url:
        migrate.upgrade(url)
        with psycopg.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
            connection.execute("SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs")
            yield Stage(connection)


@settings(max_examples=30, derandomize=True, deadline=None, database=None)
@given(first=TRADES, later=TRADES, cut=st.integers(-1, 6), newer=TRADES)
def test_candles_are_the_groups_of_their_trades_before_and_after_a_refresh(
    stage: Stage, first: list[Trade], later: list[Trade], cut: int, newer: list[Trade]
):
    stage.next_scene()
    stage.store(first)
    assert stage.shows(first), "nothing is materialized yet"

    stage.refresh(T0 + cut * MINUTE)
    assert stage.shows(first), "what lies before the cut is materialized, the rest is not"

    taken = {each[:3] for each in first}
    later = [each for each in later if each[:3] not in taken]
    stage.store(later)
    stage.refresh(T0 + 10 * MINUTE)
    assert stage.shows(first + later), "late trades have reached their candles"

    # From the watermark on, that is behind all that is materialized, trades show at once.
    newer = moved(newer, 10 * MINUTE)
    stage.store(newer)
    assert stage.shows(first + later + newer)


def test_open_and_close_of_one_instant_follow_the_trade_id(stage: Stage):
    trades = [trade(7, str(number + 10), trade_id=number) for number in (5, 3, 9, -7, 0, 8)]
    candle = grouped(trades)[0]
    assert candle[2:6] == (3, 19, 3, 19)
    stage.next_scene()
    stage.store(trades)
    assert stage.shows(trades)
    stage.refresh(T0 + MINUTE)
    assert stage.shows(trades)


def test_policy_job_refreshes_by_itself_whatever_the_age_of_a_late_trade(
    new_database: Callable[[], AbstractContextManager[str]],
):
    materialized = """
        SELECT _timescaledb_functions.to_timestamp(_timescaledb_functions.cagg_watermark(mat_hypertable_id)) >= %s
        FROM _timescaledb_catalog.continuous_agg
    """
    with new_database() as url:
        migrate.upgrade(url)
        with psycopg.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
            trades = [trade(0, "5"), trade(61, "6"), trade(121, "7")]
            store(connection, *trades)
            connection.execute("""
                SELECT alter_job(job_id, schedule_interval => INTERVAL '1 second', next_start => now())
                FROM timescaledb_information.jobs
                WHERE proc_name = 'policy_refresh_continuous_aggregate'
            """)
            eventually(lambda: connection.execute(materialized, (T0 + 3 * MINUTE,)).fetchone() == (True,))
            # Below the watermark, so that only another refresh can show them.
            late = [trade(30, "4"), trade(-300 * 86_400, "8")]
            store(connection, *late)
            expected = grouped(trades + late)
            eventually(lambda: connection.execute(CANDLES, (late[1][0] - MINUTE,)).fetchall() == expected)
