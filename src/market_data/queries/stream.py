"""Stream events in the order of their commits, and the candles that they changed."""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, LiteralString, NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import args_row, scalar_row

from market_data.queries.candles import CANDLE_FIELDS, CandleRange, SessionKind
from market_data.queries.intervals import LENGTHS
from market_data.queries.past import VERSION
from market_data.queries.row_pages import Column, json_members, json_object
from market_data.queries.schedules import BucketTimes
from market_data.queries.session_candles import read_session_candles
from market_data.queries.trades import TRADE_COLUMNS

LISTEN_TO_STREAM = "LISTEN market_data_stream"


async def listen_to_stream(connection: AsyncConnection) -> None:
    """Get a notification of each commit with stream events."""
    await connection.execute(LISTEN_TO_STREAM)


ADVANCE_STREAM = "SELECT advance_stream()"


async def advance_stream(connection: AsyncConnection) -> None:
    """Add events for candles that have closed or were changed by a late trade. Cheap if there are none."""
    await connection.execute(ADVANCE_STREAM)


class Commit(NamedTuple):
    """A commit, which no other one has the version and the time of."""

    version: int
    """0 before the first."""
    committed_at: datetime | None
    """None before the first."""


class StreamRange(NamedTuple):
    """Versions between which the stream can be read."""

    first: int
    """0 while no event has been deleted."""
    last: Commit


STREAM_RANGE = """
    SELECT trimmed_before, newest_version(), (SELECT committed_at FROM commits WHERE version = newest_version())
    FROM stream_progress
"""


async def read_stream_range(connection: AsyncConnection) -> StreamRange:
    """Return how far back the stream can be read, and up to which version."""
    cursor = await connection.execute(STREAM_RANGE)
    ((first, *last),) = await cursor.fetchall()
    return StreamRange(first, Commit(*last))


CONTAINS = "SELECT EXISTS (SELECT FROM commits WHERE version = %s AND committed_at = %s)"


async def contains_commit(connection: AsyncConnection[Any], commit: Commit) -> bool:
    """Return False if the database has no such commit: a standby without it was promoted, or an older backup restored."""
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(CONTAINS, commit)
    return bool(await cursor.fetchone())


class StreamRow(NamedTuple):
    """One row of stream_events with its commit."""

    version: int
    committed_at: datetime
    number: int
    kind: Literal["trade", "closing", "revision", "reload"]
    symbol: str
    time: datetime
    """Time of the trade; of a candle, the start of its bucket; of a reload, the start of its range."""
    interval: str | None
    """Of a closing."""
    closed_until: datetime
    """Buckets that end at or before this time were closed before the event."""
    late: bool
    """True if the materialized candles may not contain the trade yet; a revision follows."""
    data: str | None
    """JSON of the event of a trade or reload."""


LATEST_COLUMNS = (
    Column("symbol", "symbol", "text"),
    Column("price", "latest_price", "decimal"),
    Column("volume", "latest_volume", "decimal"),
    Column("timestamp", "latest_time", "time"),
)
RELOAD_COLUMNS = (Column("symbol", "symbol", "text"), Column("start", "time", "time"), Column("end", "until", "time"))
# A JSON object with a NULL in it is NULL.
CHANGE_MEMBERS: LiteralString = f"""
    coalesce(',"change":"' || change || '","latest":' || coalesce({json_object(LATEST_COLUMNS)}, 'null'), '')
"""

# Commit by commit, at most a page from each: one commit may have a million rows. A statement that stores and changes trades
# has two or three successive versions; its events belong to the last.
STREAM_EVENTS = f"""
    SELECT
        version, committed_at, number, event.kind, symbol, time, "interval", closed_until,
        late,
        CASE event.kind
            WHEN 'trade' THEN '{{' || {json_members(TRADE_COLUMNS)} || {CHANGE_MEMBERS} || '}}'
            WHEN 'reload' THEN {json_object(RELOAD_COLUMNS)}
        END
    FROM commits AS following
    CROSS JOIN LATERAL (
        SELECT
            number, kind, symbol, time, trade_id, price, volume, "interval", late, until, change,
            latest_time, latest_price, latest_volume
        FROM stream_events
        WHERE write_id = following.write_id
            AND number > CASE WHEN following.version = %(version)s THEN %(number)s ELSE 0 END
            AND (%(symbols)s::text[] IS NULL OR symbol = ANY (%(symbols)s))
        ORDER BY number
        LIMIT %(limit)s
    ) AS event
    WHERE (SELECT write_id FROM commits WHERE version = following.version + 1) IS DISTINCT FROM following.write_id
        AND version >= %(version)s AND version <= coalesce(%(until)s::bigint, version)
    ORDER BY version, number
    LIMIT %(limit)s
"""


async def read_stream_events(
    connection: AsyncConnection,
    version: int,
    number: int,
    *,
    limit: int,
    until: int | None = None,
    symbols: Collection[str] | None = None,
) -> list[StreamRow]:
    """Return the rows that follow a version and number, up to another version, of some symbols (None: of all)."""
    cursor = connection.cursor(binary=True, row_factory=args_row(StreamRow))
    wanted = None if symbols is None else list(symbols)
    parameters = {"version": version, "number": number, "until": until, "symbols": wanted, "limit": limit}
    await cursor.execute(STREAM_EVENTS, parameters)
    return await cursor.fetchall()


class StreamedCandle(NamedTuple):
    """A candle as read for a stream."""

    symbol: str
    bucket: datetime
    fields: str
    """Members of its JSON object, without `symbol`, `interval` and `closed`."""
    version: int | None
    """The newest version when it was read; None if it did not contain all trades of it."""


# `settled` by the candles of the symbol that wait for an event, not by stale_ranges, which are of all symbols: after a
# candle that is not settled there is always another event.
STREAM_CANDLES: Mapping[str, LiteralString] = {
    interval: f"""
        WITH waiting AS (
            SELECT symbol, range_agg(tstzrange(bucket, coalesce(until, bucket + INTERVAL '1 minute'))) AS times
            FROM stream_late_candles
            WHERE symbol = ANY (%(symbols)s)
            GROUP BY symbol
        )
        SELECT symbol, bucket, {CANDLE_FIELDS}, CASE WHEN settled THEN {VERSION} END
        FROM (
            SELECT
                symbol, bucket, open, high, low, close, volume, trade_count,
                (turnover / nullif(volume, 0))::float8 AS vwap,
                NOT coalesce(tstzrange(bucket, bucket + INTERVAL '{length}') && times, false) AS settled
            FROM candles_{interval}
            LEFT JOIN waiting USING (symbol)
            WHERE symbol = ANY (%(symbols)s) AND bucket >= %(first)s AND bucket <= %(last)s
        ) AS candle
    """
    for interval, length in LENGTHS.items()
}


async def read_stream_candles(
    connection: AsyncConnection, interval: str, symbols: Sequence[str], first: datetime, last: datetime
) -> list[StreamedCandle]:
    """Return the candles of some symbols whose buckets start in a closed range."""
    cursor = connection.cursor(row_factory=args_row(StreamedCandle))
    parameters = {"symbols": list(symbols), "first": first, "last": last}
    # Not prepared: a generic plan would scan every chunk.
    await cursor.execute(STREAM_CANDLES[interval], parameters, prepare=False)
    return await cursor.fetchall()


IS_WAITING = """
    SELECT EXISTS (
        SELECT
        FROM stream_late_candles
        WHERE symbol = %s AND tstzrange(bucket, coalesce(until, bucket + INTERVAL '1 minute')) && tstzrange(%s, %s)
    )
"""


async def read_session_candle(
    connection: AsyncConnection[Any], symbol: str, interval: str, bucket: BucketTimes, session: SessionKind
) -> StreamedCandle | None:
    """Return the candle of a bucket of sessions; None if it has no trade."""
    end = bucket.label + timedelta(microseconds=1)
    page = await read_session_candles(connection, CandleRange(symbol, interval, bucket.label, end, session=session), 1)
    if not page.count:
        return None
    members = re.sub(',"closed":(true|false)', "", page.rows[1:-1])
    if not page.settled:  # perhaps only because of other symbols
        cursor = connection.cursor(row_factory=scalar_row)
        await cursor.execute(IS_WAITING, (symbol, bucket.start, bucket.end))
        if not await cursor.fetchone():
            members = members.replace(',"settled":false', "")
    return StreamedCandle(symbol, bucket.label, members, page.version)
