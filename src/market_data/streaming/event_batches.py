"""Rows of stream_events as events: trades and reloads as they are, and each candle that the rows changed once."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import msgspec

from market_data.queries.intervals import INTERVALS, WEEK_START
from market_data.queries.stream import StreamedCandle, StreamRow
from market_data.streaming.events import Event, EventId
from market_data.streaming.subscriptions import Subscription

LEVELS = {interval: level for level, interval in enumerate(INTERVALS, start=1)}
"""`EventId.level`, by interval."""
REVISION_LEVEL = LAST_LEVEL = len(LEVELS) + 1
"""`EventId.level` of the revisions that a row completes."""

PAGE_ROWS = 2000
"""Rows of stream_events read at a time."""

MAX_GAP_BUCKETS, MAX_RANGE_BUCKETS = 10, 1000
"""Changed candles are read as one range if neighbours are at most 10 buckets apart; a range has at most 1000 buckets."""

ChangedBucket = Callable[[StreamRow, str], tuple[datetime, datetime] | None]
"""Returns the timestamp and the end of the bucket of an interval that a row changed or closed; None if there is none."""

ReadCandles = Callable[[str, Sequence[str], datetime, datetime], Awaitable[list[StreamedCandle]]]
"""Reads the candles of an interval and some symbols whose buckets start in a closed range."""


class CandleChange(NamedTuple):
    """The last row of a batch that changed a candle."""

    id: EventId
    closed: bool
    revised: bool
    removed: bool
    """True if a missing candle means that it was removed. A closing alone does not prove that the candle existed."""


def end_of(row: StreamRow) -> EventId:
    """Return the id of the last possible event of a row."""
    return EventId(row.version, row.number, LAST_LEVEL)


def row_events(rows: Iterable[StreamRow]) -> list[Event]:
    """Return the events of the trades and reloads among the rows."""
    return [event for event in map(_row_event, rows) if event]


@lru_cache(2 * PAGE_ROWS)
def _row_event(row: StreamRow) -> Event | None:
    """Return the event of a row, which is encoded once for all clients, also for those that return within some seconds."""
    if row.data is None:
        return None
    name, channel = ("reload", None) if row.kind == "reload" else ("trade", "trades")
    data = f'{row.data[:-1]},"version":{row.version}}}'
    return Event(EventId(row.version, row.number, 0), name, channel, row.symbol, data)


async def candle_events(rows: Sequence[StreamRow], wanted: Subscription, read: ReadCandles) -> list[Event]:
    """Return the events of the candles that the rows changed and that are subscribed to, with their present values."""
    events: list[Event] = []
    for interval in INTERVALS:
        channel = f"candles_{interval}"
        if channel not in wanted.channels:
            continue
        changes = candle_changes([row for row in rows if wanted.includes(channel, row.symbol)], interval)
        for first, last in _ranges({bucket for _, bucket in changes}, interval):
            changed = {key: change for key, change in changes.items() if first <= key[1] <= last}
            candles = await read(interval, sorted({symbol for symbol, _ in changed}), first, last)
            found = {(candle.symbol, candle.bucket): candle for candle in candles}
            events += [
                candle_event(channel, interval, key, change, found.get(key))
                for key, change in changed.items()
                if key in found or change.removed
            ]
    return events


def changed_bucket(row: StreamRow, interval: str) -> tuple[datetime, datetime] | None:
    """Return the start and the end of the bucket of whole UTC days that a row changed or closed."""
    if row.interval not in (None, interval):
        return None
    width = INTERVALS[interval]
    start = row.time - (row.time - WEEK_START) % width
    return start, start + width


def candle_changes(
    rows: Sequence[StreamRow], interval: str, find_bucket: ChangedBucket = changed_bucket
) -> dict[tuple[str, datetime], CandleChange]:
    """Return the last change of each candle, by symbol and timestamp."""
    changes: dict[tuple[str, datetime], CandleChange] = {}
    for row in rows:
        if row.late or row.kind == "reload":
            continue
        found = find_bucket(row, interval)
        if found is None:
            continue
        timestamp, end = found
        closed = end <= row.closed_until
        key, by_trade = (row.symbol, timestamp), row.kind != "closing"
        removed = by_trade or (key in changes and changes[key].removed)
        event_id = EventId(row.version, row.number, LEVELS[interval])
        changes[key] = CandleChange(event_id, closed, closed and by_trade, removed)
    return changes


def _ranges(buckets: set[datetime], interval: str) -> Iterator[tuple[datetime, datetime]]:
    """Yield the first and last bucket of each range to read."""
    ordered, width = sorted(buckets), INTERVALS[interval]
    if not ordered:
        return
    first = ordered[0]
    for bucket, following in pairwise(ordered):
        if following - bucket > MAX_GAP_BUCKETS * width or following - first > MAX_RANGE_BUCKETS * width:
            yield first, bucket
            first = following
    yield first, ordered[-1]


def candle_event(
    channel: str, interval: str, key: tuple[str, datetime], change: CandleChange, candle: StreamedCandle | None
) -> Event:
    """Return the event of a changed candle; None for the candle if its bucket has no trade."""
    symbol, bucket = key
    if candle is None:
        fields = {
            "symbol": symbol,
            "interval": interval,
            "timestamp": bucket,
            "closed": change.closed,
            "removed": True,
            "version": change.id.version,
        }
        return Event(change.id, "candle", channel, symbol, msgspec.json.encode(fields).decode())
    closed, revised = (str(flag).lower() for flag in (change.closed, change.revised))
    members = f'{candle.fields},"closed":{closed},"revised":{revised}'
    if candle.version is not None:
        members += f',"version":{candle.version}'
    data = f'{{"symbol":"{symbol}","interval":"{interval}",{members}}}'
    return Event(change.id, "candle", channel, symbol, data)
