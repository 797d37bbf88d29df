"""Revisions: changes of closed candles, which a function of the database finds in the record of commits."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString, NamedTuple

from psycopg.rows import args_row, tuple_row

from market_data.models import Candle
from market_data.models_revisions import RevisedBucket, Revision
from market_data.queries.past import read_version
from market_data.queries.row_pages import Connection, exact_number

_PRICES = ("open", "high", "low", "close", "volume")


def _candle_columns(side: LiteralString) -> LiteralString:
    """Return the SQL of the fields of a candle before or after a change."""
    comma: LiteralString = ", "
    numbers = comma.join([f"trim_scale({name}_{side})::text" for name in _PRICES])
    return f"{numbers}, (turnover_{side} / nullif(volume_{side}, 0))::float8::text, trade_count_{side}"


REVISIONS: LiteralString = f"""
    SELECT
        version, bucket, reload_until, changed_at, cause, actor, reason,
        {_candle_columns("before")}, {_candle_columns("after")}
    FROM candle_revisions(
        %(interval)s, %(symbol)s, %(since_version)s::bigint, %(until_version)s::bigint,
        coalesce(%(start)s, '-infinity'::timestamptz), coalesce(%(end)s, 'infinity'::timestamptz),
        coalesce(%(since_bucket)s, 'infinity'::timestamptz), %(limit)s::bigint
    )
    ORDER BY version, bucket
    LIMIT %(limit)s
"""
MAX_COUNT = 2**63 - 1


class RevisionKey(NamedTuple):
    """Position of a revision in the list of its symbol."""

    version: int
    bucket: datetime | None
    """Start of its bucket, or of its range; None for a position after all revisions of the version."""


@dataclass(frozen=True)
class RevisionRange:
    """Revisions of an interval by the versions after one, up to another, of buckets that start in a half-open range."""

    interval: str
    since_version: int
    until_version: int
    start: datetime | None = None
    end: datetime | None = None


async def read_revisions(
    connection: Connection, wanted: RevisionRange, symbol: str, limit: int = MAX_COUNT, after: RevisionKey | None = None
) -> list[Revision]:
    """Return revisions of a symbol by version, then time; with `after`, those that follow that key.

    Raises:
        psycopg.DatabaseError: There is no such version, or trades have been dropped (`past.translate_error`).
    """
    version, bucket = after or (wanted.since_version, None)
    parameters = {
        "interval": wanted.interval,
        "symbol": symbol,
        "since_version": version,
        "until_version": wanted.until_version,
        "start": wanted.start,
        "end": wanted.end,
        "since_bucket": bucket,
        "limit": limit,
    }
    cursor = connection.cursor(row_factory=tuple_row)
    # Not prepared: the function plans its own statements.
    await cursor.execute(REVISIONS, parameters, prepare=False)
    return [_revision(symbol, wanted.interval, *row) for row in await cursor.fetchall()]


async def read_bucket_revisions(
    connection: Connection, interval: str, symbol: str, bucket: datetime, limit: int, until_version: int = MAX_COUNT
) -> list[Revision]:
    """Return the first revisions of the candle of a bucket, up to a version, oldest first.

    Raises:
        psycopg.DatabaseError: Trades that they need have been dropped (`past.translate_error`).
    """
    wanted = RevisionRange(interval, 0, until_version, bucket, bucket + timedelta(microseconds=1))
    return await read_revisions(connection, wanted, symbol, limit)


class RevisionPage(NamedTuple):
    """Revisions of several symbols, and the position after which the next page begins."""

    revisions: Sequence[Revision]
    until_version: int
    """Version up to which all pages list the revisions."""
    following: tuple[str, RevisionKey] | None
    """Symbol and key; None after the last page."""


async def read_revision_page(
    connection: Connection,
    wanted: RevisionRange,
    symbols: Sequence[str],
    limit: int,
    after: tuple[str, RevisionKey] | None = None,
) -> RevisionPage:
    """Return revisions of symbols, which follow each other, up to a version or the newest one, whichever is lower."""
    newest = await read_version(connection)
    until = min(wanted.until_version, newest) if newest >= wanted.since_version else wanted.until_version
    wanted = RevisionRange(wanted.interval, wanted.since_version, until, wanted.start, wanted.end)
    first, key = after or (symbols[0], None)
    found: list[Revision] = []
    for symbol in symbols[symbols.index(first) :]:
        found += await read_revisions(connection, wanted, symbol, limit + 1 - len(found), key)
        key = None
        if len(found) > limit:
            found.pop()
            return RevisionPage(found, until, (found[-1].symbol, key_of(found[-1])))
    return RevisionPage(found, until, None)


REVISED_BUCKETS = "SELECT bucket, changed_at, change_count FROM revised_buckets(%s, %s, %s, %s)"


async def read_revised_buckets(
    connection: Connection, symbol: str, interval: str, start: datetime, end: datetime
) -> list[RevisedBucket]:
    """Return the buckets of a range in which trades changed more than 30 seconds after the end of the bucket."""
    cursor = connection.cursor(row_factory=args_row(RevisedBucket))
    await cursor.execute(REVISED_BUCKETS, (interval, symbol, start, end))
    return await cursor.fetchall()


class SymbolRevisions(NamedTuple):
    """Revisions of all intervals of a symbol by one version."""

    version: int
    symbol: str
    number: int
    """Number of the last row of the symbol in the stream events of the version."""
    revisions: Sequence[Revision]


# The rows of a statement may be read in parts: its revisions belong to the last row of each symbol.
STREAM_REVISIONS: LiteralString = f"""
    SELECT
        page.version, page.symbol, page.number, level."interval", bucket, changed_at, cause, actor, reason,
        {_candle_columns("before")}, {_candle_columns("after")}
    FROM unnest(%(versions)s::bigint[], %(symbols)s::text[], %(numbers)s::bigint[]) AS page (version, symbol, number)
    JOIN commits ON commits.version = page.version
    CROSS JOIN unnest(%(intervals)s::text[]) WITH ORDINALITY AS level ("interval", number)
    CROSS JOIN LATERAL (
        SELECT *
        FROM candle_revisions(level."interval", page.symbol, page.version - 1, page.version)
        WHERE reload_until IS NULL
    ) AS found
    WHERE EXISTS (
            SELECT
            FROM commits AS part
            WHERE part.version BETWEEN page.version - 2 AND page.version AND part.write_id = commits.write_id
                AND time_bucket(INTERVAL '1 minute', part.first_time) + INTERVAL '1 minute' <= part.committed_at
        )
        AND NOT EXISTS (
            SELECT
            FROM stream_events AS later
            WHERE later.write_id = commits.write_id AND later.number > page.number AND later.symbol = page.symbol
        )
    ORDER BY page.version, page.number, level.number, bucket
"""


async def read_stream_revisions(
    connection: Connection, rows: Sequence[tuple[int, str, int]], intervals: Sequence[str]
) -> list[SymbolRevisions]:
    """Return the revisions by the versions and symbols of rows of the stream, those of bulk history apart.

    `rows` has version, symbol and number of the last row that has been read of each.

    Raises:
        psycopg.DatabaseError: Trades have been dropped since (`past.translate_error`).
    """
    versions, symbols, numbers = (list(column) for column in zip(*rows, strict=True))
    parameters = {"versions": versions, "symbols": symbols, "numbers": numbers, "intervals": list(intervals)}
    cursor = connection.cursor(row_factory=tuple_row)
    await cursor.execute(STREAM_REVISIONS, parameters, prepare=False)
    found: dict[tuple[int, str, int], list[Revision]] = {}
    for version, symbol, number, interval, bucket, *more in await cursor.fetchall():
        revision = _revision(symbol, interval, version, bucket, None, *more)
        found.setdefault((version, symbol, number), []).append(revision)
    return [SymbolRevisions(*key, revisions) for key, revisions in found.items()]


def key_of(revision: Revision) -> RevisionKey:
    """Return the position of a revision."""
    return RevisionKey(revision.version, revision.timestamp or revision.start or None)


def _revision(
    symbol: str,
    interval: str,
    version: int,
    bucket: datetime,
    reload_until: datetime | None,
    changed_at: datetime,
    cause: Any,
    actor: str | None,
    reason: str | None,
    *candles: Any,
) -> Revision:
    common: dict[str, Any] = {
        "symbol": symbol,
        "interval": interval,
        "version": version,
        "changed_at": changed_at,
        "cause": cause,
        "actor": actor,
        "reason": reason,
    }
    if reload_until:
        return Revision(**common, start=bucket, end=reload_until)
    half = len(candles) // 2
    before, after = _candle(bucket, *candles[:half]), _candle(bucket, *candles[half:])
    return Revision(**common, timestamp=bucket, before=before, after=after)


def _candle(bucket: datetime, *values: Any) -> Candle | None:
    *numbers, vwap, trade_count = values
    if trade_count is None:
        return None
    first, high, low, last, volume = map(exact_number, numbers)
    vwap = None if vwap is None else exact_number(vwap)
    return Candle(bucket, first, high, low, last, volume, vwap, trade_count, closed=True)
