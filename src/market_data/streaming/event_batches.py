"""Rows of stream_events as events: their trades, and once each the candles that they touched."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

from market_data.queries.intervals import INTERVALS, WEEK_START
from market_data.queries.stream import StreamedCandle, StreamRow
from market_data.streaming.events import Event, EventId
from market_data.streaming.subscriptions import Subscription

LEVELS = {interval: level for level, interval in enumerate(INTERVALS, start=1)}
LAST_LEVEL = len(LEVELS)

ROWS = 2000
"""Of stream_events that are read at a time."""

NEAR, MOST_BUCKETS = 10, 1000
"""Buckets that are read together, with those between them: when no more of them lie between, and no more altogether."""

ReadCandles = Callable[[str, Sequence[str], datetime, datetime], Awaitable[list[StreamedCandle]]]
"""Reads the candles of an interval, of some symbols, whose buckets start in a closed range."""


class Touch(NamedTuple):
    """The last row of a batch that touched a candle."""

    id: EventId
    closed: bool
    revised: bool


Touches = dict[tuple[str, datetime], Touch]
"""By symbol and bucket."""


def end_of(row: StreamRow) -> EventId:
    """Behind all events of a row."""
    return EventId(row.position, row.number, LAST_LEVEL)


def trade_events(rows: Sequence[StreamRow]) -> list[Event]:
    """The trades among the rows, as events."""
    return [
        Event(EventId(row.position, row.number, 0), "trade", "trades", row.symbol, row.trade)
        for row in rows
        if row.trade is not None
    ]


async def candle_events(rows: Sequence[StreamRow], wanted: Subscription, read: ReadCandles) -> list[Event]:
    """The candles that the rows touched and that are wanted, as they are by now."""
    events: list[Event] = []
    for interval in INTERVALS:
        channel = f"candles_{interval}"
        if channel not in wanted.channels:
            continue
        touches = _touches([row for row in rows if wanted.wants(channel, row.symbol)], interval)
        for first, last in _ranges({bucket for _, bucket in touches}, interval):
            symbols = sorted({symbol for symbol, bucket in touches if first <= bucket <= last})
            events += [
                _event(channel, interval, touch, candle)
                for candle in await read(interval, symbols, first, last)
                if (touch := touches.get((candle.symbol, candle.bucket)))
            ]
    return events


def _touches(rows: Sequence[StreamRow], interval: str) -> Touches:
    touches: Touches = {}
    width = INTERVALS[interval]
    for row in rows:
        if row.late or row.interval not in (None, interval):
            continue
        bucket = row.time - (row.time - WEEK_START) % width
        closed = bucket + width <= row.closed_until
        revised = closed and row.kind != "closing"
        touches[row.symbol, bucket] = Touch(EventId(row.position, row.number, LEVELS[interval]), closed, revised)
    return touches


def _ranges(buckets: set[datetime], interval: str) -> Iterator[tuple[datetime, datetime]]:
    """The first and last of the buckets of each range to be read."""
    ordered, width = sorted(buckets), INTERVALS[interval]
    if not ordered:
        return
    first = ordered[0]
    for bucket, following in pairwise(ordered):
        if following - bucket > NEAR * width or following - first > MOST_BUCKETS * width:
            yield first, bucket
            first = following
    yield first, ordered[-1]


def _event(channel: str, interval: str, touch: Touch, candle: StreamedCandle) -> Event:
    closed, revised = (str(mark).lower() for mark in (touch.closed, touch.revised))
    data = f'{{"symbol":"{candle.symbol}","interval":"{interval}",{candle.fields},"closed":{closed},"revised":{revised}}}'
    return Event(touch.id, "candle", channel, candle.symbol, data)
