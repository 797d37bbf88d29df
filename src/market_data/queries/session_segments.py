"""The segments of a page of candles of sessions, as the arrays that its statement reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Any, LiteralString, NamedTuple

from market_data.queries.intervals import INTERVALS, LENGTHS, WEEK_START
from market_data.queries.schedules import Block, Segment


class Bucket(NamedTuple):
    """A bucket of one or several segments."""

    label: datetime
    """Its `timestamp`."""
    start: datetime
    end: datetime


class LabelledSegment(NamedTuple):
    """A segment whose trades are in one bucket, or, if it is None, in buckets of a width."""

    segment: Segment
    bucket: Bucket | None


def of_blocks(blocks: Sequence[Block]) -> list[LabelledSegment]:
    """Return the segments of whole sessions; those that follow each other without a break are one."""
    found: list[LabelledSegment] = []
    for block in blocks:
        bucket = Bucket(block.label, block.start, block.end)
        start = block.start
        for segment, following in zip_longest(block.segments, block.segments[1:]):
            if following is None or segment.end < following.start:
                close = segment.close if start <= segment.anchor < segment.close else segment.end
                found.append(LabelledSegment(Segment(start, segment.end, close, start), bucket))
                start = following.start if following else start
    return found


class Piece(NamedTuple):
    """Part of a segment."""

    start: datetime
    end: datetime
    within: LabelledSegment


@dataclass(frozen=True)
class Pieces:
    """Times that candles of one stored interval cover, each within a segment."""

    source: LiteralString
    """The stored interval, or `trades`."""
    parts: Sequence[Piece]

    def minutes(self) -> list[datetime]:
        """Return each minute of the times, in order."""
        minute = INTERVALS["1m"]
        return [start + n * minute for start, end, _ in self.parts for n in range((end - start) // minute)]

    def parameters(self, prefix: str) -> dict[str, Any]:
        """Return the parameters of the statement: arrays with an element for each part, or two for their edges."""
        buckets = [part.within.bucket for part in self.parts if part.within.bucket]
        segments = [part.within.segment for part in self.parts if not part.within.bucket]
        return {
            f"{prefix}starts": [part.start for part in self.parts],
            f"{prefix}ends": [part.end for part in self.parts],
            f"{prefix}edges": [edge for start, end, _ in self.parts for edge in (start, end)],
            f"{prefix}firsts": [segment.start for segment in segments],
            f"{prefix}closes": [segment.close for segment in segments],
            f"{prefix}anchors": [segment.anchor for segment in segments],
            f"{prefix}bounds": [segment.end for segment in segments],
            f"{prefix}labels": [bucket.label for bucket in buckets],
            f"{prefix}bucket_starts": [bucket.start for bucket in buckets],
            f"{prefix}bucket_ends": [bucket.end for bucket in buckets],
        }


def divide(segments: Sequence[LabelledSegment], width: timedelta | None) -> tuple[Pieces, Pieces]:
    """Return the times to be read from the stored interval that takes the fewest rows, and the rest of minutes.

    Minutes of the closing auction are read one by one, and segments that begin at an odd time, as after a late opening.
    `width` is the length of buckets within segments; None if each segment lies in one bucket.
    """
    levels: list[LiteralString] = [name for name in LENGTHS if width is None or width % INTERVALS[name] == timedelta(0)]
    if not levels:
        return Pieces("trades", [Piece(each.segment.start, each.segment.end, each) for each in segments]), Pieces("1m", [])
    sample = segments[:: max(1, len(segments) // SAMPLED)]
    counts = [_row_count(*_divided(sample, level, width)) for level in levels]
    return _divided(segments, levels[counts.index(min(counts))], width)


SAMPLED = 16
"""Segments of which the best interval is chosen: an odd one among them, such as half a day, is fine."""


def _divided(segments: Sequence[LabelledSegment], level: LiteralString, width: timedelta | None) -> tuple[Pieces, Pieces]:
    coarse: list[Piece] = []
    fine: list[Piece] = []
    for found in segments:
        segment = found.segment
        if not _fits(segment, INTERVALS[level], width):
            fine.append(Piece(segment.start, segment.end, found))
            continue
        first = min(_ceiling(segment.start, INTERVALS[level]), segment.close)
        if segment.start < first:
            fine.append(Piece(segment.start, first, found))
        if first < segment.close:
            coarse.append(Piece(first, segment.close, found))
        if segment.close < segment.end:
            fine.append(Piece(segment.close, segment.end, found))
    return Pieces(level, coarse), Pieces("1m", fine)


def _row_count(*pieces: Pieces) -> float:
    return sum((end - start) / INTERVALS[each.source] for each in pieces for start, end, _ in each.parts)


def _fits(segment: Segment, level: timedelta, width: timedelta | None) -> bool:
    """Return True if the buckets of a segment consist of candles of a level, but for the beginning and the auction."""
    return (segment.close - WEEK_START) % level == timedelta(0) and (
        width is None or (segment.anchor - WEEK_START) % level == timedelta(0)
    )


def _ceiling(time: datetime, level: timedelta) -> datetime:
    return time + -(time - WEEK_START) % level
