"""Progress of the audit, the differences that it has found, and their repair."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from psycopg.rows import args_row, scalar_row
from psycopg.types.json import Jsonb

from market_data.models_audit import AuditDifference
from market_data.queries.audit import CandleDifference, CommitDifference, LatestDifference
from market_data.queries.intervals import INTERVALS, LEVELS
from market_data.queries.row_pages import Connection

MAX_EXAMPLES = 20
"""Differences that a status lists, the newest."""

MAX_RECORDED = 100
"""Candles of a symbol and day that are kept on record; all are counted, and repaired."""

# From the newest day to the oldest, and then again from the one that was verified first.
NEXT_DAY = """
    SELECT day, dropped_before
    FROM (
        SELECT
            least(
                (SELECT min(bucket) FROM candles_1w),
                (
                    SELECT min(range_start)
                    FROM timescaledb_information.chunks
                    WHERE hypertable_schema = 'public' AND hypertable_name = 'trades'
                )
            ) AS first,
            nullif(dropped_before, '-infinity') AS dropped_before
        FROM retention
    ) AS bounds
    CROSS JOIN generate_series(date_bin('24 hours', first, '2000-01-03 00:00:00Z'), now(), INTERVAL '24 hours') AS day
    LEFT JOIN audit_days AS done USING (day)
    WHERE done.verified_at IS NULL OR done.verified_at < clock_timestamp() - %s
    ORDER BY done.verified_at NULLS FIRST, day DESC
    LIMIT 1
"""


class AuditedDay(NamedTuple):
    """A day to audit next."""

    start: datetime
    dropped_before: datetime | None


async def read_next_day(connection: Connection, rest: timedelta) -> AuditedDay | None:
    """Return the day to audit next; None if all were audited within a time."""
    cursor = connection.cursor(row_factory=args_row(AuditedDay))
    await cursor.execute(NEXT_DAY, (rest,))
    return await cursor.fetchone()


MARK_DAY = """
    INSERT INTO audit_days (day, verified_at, candles, differences)
    VALUES (%(day)s, clock_timestamp(), %(candles)s, %(differences)s)
    ON CONFLICT (day) DO UPDATE
    SET verified_at = excluded.verified_at, candles = excluded.candles, differences = excluded.differences
"""


async def mark_day(connection: Connection, day: datetime, candles: int, differences: int) -> None:
    """Record that a day has been compared."""
    await connection.execute(MARK_DAY, {"day": day, "candles": candles, "differences": differences})


NEXT_BLOCK = """
    SELECT block
    FROM (SELECT DISTINCT block FROM commit_blocks) AS blocks
    LEFT JOIN audit_versions AS done USING (block)
    WHERE block >= (SELECT version / 10000 FROM log_entries WHERE index = 0)
        AND (done.verified_at IS NULL OR done.verified_at < clock_timestamp() - %s)
    ORDER BY done.verified_at NULLS FIRST, block DESC
    LIMIT 1
"""


async def read_next_block(connection: Connection, rest: timedelta) -> int | None:
    """Return the block of versions to audit next; None if all that are in the log were audited within a time."""
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(NEXT_BLOCK, (rest,))
    return await cursor.fetchone()


MARK_BLOCK = """
    INSERT INTO audit_versions (block, verified_at, commits, differences)
    VALUES (%(block)s, clock_timestamp(), %(commits)s, %(differences)s)
    ON CONFLICT (block) DO UPDATE
    SET verified_at = excluded.verified_at, commits = excluded.commits, differences = excluded.differences
"""


async def mark_block(connection: Connection, block: int, commits: int, differences: int) -> None:
    """Record that the commits of a block have been compared."""
    await connection.execute(MARK_BLOCK, {"block": block, "commits": commits, "differences": differences})


RECORD = """
    INSERT INTO audit_differences AS known (kind, symbol, "interval", bucket, version, stored, expected)
    VALUES (%s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (kind, symbol, "interval", bucket, version) WHERE repaired_at IS NULL
    DO UPDATE SET seen_at = clock_timestamp(), stored = excluded.stored, expected = excluded.expected
    RETURNING xmax = 0
"""


async def _record(connection: Connection, stored: Any, expected: Any, *key: Any) -> bool:
    """Record a difference; return True if it is new."""
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(RECORD, (*key, Jsonb(stored), Jsonb(expected)))
    (is_new,) = await cursor.fetchall()
    return is_new


async def record_candles(connection: Connection, symbol: str, differences: Sequence[CandleDifference]) -> int:
    """Record candles that differ; return the number of new ones."""
    return sum(
        [
            await _record(connection, each.stored, each.expected, "candle", symbol, each.interval, each.bucket, None)
            for each in differences[:MAX_RECORDED]
        ]
    )


HAS_OPEN = """
    SELECT EXISTS (
        SELECT
        FROM audit_differences
        WHERE repaired_at IS NULL AND kind = 'candle' AND symbol = %s AND "interval" = %s AND bucket >= %s AND bucket < %s
    )
"""


async def has_open_differences(connection: Connection, symbol: str, interval: str, start: datetime, end: datetime) -> bool:
    """Return True if candles of an interval differ."""
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(HAS_OPEN, (symbol, interval, start, end))
    return bool(await cursor.fetchone())


async def record_latest_price(connection: Connection, difference: LatestDifference) -> bool:
    """Record a latest price that differs; return True if it is new."""
    key = "latest_price", difference.symbol, None, None, None
    return await _record(connection, difference.stored, difference.expected, *key)


async def record_commit(connection: Connection, difference: CommitDifference, trades: Any) -> bool:
    """Record a commit that differs, with some of its trades; return True if it is new."""
    stored = {"entry": difference.stored, "trades": trades}
    key = "trades", None, None, None, difference.version
    return await _record(connection, stored, {"entry": difference.expected}, *key)


REPAIRED_CANDLES = """
    UPDATE audit_differences
    SET repaired_at = clock_timestamp()
    WHERE repaired_at IS NULL AND kind = 'candle' AND symbol = %(symbol)s AND bucket >= %(start)s AND bucket < %(end)s
        AND "interval" = ANY (%(intervals)s) AND seen_at < %(since)s
"""
REPAIRED_PRICES = """
    UPDATE audit_differences
    SET repaired_at = clock_timestamp()
    WHERE repaired_at IS NULL AND kind = 'latest_price' AND seen_at < %s
"""
REPAIRED_COMMITS = """
    UPDATE audit_differences
    SET repaired_at = clock_timestamp()
    WHERE repaired_at IS NULL AND kind = 'trades' AND version >= %s AND version <= %s AND seen_at < %s
"""


async def close_candles(
    connection: Connection, symbol: str, start: datetime, end: datetime, intervals: Sequence[str], since: datetime
) -> None:
    """Record that candles agree again: those that were not seen to differ since the comparison began."""
    parameters = {"symbol": symbol, "start": start, "end": end, "intervals": list(intervals), "since": since}
    await connection.execute(REPAIRED_CANDLES, parameters)


async def close_latest_prices(connection: Connection, since: datetime) -> None:
    """Record that latest prices agree again, as candles do."""
    await connection.execute(REPAIRED_PRICES, (since,))


async def close_commits(connection: Connection, first: int, last: int, since: datetime) -> None:
    """Record that commits agree again, as candles do: somebody has restored their trades."""
    await connection.execute(REPAIRED_COMMITS, (first, last, since))


NOW = "SELECT clock_timestamp()"


async def read_clock(connection: Connection) -> datetime:
    """Return the current time of the database."""
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(NOW)
    (now,) = await cursor.fetchall()
    return now


REFRESH_AGAIN = """
    INSERT INTO stale_ranges (level, write_id, since, until)
    VALUES (%s, 0, %s, %s)
"""


async def repair_candles(connection: Connection, differences: Sequence[CandleDifference]) -> None:
    """Let `refresh_candles` compute candles again, from their interval upwards."""
    levels = {interval: level for level, interval in enumerate(LEVELS, 1)}
    async with connection.transaction():
        for each in differences:
            end = each.bucket + INTERVALS[each.interval] - timedelta(microseconds=1)
            await connection.execute(REFRESH_AGAIN, (levels[each.interval], each.bucket, end))


# As the trigger trades_changed() does: behind the lock, the next statement sees all trades of the symbol.
LOCK_SYMBOL = "SELECT FROM symbols WHERE symbol = %s FOR UPDATE"
DELETE_LATEST = "DELETE FROM latest_trades WHERE symbol = %s"
INSERT_LATEST = """
    INSERT INTO latest_trades (symbol, time, trade_id, price, volume)
    SELECT symbol, time, trade_id, price, volume
    FROM trades
    WHERE symbol = %s
    ORDER BY time DESC, trade_id DESC
    LIMIT 1
"""


async def repair_latest_price(connection: Connection, symbol: str) -> None:
    """Compute the latest price of a symbol again from its trades."""
    async with connection.transaction():
        for statement in (LOCK_SYMBOL, DELETE_LATEST, INSERT_LATEST):
            await connection.execute(statement, (symbol,))


PROGRESS = """
    WITH days AS (
        SELECT day, verified_at, bool_and(is_next) OVER (ORDER BY day DESC) AS is_reached
        FROM (
            SELECT
                day, verified_at,
                day = lag(day, 1, day + INTERVAL '24 hours') OVER (ORDER BY day DESC) - INTERVAL '24 hours' AS is_next
            FROM audit_days
        ) AS ordered
    )
    SELECT
        (SELECT min(day) FROM days WHERE is_reached),
        (SELECT min(verified_at) FROM days WHERE is_reached),
        (SELECT coalesce(sum(candles), 0)::bigint FROM audit_days),
        (SELECT min(version) FROM commits WHERE version >= (SELECT min(block) * 10000 FROM audit_versions)),
        (SELECT min(verified_at) FROM audit_versions),
        (SELECT coalesce(sum(commits), 0)::bigint FROM audit_versions),
        (SELECT count(*) FROM audit_differences),
        (SELECT count(*) FROM audit_differences WHERE repaired_at IS NULL)
"""


class AuditProgress(NamedTuple):
    """Extent of the audit. Times are null before the first comparison."""

    verified_since: datetime | None
    candles_verified_at: datetime | None
    candles: int
    verified_since_version: int | None
    versions_verified_at: datetime | None
    commits: int
    differences: int
    open_differences: int


async def read_progress(connection: Connection) -> AuditProgress:
    """Return how far back, and how recently, candles and commits have been compared."""
    cursor = connection.cursor(row_factory=args_row(AuditProgress))
    await cursor.execute(PROGRESS)
    (progress,) = await cursor.fetchall()
    return progress


EXAMPLES = """
    SELECT kind, symbol, "interval", bucket, version, stored, expected, found_at, seen_at, repaired_at
    FROM audit_differences
    ORDER BY repaired_at IS NOT NULL, id DESC
    LIMIT %s
"""


async def read_examples(connection: Connection) -> list[AuditDifference]:
    """Return differences, the open ones first, the newest first."""
    cursor = connection.cursor(row_factory=args_row(AuditDifference))
    await cursor.execute(EXAMPLES, (MAX_EXAMPLES,))
    return await cursor.fetchall()
