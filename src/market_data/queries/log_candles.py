"""Leaves of the entries of candles: the candles of the commits since the entry before, as they stand in one snapshot."""

from bisect import bisect_right
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from heapq import merge
from itertools import pairwise
from typing import Any, LiteralString, NamedTuple

from psycopg import AsyncConnection, AsyncServerCursor
from psycopg.rows import args_row, scalar_row
from psycopg.types.multirange import TimestamptzMultirange
from psycopg.types.range import Range

from market_data.queries.derived_candles import FIGURES, FROM_CANDLES, FROM_TRADES
from market_data.queries.intervals import INTERVALS, LENGTHS, LEVELS

Connection = AsyncConnection[Any]

MAX_STALE = timedelta(days=1)
"""While more time than this is yet to be materialized or refreshed, as after an import, an entry of candles waits for it."""

BATCH = 1024


class Changed(NamedTuple):
    """The commits that an entry of candles is about, as of the newest version."""

    version: int
    committed_at: datetime | None
    write_ids: list[int]
    ranges: TimestamptzMultirange
    """A few ranges with the times of their trades."""
    weeks: TimestamptzMultirange
    """Weeks of these ranges."""
    stale: timedelta
    """Length of the times of their trades that are yet to be materialized or refreshed."""
    is_stale: bool
    """True if some candles of these weeks are; of any interval, as each has its own watermark."""


def _buckets(width: LiteralString) -> LiteralString:
    """Return the SQL of the buckets that ranges `r` reach into."""
    return f"""
        coalesce(range_agg(tstzrange(
            time_bucket('{width}', lower(r)),
            time_bucket('{width}', upper(r) - CASE WHEN upper_inc(r) THEN '0' ELSE INTERVAL '1 microsecond' END)
                + '{width}'::interval
        )), '{{}}')
    """


def _stale_times(level: LiteralString) -> LiteralString:
    """Return the SQL of the times whose candles of a level are yet to be materialized or refreshed.

    The watermarks were read before the snapshot, so the snapshot has all earlier candles. The views are planned with the
    newest watermarks, and would lack the candles that were materialized since.
    """
    watermark: LiteralString = f"(%(watermarks)s::timestamptz[])[{level}]"
    return f"(stale_times({level}) + tstzmultirange(tstzrange({watermark}, NULL)))"


# A cancelled trade has taken its write_id with it, so candles of cancelled trades are found by trade_changes.
CHANGED = f"""
    SELECT
        newest_version(),
        (SELECT committed_at FROM commits WHERE version = newest_version()),
        write_ids,
        area,
        weeks,
        coalesce((SELECT sum(upper(r) - lower(r)) FROM unnest(ranges * {_stale_times("1")}) AS r), '0'),
        EXISTS (SELECT FROM generate_series(1, 8) AS level WHERE weeks && {_stale_times("level")})
    FROM (
        SELECT
            coalesce(array_agg(write_id), '{{}}') AS write_ids,
            coalesce(range_agg(tstzrange(first_time, last_time + INTERVAL '1 microsecond')), '{{}}') AS ranges
        FROM commits
        WHERE version > %(since)s AND kind IN ('store', 'correct', 'cancel') AND first_time IS NOT NULL
    ) AS found
    CROSS JOIN LATERAL (
        SELECT coalesce(range_agg(r), '{{}}') AS area, {_buckets(LENGTHS["1w"])} AS weeks FROM few_ranges(ranges) AS r
    ) AS whole
"""


WATERMARKS = "SELECT candles_watermark(name) FROM unnest(%s::text[]) AS name"


async def read_watermarks(connection: Connection) -> list[datetime | None]:
    """Return the watermarks by level: call it before the snapshot begins."""
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(WATERMARKS, ([*LENGTHS],))
    return await cursor.fetchall()


async def read_changed(connection: Connection, since: int, watermarks: list[datetime | None]) -> Changed:
    """Return which candles have changed since a version."""
    cursor = connection.cursor(binary=True, row_factory=args_row(Changed))
    await cursor.execute(CHANGED, {"since": since, "watermarks": watermarks})
    (changed,) = await cursor.fetchall()
    return changed


def _area(interval: LiteralString) -> LiteralString:
    buckets = _buckets(LENGTHS[interval])
    return f"""
        SELECT area, (SELECT {buckets} FROM unnest(area * {_stale_times(LEVELS[interval])}) AS r)
        FROM (SELECT {buckets} AS area FROM unnest(%(ranges)s::tstzmultirange) AS r) AS found
    """


def _chosen(interval: LiteralString, found: LiteralString, stale: LiteralString) -> LiteralString:
    """Return the SQL of the leaves of the candles of `found` that have changed. `stale` is a condition on a bucket."""
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
                WHERE write_id = ANY (%(write_ids)s::bigint[]) AND action <> 'truncate'
                    AND {stale.format(bucket=f"time_bucket('{LENGTHS[interval]}', time)")}
            ) AS changes USING (symbol, bucket)
        ) AS c
        WHERE c.has_change OR c.write_id >= (SELECT min(w) FROM unnest(%(write_ids)s::bigint[]) AS w)
    """


# OFFSET 0: the planner would compute a view as a whole, and then choose the ranges, also if there are none.
def _fresh_candles(interval: LiteralString) -> LiteralString:
    found: LiteralString = f"""
        SELECT s.symbol, c.*
        FROM unnest(%(area)s::tstzmultirange - %(stale)s::tstzmultirange) AS r
        CROSS JOIN symbols AS s
        CROSS JOIN LATERAL (
            SELECT bucket, {FIGURES}
            FROM candles_{interval} AS c
            WHERE c.symbol = s.symbol AND c.bucket >= lower(r) AND c.bucket < upper(r)
            OFFSET 0
        ) AS c
    """
    chosen = _chosen(interval, found, "NOT ({bucket} <@ %(stale)s::tstzmultirange) IS TRUE")
    return f'{chosen} ORDER BY c.symbol COLLATE "C", c.bucket'


STALE_MINUTES: LiteralString = f"""
    stale_1m AS MATERIALIZED (
        SELECT s.symbol, c.*
        FROM area_1m
        CROSS JOIN LATERAL unnest(times) AS r
        CROSS JOIN symbols AS s
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
                    WHERE c.bucket >= lower(r) AND c.bucket < upper(r)
                    OFFSET 0
                ) AS c
            ) AS source
            GROUP BY 1, 2
        )
    """


def _stale_candles() -> LiteralString:
    """Return the SQL of the leaves of the candles of all intervals that are yet to be materialized or refreshed.

    It computes each interval once, for all symbols and buckets, from the finer one. The views would compute each from the
    trades, and `candles_as_of` each bucket on its own.
    """
    intervals = tuple(LENGTHS)
    parts: list[LiteralString] = [
        f"""
            area_{interval} AS MATERIALIZED (
                SELECT {_buckets(LENGTHS[interval])} AS times
                FROM unnest(%(weeks)s::tstzmultirange * {_stale_times(LEVELS[interval])}) AS r
            )
        """
        for interval in intervals
    ]
    parts.append(STALE_MINUTES)
    parts.extend(_rolled_up(finer, interval) for finer, interval in pairwise(intervals))
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


AREAS: Mapping[str, LiteralString] = {interval: _area(interval) for interval in LENGTHS}
FRESH_CANDLES: Mapping[str, LiteralString] = {interval: _fresh_candles(interval) for interval in LENGTHS}
STALE_CANDLES = _stale_candles()


class Leaf(NamedTuple):
    """A candle as a leaf of the log."""

    symbol: str
    bucket: datetime
    text: str


@asynccontextmanager
async def _server_cursor(connection: Connection, name: str) -> AsyncGenerator[AsyncServerCursor[Leaf]]:
    """Yield a cursor that is closed even if closing it fails, because the service stops or the connection is lost."""
    cursor = connection.cursor(name, binary=True, row_factory=args_row(Leaf))
    try:
        yield cursor
    finally:
        try:
            await cursor.close()
        except BaseException:
            await cursor.close()  # without a statement now, because the transaction has failed
            raise


async def read_candle_leaves(
    connection: Connection, changed: Changed, watermarks: list[datetime | None]
) -> AsyncGenerator[list[str]]:
    """Yield the leaves of changed candles, from the coarsest interval to the finest: call it in the snapshot of `changed`.

    Finer candles are read where the coarser ones have changed only.
    """
    stale_leaves = await _read_stale_leaves(connection, changed, watermarks)
    ranges = changed.ranges
    for interval in reversed(tuple(LENGTHS)):
        bounds = connection.cursor(binary=True)
        await bounds.execute(AREAS[interval], {"ranges": ranges, "watermarks": watermarks})
        ((area, stale),) = await bounds.fetchall()
        waiting = stale_leaves[interval]
        buckets = {leaf.bucket for leaf in waiting}
        parameters = {"write_ids": changed.write_ids, "area": area, "stale": stale}
        async with _server_cursor(connection, f"candles_{interval}") as cursor:
            await cursor.execute(FRESH_CANDLES[interval], parameters)
            while rows := await cursor.fetchmany(BATCH):
                buckets.update(leaf.bucket for leaf in rows)
                before = bisect_right(waiting, rows[-1])
                yield [leaf.text for leaf in merge(rows, waiting[:before])]
                waiting = waiting[before:]
        yield [leaf.text for leaf in waiting]
        ranges = _narrowed(ranges, buckets, INTERVALS[interval])


async def _read_stale_leaves(
    connection: Connection, changed: Changed, watermarks: list[datetime | None]
) -> Mapping[str, list[Leaf]]:
    """Return the leaves of changed candles that are yet to be materialized or refreshed, by interval, sorted."""
    found: dict[str, list[Leaf]] = {interval: [] for interval in LENGTHS}
    if changed.is_stale:
        cursor = connection.cursor(binary=True)
        parameters = {"write_ids": changed.write_ids, "weeks": changed.weeks, "watermarks": watermarks}
        await cursor.execute(STALE_CANDLES, parameters, prepare=False)
        for interval, *leaf in await cursor.fetchall():
            found[interval].append(Leaf(*leaf))
    return found


def _narrowed(ranges: TimestamptzMultirange, buckets: set[datetime], width: timedelta) -> TimestamptzMultirange:
    """Return the ranges within buckets, the neighbours of which are joined."""
    joined: list[list[datetime]] = []
    for bucket in sorted(buckets):
        if joined and joined[-1][1] == bucket:
            joined[-1][1] = bucket + width
        else:
            joined.append([bucket, bucket + width])
    found: list[Range[datetime]] = []
    for each in ranges:
        if each.lower is None or each.upper is None:
            continue
        for start, end in joined:
            low, high = max(start, each.lower), min(end, each.upper)
            if low < high:
                found.append(Range(low, high))
    return TimestamptzMultirange(found)
