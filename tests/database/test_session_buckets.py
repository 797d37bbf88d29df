"""Buckets of sessions as streams find them: compared with the candles, and the closings that tell their ends."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, TypeVar

import msgspec
import pytest
from helpers.calendars import store_calendar
from helpers.support import Connection, store
from psycopg import AsyncConnection

from market_data.queries.candles import CandleRange, SessionKind
from market_data.queries.intervals import INTERVALS
from market_data.queries.market_schedules import SessionBuckets, read_market_schedules
from market_data.queries.schedules import TradingSession
from market_data.queries.session_candles import read_session_candles

T = TypeVar("T")

KINDS: tuple[SessionKind, ...] = ("regular", "extended")
FIRST, LAST = date(2025, 2, 24), date(2025, 3, 23)
"""Whole weeks; summer time begins on 9 March in New York."""
STEP = timedelta(microseconds=1)


@pytest.fixture(params=["XNYS", "XTKS"])
def sessions(request: pytest.FixtureRequest, connection: Connection) -> list[TradingSession]:
    found = store_calendar(connection, request.param, FIRST, LAST)
    connection.execute("INSERT INTO symbols (symbol, name, calendar) VALUES ('IBM', 'IBM', %s)", (request.param,))
    return found


def read(url: str, query: Callable[..., Awaitable[T]], *parameters: Any) -> T:
    async def connected() -> T:
        async with await AsyncConnection.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
            return await query(connection, *parameters)

    return asyncio.run(connected())


def edges(session: TradingSession) -> list[datetime]:
    times = [session.pre_opens_at, session.opens_at, session.break_starts_at, session.break_ends_at]
    times += [session.closes_at, session.auction_ends_at, session.post_closes_at]
    return sorted({time for time in times if time})


@pytest.mark.parametrize("kind", KINDS)
def test_trades_are_counted_in_the_bucket_of_their_candle(
    connection: Connection, database_url: str, sessions: list[TradingSession], kind: SessionKind
):
    times = {
        time + offset
        for session in sessions
        for start, end in pairwise(edges(session))
        for time in (start, start + (end - start) / 3, end)
        for offset in (-STEP, timedelta(0), STEP)
    }
    store(connection, *((time, "IBM", 0, Decimal(1), Decimal(1)) for time in sorted(times)))
    (schedule,) = read(database_url, read_market_schedules, ["IBM"], FIRST, LAST)
    buckets = SessionBuckets(schedule.sessions, kind)
    for interval in INTERVALS:
        found = [buckets.at(time, interval) for time in times]
        wanted = CandleRange(
            "IBM", interval, datetime(2025, 2, 20, tzinfo=UTC), datetime(2025, 4, 1, tzinfo=UTC), session=kind
        )
        page = read(database_url, read_session_candles, wanted, 10_000)
        candles = msgspec.json.decode(f"[{page.rows}]")
        assert Counter(bucket.label for bucket in found if bucket) == {
            datetime.fromisoformat(candle["timestamp"]): candle["trade_count"] for candle in candles
        }
        assert all(buckets.at(bucket.end - STEP, interval) == bucket for bucket in found if bucket)


def test_the_end_of_each_bucket_with_the_newest_trade_is_told(connection: Connection, sessions: list[TradingSession]):
    by_kind = [SessionBuckets(sessions, kind) for kind in KINDS]
    told = 0
    for session in sessions[8:11]:
        for time in (edge + offset for edge in edges(session) for offset in (-STEP, timedelta(minutes=7))):
            store(connection, (time, "IBM", 0, Decimal(1), Decimal(1)))
            found = [each.at(time, interval) for each in by_kind for interval in INTERVALS if interval != "1m"]
            ends = {bucket.end for bucket in found if bucket}
            assert ends <= closings(connection, time)
            told += len(ends)
    assert told


def closings(connection: Connection, after: datetime) -> set[datetime]:
    """Return the ends that are told in the week after a trade."""
    after = after.replace(second=0, microsecond=0)
    connection.execute("DELETE FROM stream_events")
    connection.execute("SELECT close_sessions(nextval('write_ids'), %s, %s)", (after, after + timedelta(days=8)))
    rows = connection.execute("SELECT time FROM stream_events WHERE \"interval\" = 'session' AND symbol = 'IBM'")
    return {time + timedelta(minutes=1) for (time,) in rows}
