"""Events of subscriptions that are limited to trading sessions: their trades, and the candles of their buckets."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple

from market_data.queries.candles import SessionKind
from market_data.queries.intervals import INTERVALS
from market_data.queries.market_schedules import MarketSchedule, SessionBuckets
from market_data.queries.schedules import BucketTimes
from market_data.queries.stream import StreamedCandle, StreamRow
from market_data.streaming.event_batches import ReadCandles, candle_changes, candle_event, candle_events, row_events
from market_data.streaming.events import Event
from market_data.streaming.subscriptions import Subscription, channel_of_session

LIMITED_SESSIONS: Final[tuple[SessionKind, ...]] = ("regular", "extended")

AROUND: Final = timedelta(days=8)
"""Time around trades of which the sessions are read: that of their whole weeks."""

ReadSchedules = Callable[[Sequence[str], date, date], Awaitable[list[MarketSchedule]]]
ReadSessionCandle = Callable[[str, str, BucketTimes, SessionKind], Awaitable[StreamedCandle | None]]


class SessionReads(NamedTuple):
    """Reads that the events need."""

    candles: ReadCandles
    schedules: ReadSchedules
    session_candle: ReadSessionCandle


async def session_events(rows: Sequence[StreamRow], wanted: Subscription, reads: SessionReads) -> list[Event]:
    """Return the trades of sessions among the rows and the candles of sessions that they changed, if subscribed to."""
    events: list[Event] = []
    for session in LIMITED_SESSIONS:
        part = wanted.within(session)
        some = [row for row in rows if row.kind != "reload" and part.includes(None, row.symbol)]
        if not some:
            continue
        for schedule in await reads.schedules(sorted({row.symbol for row in some}), *_days(some)):
            symbols = set(schedule.symbols)
            its_rows = [row for row in some if row.symbol in symbols]
            if schedule.is_always_open:
                found = [*row_events(its_rows), *await candle_events(its_rows, part, reads.candles)]
            else:
                buckets = SessionBuckets(schedule.sessions, session)
                found = row_events([row for row in its_rows if buckets.is_open(row.time)])
                found += await _candle_events(its_rows, part, buckets, session, reads.session_candle)
            events += [replace(each, channel=channel_of_session(each.channel or "", session)) for each in found]
    return events


def _days(rows: Sequence[StreamRow]) -> tuple[date, date]:
    times = [row.time for row in rows]
    return (min(times) - AROUND).date(), (max(times) + AROUND).date()


async def _candle_events(
    rows: Sequence[StreamRow], wanted: Subscription, buckets: SessionBuckets, session: SessionKind, read: ReadSessionCandle
) -> list[Event]:
    found: dict[datetime, BucketTimes] = {}

    def find_bucket(row: StreamRow, interval: str) -> tuple[datetime, datetime] | None:
        # A closing of any interval tells that buckets which end then may have ended.
        end = row.time + INTERVALS.get(row.interval or "", INTERVALS["1m"]) if row.kind == "closing" else None
        bucket = buckets.at(end - timedelta(microseconds=1) if end else row.time, interval)
        if bucket is None or end not in (None, bucket.end):
            return None
        found[bucket.label] = bucket
        return bucket.label, bucket.end

    events: list[Event] = []
    for interval in INTERVALS:
        channel = f"candles_{interval}"
        if channel not in wanted.channels:
            continue
        found.clear()
        its_rows = [row for row in rows if wanted.includes(channel, row.symbol)]
        for key, change in candle_changes(its_rows, interval, find_bucket).items():
            symbol, timestamp = key
            candle = await read(symbol, interval, found[timestamp], session)
            if candle or change.removed:
                events.append(candle_event(channel, interval, key, change, candle))
    return events
