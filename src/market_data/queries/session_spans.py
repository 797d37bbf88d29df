"""The times of sessions that a page covers, and the stored candles they consist of, as arrays that its statement reads.

Both follow from the times of a session, so they are computed once: for a year of days that takes longer than all the rest.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from struct import Struct
from typing import Any, LiteralString, NamedTuple

from psycopg import AsyncCursor, pq
from psycopg.adapt import Dumper

from market_data.queries.candles import SessionKind
from market_data.queries.intervals import INTERVALS, WEEK_START, bucket_start
from market_data.queries.row_pages import PACKED_EPOCH
from market_data.queries.schedules import CACHED_SESSIONS, Segment, TradingSession

Levels = tuple[LiteralString, ...]
"""Stored intervals by rising length; the first is a minute."""

LEVELS: Levels = ("1m", "5m", "15m", "30m", "1h", "4h", "1d")

ELEMENT = Struct("!iq")
ARRAY = Struct("!iiiii")


class TimeArray(bytes):
    """Elements of a `timestamptz[]` in PostgreSQL's binary form."""


class _TimeArrayDumper(Dumper):
    format = pq.Format.BINARY
    oid = 1185

    def dump(self, obj: Any) -> bytes:
        return ARRAY.pack(1, 0, 1184, len(obj) // ELEMENT.size, 1) + obj


def take_time_arrays(cursor: AsyncCursor[Any]) -> None:
    """Let a cursor take TimeArrays as parameters."""
    cursor.adapters.register_dumper(TimeArray, _TimeArrayDumper)


def packed(time: datetime) -> bytes:
    """Return an element of a TimeArray."""
    return ELEMENT.pack(8, (time - PACKED_EPOCH) // timedelta(microseconds=1))


@lru_cache(CACHED_SESSIONS)
def _packed_label(label: datetime) -> bytes:
    return packed(label)


@dataclass(frozen=True, slots=True)
class Span:
    """A segment, or the whole of a session as one."""

    segment: Segment
    candles: Mapping[LiteralString, bytes]
    """Starts of the stored candles that it consists of, in order, by their interval."""
    packed: tuple[bytes, bytes, bytes, bytes]
    """Start, end, close and anchor of the segment."""
    label: datetime | None = None
    """Of a session."""


class Bucket(NamedTuple):
    """A bucket of one or several sessions."""

    label: datetime
    """Its `timestamp`."""
    spans: list[Span]

    @property
    def start(self) -> datetime:
        """Start of its first session."""
        return self.spans[0].segment.start

    @property
    def end(self) -> datetime:
        """End of its last session."""
        return self.spans[-1].segment.end


def fitting_levels(width: timedelta | None) -> Levels:
    """Return the intervals of which buckets of a width can consist, or, with None, those of whole sessions."""
    return tuple([name for name in LEVELS if width is None or width % INTERVALS[name] == timedelta(0)])


def two_levels(levels: Levels, segments: Sequence[Segment], width: timedelta | None) -> Levels:
    """Return minutes and the one other interval with which segments consist of the fewest candles.

    As of a version, a statement computes all candles of its range, once for each interval.
    """

    def count(pair: Levels) -> int:
        sample = segments[:: max(1, len(segments) // SAMPLED)]
        return sum(len(starts) for segment in sample for starts in _span(segment, [segment], width, pair).candles.values())

    pairs: list[Levels] = [(levels[0], other) for other in levels[1:]]
    return min(pairs, key=count, default=levels)


SAMPLED = 16
"""Segments of which the best interval is chosen: an odd one among them, such as half a day, is fine."""


@lru_cache(CACHED_SESSIONS)
def span_of_segment(segment: Segment, width: timedelta, levels: Levels) -> Span:
    """Return a segment with buckets of a width."""
    return _span(segment, [segment], width, levels)


@lru_cache(CACHED_SESSIONS)
def span_of_session(session: TradingSession, kind: SessionKind, levels: Levels) -> Span:
    """Return a whole session."""
    segments = session.segments(kind)
    start, end = segments[0].start, segments[-1].end
    return _span(Segment(start, end, end, start), segments, None, levels, session.label)


def _span(
    whole: Segment, parts: Sequence[Segment], width: timedelta | None, levels: Levels, label: datetime | None = None
) -> Span:
    if width is not None:  # no candle reaches beyond a bucket
        offset = whole.anchor - WEEK_START
        levels = tuple([level for level in levels if offset % INTERVALS[level] == timedelta(0)])
    candles: dict[LiteralString, bytes] = {}
    for start, end in _without_joints(parts):
        for level, since in _cover(start, end, levels):
            candles[level] = candles.get(level, b"") + packed(since)
    start, end, close, anchor = map(packed, whole)
    return Span(whole, candles, (start, end, close, anchor), label)


def _without_joints(parts: Sequence[Segment]) -> list[tuple[datetime, datetime]]:
    """Return the start and the end of segments; those that follow each other without a break are one."""
    found = [(parts[0].start, parts[0].end)]
    for part in parts[1:]:
        if part.start == found[-1][1]:
            found[-1] = found[-1][0], part.end
        else:
            found.append((part.start, part.end))
    return found


def _cover(start: datetime, end: datetime, levels: Levels) -> Iterator[tuple[LiteralString, datetime]]:
    """Yield the fewest candles that make up a time, in order."""
    if not levels or start >= end:
        return
    *shorter, level = levels
    length = INTERVALS[level]
    first = start + -(start - WEEK_START) % length
    beyond = end - (end - WEEK_START) % length
    if first >= beyond:
        yield from _cover(start, end, tuple(shorter))
        return
    yield from _cover(start, first, tuple(shorter))
    while first < beyond:
        yield level, first
        first += length
    yield from _cover(beyond, end, tuple(shorter))


def buckets_of(spans: Sequence[Span], interval: str) -> list[Bucket]:
    """Return the buckets of an interval of days, weeks or months, with the sessions they consist of."""
    buckets: list[Bucket] = []
    for span in spans:
        label = span.label or span.segment.start
        if interval != "1d":
            label = bucket_start(label, interval, None)
        if not buckets or buckets[-1].label != label:
            buckets.append(Bucket(label, []))
        buckets[-1].spans.append(span)
    return buckets


def candle_arrays(spans: Sequence[Span]) -> dict[LiteralString, TimeArray]:
    """Return the starts of the candles of spans, in order, by their interval."""
    arrays: dict[LiteralString, TimeArray] = {}
    for level in LEVELS:
        if starts := b"".join([span.candles.get(level, b"") for span in spans]):
            arrays[level] = TimeArray(starts)
    return arrays


def segment_arrays(spans: Sequence[Span]) -> dict[str, TimeArray]:
    """Return the parameters by which a statement finds the bucket of a time within segments."""
    names = "firsts", "bounds", "closes", "anchors"
    columns = zip(*[span.packed for span in spans], strict=True)
    return {name: TimeArray(b"".join(column)) for name, column in zip(names, columns, strict=True)}


def bucket_arrays(buckets: Sequence[Bucket]) -> dict[str, TimeArray]:
    """Return the parameters by which a statement finds the bucket of a time within sessions."""
    firsts = [bucket.spans[0].packed[0] for bucket in buckets]
    ends = [bucket.spans[-1].packed[1] for bucket in buckets]
    columns = {"firsts": firsts, "ends": ends, "labels": [_packed_label(bucket.label) for bucket in buckets]}
    return {name: TimeArray(b"".join(column)) for name, column in columns.items()}
