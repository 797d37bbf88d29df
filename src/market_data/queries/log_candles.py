"""The candles that an entry of candles is about: those of the commits since the entry before."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, LiteralString, NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import args_row, scalar_row
from psycopg.types.multirange import TimestamptzMultirange

from market_data.queries.intervals import LENGTHS, LEVELS

Connection = AsyncConnection[Any]

MAX_STALE = timedelta(days=1)
"""While more time than this is yet to be materialized or refreshed, as after an import, an entry of candles waits for it.
In coarser intervals there are up to two more buckets: refreshes leave out the one that has not ended, and the one before."""


class Changed(NamedTuple):
    """The commits that an entry of candles is about, as of the newest version."""

    version: int
    committed_at: datetime | None
    trade_count: int
    """Trades that they have stored and changed."""
    is_emptied: bool
    """True if there is a TRUNCATE or a restore among them, which changes candles of all commits before."""
    write_ids: list[int]
    ranges: TimestamptzMultirange
    """A few ranges with the times of their trades."""
    weeks: TimestamptzMultirange
    """Weeks of these ranges."""
    is_waiting: bool
    """True if more than `MAX_STALE` of the times of their trades is stale."""
    stale: Sequence[TimestamptzMultirange]
    """Stale buckets of these weeks by level: those with candles that are yet to be materialized or refreshed."""


def buckets_of(width: LiteralString) -> LiteralString:
    """Return the SQL of the buckets that ranges `r` reach into. `width` is the SQL of their length."""
    return f"""
        coalesce(range_agg(tstzrange(
            time_bucket({width}, lower(r)),
            time_bucket({width}, upper(r) - CASE WHEN upper_inc(r) THEN '0' ELSE INTERVAL '1 microsecond' END) + {width}
        )), '{{}}')
    """


def _levels() -> LiteralString:
    comma: LiteralString = ", "
    return comma.join(f"({LEVELS[interval]}, INTERVAL '{LENGTHS[interval]}')" for interval in LENGTHS)


# A cancelled trade has taken its write_id with it, so candles of cancelled trades are found by trade_changes.
# The watermarks were read before the snapshot, so the snapshot has all earlier candles. The views are planned with the
# newest watermarks, and would lack the candles that were materialized since.
CHANGED = f"""
    WITH levels AS MATERIALIZED (
        SELECT
            level, width,
            stale_times(level) + tstzmultirange(tstzrange((%(watermarks)s::timestamptz[])[level], NULL)) AS times
        FROM (VALUES {_levels()}) AS level (level, width)
    ),
    found AS MATERIALIZED (
        SELECT
            coalesce(sum(trade_count), 0)::bigint AS trade_count,
            coalesce(array_agg(write_id), '{{}}') AS write_ids,
            coalesce(range_agg(tstzrange(first_time, last_time + INTERVAL '1 microsecond')), '{{}}') AS ranges
        FROM commits
        WHERE version > %(since)s AND kind IN ('store', 'correct', 'cancel') AND first_time IS NOT NULL
    ),
    whole AS MATERIALIZED (
        SELECT coalesce(range_agg(r), '{{}}') AS area, {buckets_of(f"INTERVAL '{LENGTHS['1w']}'")} AS weeks
        FROM found CROSS JOIN LATERAL few_ranges(ranges) AS r
    )
    SELECT
        newest_version(),
        (SELECT committed_at FROM commits WHERE version = newest_version()),
        trade_count,
        EXISTS (SELECT FROM commits WHERE version > %(since)s AND kind IN ('truncate', 'restore')),
        write_ids,
        area,
        weeks,
        EXISTS (
            SELECT FROM levels
            WHERE (SELECT sum(upper(r) - lower(r)) FROM unnest(ranges * times) AS r)
                > %(max_stale)s + CASE WHEN level > 1 THEN 2 * width ELSE '0' END
        ),
        ARRAY(SELECT (SELECT {buckets_of("width")} FROM unnest(weeks * times) AS r) FROM levels ORDER BY level)
    FROM found CROSS JOIN whole
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
    await cursor.execute(CHANGED, {"since": since, "watermarks": watermarks, "max_stale": MAX_STALE})
    (changed,) = await cursor.fetchall()
    return changed
