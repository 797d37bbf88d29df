"""Rows of stream_events as events: their trades, and each candle that they changed once."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

from market_data.queries.intervals import INTERVALS, WEEK_START
from market_data.queries.stream import StreamedCandle, StreamRow
from market_data.streaming.events import Event, EventId
from market_data.streaming.subscriptions import Subscription

LEVELS = {interval: level for level, interval in enumerate(INTERVALS, start=1)}
"""`EventId.level`, by interval."""
LAST_LEVEL = len(LEVELS)

PAGE_ROWS = 2000
"""Rows of stream_events read at a time."""

MAX_GAP_BUCKETS, MAX_RANGE_BUCKETS = 10, 1000
"""Changed candles are read as one range if neighbours are at most 10 buckets apart; a range has at most 1000 buckets."""

ReadCandles = Callable[[str, Sequence[str], datetime, datetime], Awaitable[list[StreamedCandle]]]
"""Reads the candles of an interval and some symbols whose buckets start in a closed range."""


class CandleChange(NamedTuple):
    """The last row of a batch that changed a candle."""

    id: EventId
    closed: bool
    revised: bool


def end_of(row: StreamRow) -> EventId:
    """Return the id of the last possible event of a row."""
    return EventId(row.version, row.number, LAST_LEVEL)


def trade_events(rows: Sequence[StreamRow]) -> list[Event]:
    """Return the events of the trades among the rows."""
    return [
        Event(EventId(row.version, row.number, 0), "trade", "trades", row.symbol, row.trade)
        for row in rows
        if row.trade is not None
    ]


async def candle_events(rows: Sequence[StreamRow], wanted: Subscription, read: ReadCandles) -> list[Event]:
    """Return the events of the candles that the rows changed and that are subscribed to, with their present values."""
    events: list[Event] = []
    for interval in INTERVALS:
        channel = f"candles_{interval}"
        if channel not in wanted.channels:
            continue
        changes = _changes([row for row in rows if wanted.includes(channel, row.symbol)], interval)
        for first, last in _ranges({bucket for _, bucket in changes}, interval):
            symbols = sorted({symbol for symbol, bucket in changes if first <= bucket <= last})
            events += [
                _event(channel, interval, change, candle)
                for candle in await read(interval, symbols, first, last)
                if (change := changes.get((candle.symbol, candle.bucket)))
            ]
    return events


def _changes(rows: Sequence[StreamRow], interval: str) -> dict[tuple[str, datetime], CandleChange]:
    """Return the last change of each candle, by symbol and bucket."""
    changes: dict[tuple[str, datetime], CandleChange] = {}
    width = INTERVALS[interval]
    for row in rows:
        if row.late or row.interval not in (None, interval):
            continue
        bucket = row.time - (row.time - WEEK_START) % width
        closed = bucket + width <= row.closed_until
        revised = closed and row.kind != "closing"
        changes[row.symbol, bucket] = CandleChange(EventId(row.version, row.number, LEVELS[interval]), closed, revised)
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


def _event(channel: str, interval: str, change: CandleChange, candle: StreamedCandle) -> Event:
    closed, revised = (str(flag).lower() for flag in (change.closed, change.revised))
    data = f'{{"symbol":"{candle.symbol}","interval":"{interval}",{candle.fields},"closed":{closed},"revised":{revised}}}'
    return Event(change.id, "candle", channel, candle.symbol, data)
