"""Candles of trading sessions, compared with a plain computation over the same trades."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import groupby, pairwise
from random import Random
from typing import NamedTuple

import psycopg
import pytest
from helpers.calendars import HOURS, store_calendar
from helpers.support import Databases, Trade
from psycopg import AsyncConnection

from market_data.queries.candles import CandleRange, SessionKind
from market_data.queries.intervals import WIDTHS
from market_data.queries.row_pages import BEGINNING, RowKey
from market_data.queries.schedules import TradingSession
from market_data.queries.session_candles import reader_of

FIRST, LAST = date(2015, 1, 1), date(2024, 12, 31)
INSTANT, MINUTE, DAY = timedelta(microseconds=1), timedelta(minutes=1), timedelta(days=1)
KINDS: tuple[SessionKind, ...] = ("regular", "extended")

Candle = tuple[datetime, Decimal, Decimal, Decimal, Decimal, Decimal, int]
"""Timestamp, open, high, low, close, volume, trade count."""


def boundaries(session: TradingSession) -> set[datetime]:
    """Return times around which a trade changes its bucket."""
    return {near for at in session[1:] if at for near in (at - INSTANT, at, at + MINUTE)}


def random_trades(symbol: str, sessions: Sequence[TradingSession]) -> list[Trade]:
    """Return trades at the boundaries of sessions."""
    random = Random(symbol)
    times = sorted({at for session in sessions for at in boundaries(session)})
    return [(at, symbol, 0, Decimal(random.randint(1_000, 9_999)) / 100, Decimal(random.randint(1, 500))) for at in times]


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def day_in_session(at: datetime, session: TradingSession, kind: SessionKind) -> bool:
    auction = session.auction_ends_at - session.closes_at
    if session.break_starts_at and session.break_ends_at and session.break_starts_at + auction <= at < session.break_ends_at:
        return False
    if kind == "regular":
        return session.opens_at <= at < session.auction_ends_at
    return session.pre_opens_at <= at < max(session.auction_ends_at, session.post_closes_at)


def grouped(trades: Sequence[Trade], label: Callable[[Trade], datetime | None]) -> list[Candle]:
    groups: dict[datetime, list[Trade]] = defaultdict(list)
    for trade in trades:
        if at := label(trade):
            groups[at].append(trade)
    return [
        (
            at,
            found[0][3],
            max(trade[3] for trade in found),
            min(trade[3] for trade in found),
            found[-1][3],
            sum((trade[4] for trade in found), Decimal()),
            len(found),
        )
        for at, found in sorted(groups.items())
    ]


def read_all(url: str, candles: CandleRange, limit: int = 10_000) -> list[Candle]:
    """Return all candles of a range, page by page."""
    return asyncio.run(_read_all(url, candles, limit))


async def _read_all(url: str, candles: CandleRange, limit: int) -> list[Candle]:
    found: list[Candle] = []
    after: RowKey | None = None
    async with await AsyncConnection.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
        while True:
            page = await reader_of(candles)(connection, candles, limit, after, "json")
            for row in json.loads(f"[{page.rows}]", parse_float=Decimal, parse_int=Decimal):
                at, count = datetime.fromisoformat(row["timestamp"]), int(row["trade_count"])
                found.append((at, row["open"], row["high"], row["low"], row["close"], row["volume"], count))
            if not page.has_more:
                return found
            after = page.last


class Market(NamedTuple):
    """A database with trades at the boundaries of four exchanges, and of a market that never closes, BTC."""

    url: str
    sessions: Mapping[str, list[TradingSession]]
    trades: Mapping[str, list[Trade]]


@contextmanager
def trading(databases: Databases, *spans: tuple[date, date]) -> Iterator[Market]:
    """Yield a market with sessions from the first to the last day, and trades within spans of days."""
    first, last = spans[0][0], spans[-1][1]

    def is_traded(day: date) -> bool:
        return any(start <= day <= end for start, end in spans)

    with databases() as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs")
        sessions = {code: store_calendar(connection, code, first, last) for code in HOURS}
        trades = {
            code: random_trades(code, [session for session in found if is_traded(session.day)])
            for code, found in sessions.items()
        }
        random = Random(24)
        days = [midnight(first + timedelta(days=n)) for n in range((last - first).days + 1)]
        trades["BTC"] = [
            (at, "BTC", 0, Decimal(random.randint(1_000, 9_999)), Decimal(random.randint(1, 9)))
            for day in days
            for at in (day, day + DAY - INSTANT)
        ]
        for code, found in trades.items():
            calendar = code if code in HOURS else "24/7"
            connection.execute("INSERT INTO symbols (symbol, name, calendar) VALUES (%s, %s, %s)", (code, code, calendar))
            with connection.cursor().copy("COPY trades (time, symbol, trade_id, price, volume) FROM STDIN") as copy:
                for trade in found:
                    copy.write_row(trade)
        yield Market(url, sessions, trades)


@pytest.fixture(scope="module")
def market(new_migrated_database: Databases) -> Iterator[Market]:
    """Weeks with the beginning of summer time in New York, and with the longer afternoon of Tokyo since November."""
    spans = (date(2024, 3, 1), date(2024, 3, 18)), (date(2024, 10, 31), date(2024, 12, 10))
    with trading(new_migrated_database, *spans) as market:
        yield market


@pytest.fixture(scope="module")
def long_market(new_migrated_database: Databases) -> Iterator[Market]:
    """Ten years."""
    with trading(new_migrated_database, (FIRST, LAST)) as market:
        yield market


@pytest.mark.slow
@pytest.mark.timeout(600)  # candles of ten years that are not materialized: each interval is computed from trades
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("code", HOURS)
def test_days_and_weeks_consist_of_the_trades_of_their_sessions(long_market: Market, code: str, kind: SessionKind):
    url, sessions, trades = long_market
    by_day = {session.day: session for session in sessions[code]}

    def day_of(trade: Trade) -> datetime | None:
        dates = (trade[0].date() + timedelta(days=n) for n in (-1, 0, 1))
        found = [day for day in dates if day in by_day and day_in_session(trade[0], by_day[day], kind)]
        assert len(found) <= 1
        return midnight(found[0]) if found else None

    def week_of(trade: Trade) -> datetime | None:
        day = day_of(trade)
        return day and day - timedelta(days=day.weekday())

    for interval, label in (("1d", day_of), ("1w", week_of)):
        found = read_all(url, CandleRange(code, interval, BEGINNING, midnight(LAST) + DAY, session=kind))
        assert found == grouped(trades[code], label), interval
    newest_first = CandleRange(code, "1w", midnight(FIRST) - 7 * DAY, midnight(LAST) + DAY, "desc", session=kind)
    assert read_all(url, newest_first, 200) == found[::-1]


@pytest.mark.parametrize("code", HOURS)
def test_minutes_of_sessions_make_up_their_days(market: Market, code: str):
    url, _, _ = market
    start, end = datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)
    minutes = read_all(url, CandleRange(code, "1m", start, end, session="regular"))
    days = read_all(url, CandleRange(code, "1d", start, end, session="regular"))
    assert days == [
        (
            midnight(day),
            found[0][1],
            max(minute[2] for minute in found),
            min(minute[3] for minute in found),
            found[-1][4],
            sum((minute[5] for minute in found), Decimal()),
            sum(minute[6] for minute in found),
        )
        for day, found in ((day, list(found)) for day, found in groupby(minutes, lambda minute: minute[0].date()))
    ]


@pytest.mark.slow
def test_a_market_that_never_closes_has_the_days_of_utc(long_market: Market):
    url, _, trades = long_market
    for interval in ("1d", "1w"):
        plain = CandleRange("BTC", interval, BEGINNING, midnight(LAST) + DAY)
        expected = read_all(url, plain)
        assert sum(candle[6] for candle in expected) == len(trades["BTC"])
        for kind in KINDS:
            assert read_all(url, replace(plain, session=kind)) == expected


@pytest.mark.parametrize("interval", ["1s", "3m", "30m", "1h", "4h", "12h"])
@pytest.mark.parametrize(
    ("code", "kind"), [("XNYS", "extended"), *((code, "regular") for code in HOURS)], ids=lambda value: value
)
def test_buckets_start_at_the_open_and_end_at_the_close(market: Market, code: str, kind: SessionKind, interval: str):
    url, sessions, trades = market
    width = WIDTHS[interval]
    start, end = datetime(2024, 3, 4, tzinfo=UTC), datetime(2024, 3, 16, tzinfo=UTC)
    segments = [segment for session in sessions[code] for segment in session.segments(kind)]

    def bucket_of(trade: Trade) -> datetime | None:
        for segment in segments:
            if segment.start <= trade[0] < segment.end:
                within = min(trade[0], segment.close - INSTANT) - segment.anchor
                return max(segment.start, segment.anchor + within // width * width)
        return None

    near = [trade for trade in trades[code] if start - DAY <= trade[0] < end + DAY]
    expected = [candle for candle in grouped(near, bucket_of) if start <= candle[0] < end]
    assert len(expected) >= 9
    plain = CandleRange(code, interval, start, end, session=kind)
    assert read_all(url, plain) == expected
    assert read_all(url, plain, 3) == expected
    assert read_all(url, replace(plain, order="desc"), 4) == expected[::-1]
    middle = expected[5][0] + INSTANT
    assert read_all(url, replace(plain, start=middle)) == expected[6:]
    assert read_all(url, replace(plain, end=middle)) == expected[:6]


def test_hours_of_new_york_are_shifted_by_summer_time(market: Market):
    url, sessions, _ = market
    by_day = {session.day: session for session in sessions["XNYS"]}
    start = datetime(2024, 3, 8, tzinfo=UTC)
    hours = read_all(url, CandleRange("XNYS", "1h", start, start + 4 * DAY, session="regular"))
    assert {f"{hour[0]:%d %H:%M}" for hour in hours} == {"08 14:30", "08 20:30", "11 13:30", "11 19:30"}
    assert by_day[date(2024, 3, 11)].opens_at == datetime(2024, 3, 11, 13, 30, tzinfo=UTC)


def test_tokyo_has_buckets_before_and_after_lunch(market: Market):
    url, _, _ = market
    for day, closes in ((date(2024, 11, 1), "06:00"), (date(2024, 11, 5), "06:30")):
        hours = read_all(url, CandleRange("XTKS", "1h", midnight(day), midnight(day) + DAY, session="regular", fill="null"))
        starts = [f"{hour[0]:%H:%M}" for hour in hours]
        assert starts[:4] == ["00:00", "01:00", "02:00", "03:30"]
        assert starts[-1] == {"06:00": "05:30", "06:30": "05:30"}[closes]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("interval", ["1h", "1d", "1w"])
def test_filling_covers_open_time_only(market: Market, interval: str, kind: SessionKind):
    url, sessions, _ = market
    start, end = datetime(2024, 11, 25, tzinfo=UTC), datetime(2024, 12, 9, tzinfo=UTC)
    stored = read_all(url, CandleRange("XNYS", interval, start, end, session=kind))
    filled = read_all(url, CandleRange("XNYS", interval, start, end, session=kind, fill="previous"))
    assert [candle for candle in filled if candle[6]] == stored
    times = [candle[0] for candle in filled]
    if interval == "1h":
        expected = sorted(
            at
            for session in sessions["XNYS"]
            for segment in session.segments(kind)
            for at, _ in segment.buckets(timedelta(hours=1))
            if start <= at < end
        )
        assert times == expected
        assert len(times) > len(stored)
    for before, candle in pairwise(filled):
        assert candle[6] or candle[1:5] == (before[4],) * 4
    assert read_all(url, CandleRange("XNYS", interval, start, end, session=kind, fill="previous"), 5) == filled
    middle = CandleRange("XNYS", interval, start, end, "desc", session=kind, fill="previous")
    assert read_all(url, middle, 5) == filled[::-1]
