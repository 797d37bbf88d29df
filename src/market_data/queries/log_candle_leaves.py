"""Leaves of the entries of candles, page by page.

Each page is a short statement, because the embedded engine serves no other client meanwhile. Within one snapshot, the leaves
are those of its version. Without, candles that were changed after `Changed.version` may be as of any later version.
"""

from bisect import bisect_right
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from heapq import merge
from itertools import pairwise
from typing import Any, LiteralString, NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import args_row
from psycopg.types.multirange import TimestamptzMultirange
from psycopg.types.range import Range

from market_data.queries.derived_candles import FIGURES, FROM_CANDLES, FROM_TRADES
from market_data.queries.intervals import INTERVALS, LENGTHS, LEVELS
from market_data.queries.log_candles import Changed, buckets_of
from market_data.queries.log_leaves import read_ordered_symbols

Connection = AsyncConnection[Any]

PAGE = 2048
"""Candles of a page."""

STALE_PAGE = 4096
"""Stale candles that are computed by a statement."""

RANGE_COST = 20
"""Candles that are read in the time that the search for a range takes."""


def _chosen(interval: LiteralString, found: LiteralString, area: LiteralString) -> LiteralString:
    """Return the SQL of the leaves of the candles of `found` that have changed. `area` is a condition on a bucket."""
    return f"""
        SELECT c.symbol, c.bucket, json_build_array(
            'candle', c.symbol, '{interval}', (extract(epoch FROM c.bucket) * 1000000)::bigint,
            trim_scale(c.open)::text, trim_scale(c.high)::text, trim_scale(c.low)::text, trim_scale(c.close)::text,
            trim_scale(c.volume)::text, trim_scale(c.turnover)::text, c.trade_count
        )::text AS leaf
        FROM (
            SELECT
                symbol, bucket, open, high, low, close, volume, turnover, coalesce(trade_count, 0) AS trade_count,
                write_id, changes.symbol IS NOT NULL AS has_change
            FROM ({found}) AS found
            FULL JOIN (
                SELECT DISTINCT symbol, time_bucket('{LENGTHS[interval]}', time) AS bucket
                FROM trade_changes
                WHERE write_id = ANY (%(write_ids)s::bigint[]) AND symbol = ANY (%(symbols)s::text[])
                    AND action <> 'truncate' AND {area.format(bucket=f"time_bucket('{LENGTHS[interval]}', time)")}
            ) AS changes USING (symbol, bucket)
        ) AS c
        WHERE c.has_change OR c.write_id >= (SELECT min(w) FROM unnest(%(write_ids)s::bigint[]) AS w)
    """


# OFFSET 0: the planner would compute a view as a whole, and then choose the ranges. The bounds of the page choose chunks.
def _fresh_candles(interval: LiteralString) -> LiteralString:
    found: LiteralString = f"""
        SELECT s.symbol, c.*
        FROM unnest(%(area)s::tstzmultirange) AS r
        CROSS JOIN unnest(%(symbols)s::text[]) AS s (symbol)
        CROSS JOIN LATERAL (
            SELECT bucket, {FIGURES}
            FROM candles_{interval} AS c
            WHERE c.symbol = s.symbol AND c.bucket >= lower(r) AND c.bucket < upper(r)
                AND c.bucket >= %(start)s AND c.bucket < %(end)s
            OFFSET 0
        ) AS c
    """
    area: LiteralString = "time >= %(start)s AND time < %(end)s AND ({bucket} <@ %(area)s::tstzmultirange) IS TRUE"
    return f'{_chosen(interval, found, area)} ORDER BY c.symbol COLLATE "C", c.bucket'


STALE_MINUTES: LiteralString = f"""
    stale_1m AS MATERIALIZED (
        SELECT s.symbol, c.*
        FROM area_1m
        CROSS JOIN LATERAL unnest(times) AS r
        CROSS JOIN unnest(%(symbols)s::text[]) AS s (symbol)
        CROSS JOIN LATERAL (
            SELECT time_bucket('1 minute', time) AS bucket, {FROM_TRADES}
            FROM trades
            WHERE trades.symbol = s.symbol AND time >= lower(r) AND time < upper(r)
            GROUP BY 1
        ) AS c
    )
"""


def _rolled_up(finer: LiteralString, interval: LiteralString) -> LiteralString:
    """Return the SQL of stale candles, computed from the stored and the computed candles of the finer interval."""
    return f"""
        stale_{interval} AS MATERIALIZED (
            SELECT source.symbol, time_bucket('{LENGTHS[interval]}', source.bucket) AS bucket, {FROM_CANDLES}
            FROM (
                SELECT stale.* FROM stale_{finer} AS stale, area_{interval} WHERE bucket <@ times
                UNION ALL
                SELECT c.*
                FROM area_{interval} AS coarse
                CROSS JOIN area_{finer} AS fine
                CROSS JOIN LATERAL unnest(coarse.times - fine.times) AS r
                CROSS JOIN LATERAL (
                    SELECT symbol, bucket, {FIGURES}
                    FROM candles_{finer} AS c
                    WHERE c.symbol = ANY (%(symbols)s::text[]) AND c.bucket >= lower(r) AND c.bucket < upper(r)
                    OFFSET 0
                ) AS c
            ) AS source
            GROUP BY 1, 2
        )
    """


def _stale_candles() -> LiteralString:
    """Return the SQL of the leaves of the candles of all intervals that are yet to be materialized or refreshed.

    It computes each interval once, for all buckets, from the finer one. The views would compute each from the trades, and
    `candles_as_of` each bucket on its own.
    """
    parts: list[LiteralString] = [
        f"area_{interval} AS MATERIALIZED (SELECT (%(stale)s::tstzmultirange[])[{LEVELS[interval]}] AS times)"
        for interval in LENGTHS
    ]
    parts.append(STALE_MINUTES)
    parts.extend(_rolled_up(finer, interval) for finer, interval in pairwise(LENGTHS))
    comma: LiteralString = ", "
    union: LiteralString = " UNION ALL "
    leaves = union.join(
        f"""SELECT '{interval}' AS "interval", chosen.symbol, chosen.bucket, chosen.leaf FROM ({chosen}) AS chosen"""
        for interval, chosen in _chosen_stale_candles()
    )
    return f"""
        WITH {comma.join(parts)}
        SELECT "interval", symbol, bucket, leaf
        FROM ({leaves}) AS leaves
        ORDER BY "interval", symbol COLLATE "C", bucket
    """


def _chosen_stale_candles() -> Iterator[tuple[LiteralString, LiteralString]]:
    """Yield each interval and the SQL of its leaves."""
    for interval in LENGTHS:
        found: LiteralString = f"SELECT symbol, bucket, {FIGURES} FROM stale_{interval}"
        yield interval, _chosen(interval, found, f"{{bucket}} <@ (SELECT times FROM area_{interval})")


def _area(interval: LiteralString) -> LiteralString:
    buckets = buckets_of(f"INTERVAL '{LENGTHS[interval]}'")
    return f"""
        SELECT ranges, (SELECT {buckets} FROM unnest(ranges) AS r) - %(stale)s::tstzmultirange
        FROM (SELECT %(ranges)s::tstzmultirange * %(within)s::tstzmultirange AS ranges) AS found
    """


AREAS: Mapping[str, LiteralString] = {interval: _area(interval) for interval in LENGTHS}
FRESH_CANDLES: Mapping[str, LiteralString] = {interval: _fresh_candles(interval) for interval in LENGTHS}
STALE_CANDLES = _stale_candles()


class _Span(NamedTuple):
    """Range of whole buckets."""

    start: datetime
    end: datetime

    def cost(self, width: timedelta) -> int:
        """Return the time that reading it takes, in candles."""
        return (self.end - self.start) // width + RANGE_COST


class Leaf(NamedTuple):
    """A candle as a leaf of the log."""

    symbol: str
    bucket: datetime
    text: str


async def read_candle_leaves(connection: Connection, changed: Changed) -> AsyncGenerator[list[str]]:
    """Yield the leaves of changed candles, from the coarsest interval to the finest, by symbol and time.

    Finer candles are read where the coarser ones have changed only.
    """
    symbols = await read_ordered_symbols(connection)
    stale_leaves = await _read_stale_leaves(connection, changed, symbols)
    ranges, within = changed.ranges, changed.weeks
    for (interval, width), stale in reversed(tuple(zip(INTERVALS.items(), changed.stale, strict=True))):
        cursor = connection.cursor(binary=True)
        await cursor.execute(AREAS[interval], {"ranges": ranges, "within": within, "stale": stale})
        ((ranges, area),) = await cursor.fetchall()
        waiting = stale_leaves.pop(interval)
        buckets = {leaf.bucket for leaf in waiting}
        for batch, part in _pages(_spans(area), width, symbols):
            leaves = await _read_page(connection, interval, changed, batch, part)
            if leaves:
                buckets.update(leaf.bucket for leaf in leaves)
                before = bisect_right(waiting, leaves[-1])
                yield [leaf.text for leaf in merge(leaves, waiting[:before])]
                waiting = waiting[before:]
        if waiting:
            yield [leaf.text for leaf in waiting]
        within = _joined(buckets, width)


async def _read_page(
    connection: Connection, interval: str, changed: Changed, symbols: Sequence[str], area: Sequence[_Span]
) -> list[Leaf]:
    cursor = connection.cursor(binary=True, row_factory=args_row(Leaf))
    parameters = {
        "write_ids": changed.write_ids,
        "symbols": symbols,
        "area": TimestamptzMultirange([Range(*each) for each in area]),
        "start": area[0].start,
        "end": area[-1].end,
    }
    await cursor.execute(FRESH_CANDLES[interval], parameters, prepare=False)
    return await cursor.fetchall()


def _spans(times: Iterable[Range[datetime]]) -> list[_Span]:
    return [_Span(each.lower, each.upper) for each in times if each.lower and each.upper]


def _pages(
    area: Sequence[_Span], width: timedelta, symbols: Sequence[str]
) -> Iterator[tuple[Sequence[str], Sequence[_Span]]]:
    """Split an area into pages of a few symbols as a whole, or of parts of the area of a symbol."""
    parts = list(_parts(area, width))
    count = PAGE // sum(each.cost(width) for each in parts[0]) if len(parts) == 1 else 1
    for batch in _batches(symbols, count):
        for part in parts:
            yield batch, part


def _batches(symbols: Sequence[str], count: int) -> Iterator[Sequence[str]]:
    size = max(count, 1)
    return (symbols[start : start + size] for start in range(0, len(symbols), size))


def _parts(area: Sequence[_Span], width: timedelta) -> Iterator[Sequence[_Span]]:
    part: list[_Span] = []
    room = PAGE
    for each in area:
        start = each.start
        while start < each.end:
            span = _Span(start, min(each.end, start + max(room - RANGE_COST, 1) * width))
            part.append(span)
            room -= span.cost(width)
            start = span.end
            if room <= 0:
                yield part
                part, room = [], PAGE
    if part:
        yield part


async def _read_stale_leaves(connection: Connection, changed: Changed, symbols: Sequence[str]) -> dict[str, list[Leaf]]:
    """Return the leaves of changed candles that are yet to be materialized or refreshed, by interval, sorted."""
    found: dict[str, list[Leaf]] = {interval: [] for interval in LENGTHS}
    if not any(changed.stale):
        return found
    cost = sum(_count_stale(changed, times, width) for width, times in zip(INTERVALS.values(), changed.stale, strict=True))
    stale = [TimestamptzMultirange(times) for times in changed.stale]
    for batch in _batches(symbols, STALE_PAGE // max(cost, 1)):
        cursor = connection.cursor(binary=True)
        parameters = {"write_ids": changed.write_ids, "symbols": batch, "stale": stale}
        await cursor.execute(STALE_CANDLES, parameters, prepare=False)
        for interval, *leaf in await cursor.fetchall():
            found[interval].append(Leaf(*leaf))
    return found


def _count_stale(changed: Changed, times: Iterable[Range[datetime]], width: timedelta) -> int:
    """Return the number of stale buckets up to the newest trade; those of weeks may lie in the future."""
    last = max((each.end for each in _spans(changed.ranges)), default=datetime.min.replace(tzinfo=UTC)) + width
    return sum((min(each.end, last) - each.start) // width for each in _spans(times) if each.start < last)


def _joined(buckets: set[datetime], width: timedelta) -> TimestamptzMultirange:
    """Return buckets as ranges; adjacent buckets become one range."""
    joined: list[Range[datetime]] = []
    for bucket in sorted(buckets):
        if joined and joined[-1].upper == bucket:
            joined[-1] = Range(joined[-1].lower, bucket + width)
        else:
            joined.append(Range(bucket, bucket + width))
    return TimestamptzMultirange(joined)
