"""Leaves of the entries of candles: the candles of the commits since the entry before, as they stand in one snapshot."""

from collections.abc import AsyncGenerator, Mapping
from datetime import datetime, timedelta
from typing import Any, LiteralString, NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import args_row
from psycopg.types.multirange import TimestamptzMultirange
from psycopg.types.range import Range

from market_data.queries.intervals import INTERVALS, LENGTHS, LEVELS

Connection = AsyncConnection[Any]

MAX_STALE = timedelta(days=1)
"""While more time than this is yet to be refreshed, as after an import, an entry of candles waits for it."""

BATCH = 1024


class Changed(NamedTuple):
    """The commits that an entry of candles is about, as of the newest version."""

    version: int
    committed_at: datetime | None
    write_ids: list[int]
    ranges: TimestamptzMultirange
    """Times of their trades."""
    stale: timedelta
    """Length of the parts of these ranges that are yet to be refreshed."""


# A cancelled trade has taken its write_id with it, so candles of cancelled trades are found by trade_changes.
CHANGED = """
    SELECT
        newest_version(),
        (SELECT committed_at FROM commits WHERE version = newest_version()),
        write_ids,
        ranges,
        coalesce((SELECT sum(upper(r) - lower(r)) FROM unnest(ranges * stale_times(1)) AS r), '0')
    FROM (
        SELECT
            coalesce(array_agg(write_id), '{}') AS write_ids,
            coalesce(range_agg(tstzrange(first_time, last_time + INTERVAL '1 microsecond')), '{}') AS ranges
        FROM commits
        WHERE version > %s AND kind IN ('store', 'correct', 'cancel') AND first_time IS NOT NULL
    ) AS found
"""


async def read_changed(connection: Connection, since: int) -> Changed:
    """Return which candles have changed since a version."""
    cursor = connection.cursor(binary=True, row_factory=args_row(Changed))
    await cursor.execute(CHANGED, (since,))
    (changed,) = await cursor.fetchall()
    return changed


def _buckets(width: LiteralString) -> LiteralString:
    """Return the SQL of the buckets that ranges `r` reach into."""
    return f"""
        coalesce(range_agg(tstzrange(
            time_bucket('{width}', lower(r)),
            time_bucket('{width}', upper(r) - INTERVAL '1 microsecond') + '{width}'::interval
        )), '{{}}')
    """


def _area(interval: LiteralString) -> LiteralString:
    buckets = _buckets(LENGTHS[interval])
    return f"""
        SELECT area, (SELECT {buckets} FROM unnest(area * stale_times({LEVELS[interval]})) AS r)
        FROM (SELECT {buckets} AS area FROM few_ranges(%s::tstzmultirange) AS r) AS found
    """


COLUMNS: LiteralString = "c.bucket, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trade_count, c.write_id"


# Candles that are yet to be refreshed are computed from their trades.
def _candles(interval: LiteralString) -> LiteralString:
    width = LENGTHS[interval]
    return f"""
        WITH changes AS MATERIALIZED (
            SELECT DISTINCT symbol, time_bucket('{width}', time) AS bucket
            FROM trade_changes
            WHERE write_id = ANY (%(write_ids)s::bigint[]) AND action <> 'truncate'
        ), found AS (
            SELECT s.symbol, {COLUMNS}
            FROM unnest(%(area)s::tstzmultirange) AS r
            CROSS JOIN symbols AS s
            CROSS JOIN LATERAL (
                SELECT {COLUMNS}
                FROM candles_{interval} AS c
                WHERE c.symbol = s.symbol AND c.bucket >= lower(r) AND c.bucket < upper(r)
                    AND NOT (c.bucket <@ %(stale)s::tstzmultirange) IS TRUE
            ) AS c
            UNION ALL
            SELECT s.symbol, {COLUMNS}
            FROM few_ranges(%(stale)s::tstzmultirange) AS r
            CROSS JOIN symbols AS s
            CROSS JOIN LATERAL candles_as_of('{interval}', %(version)s::bigint, s.symbol, lower(r), upper(r)) AS c
            WHERE (c.bucket <@ %(stale)s::tstzmultirange) IS TRUE
        ), chosen AS (
            SELECT found.*
            FROM found
            LEFT JOIN changes USING (symbol, bucket)
            WHERE write_id >= (SELECT min(w) FROM unnest(%(write_ids)s::bigint[]) AS w) OR changes.bucket IS NOT NULL
            UNION ALL
            SELECT symbol, bucket, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL
            FROM changes
            WHERE NOT EXISTS (SELECT FROM found WHERE (found.symbol, found.bucket) = (changes.symbol, changes.bucket))
        )
        SELECT c.bucket, json_build_array(
            'candle', c.symbol, '{interval}', (extract(epoch FROM c.bucket) * 1000000)::bigint,
            trim_scale(c.open)::text, trim_scale(c.high)::text, trim_scale(c.low)::text, trim_scale(c.close)::text,
            trim_scale(c.volume)::text, trim_scale(c.turnover)::text, c.trade_count
        )::text
        FROM chosen AS c
        ORDER BY c.symbol COLLATE "C", c.bucket
    """


AREAS: Mapping[str, LiteralString] = {interval: _area(interval) for interval in LENGTHS}
CANDLES: Mapping[str, LiteralString] = {interval: _candles(interval) for interval in LENGTHS}


async def read_candle_leaves(connection: Connection, changed: Changed) -> AsyncGenerator[list[str]]:
    """Yield the leaves of changed candles, from the coarsest interval to the finest: call it in the snapshot of `changed`.

    Finer candles are read where the coarser ones have changed only.
    """
    ranges = changed.ranges
    for interval in reversed(tuple(LENGTHS)):
        bounds = connection.cursor(binary=True)
        await bounds.execute(AREAS[interval], (ranges,))
        ((area, stale),) = await bounds.fetchall()
        parameters = {"write_ids": changed.write_ids, "version": changed.version, "area": area, "stale": stale}
        buckets: set[datetime] = set()
        async with connection.cursor(f"candles_{interval}", binary=True) as cursor:
            await cursor.execute(CANDLES[interval], parameters)
            while rows := await cursor.fetchmany(BATCH):
                buckets.update(bucket for bucket, _ in rows)
                yield [leaf for _, leaf in rows]
        ranges = _narrowed(ranges, buckets, INTERVALS[interval])


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
