"""Stream events in the order of their commits, and the candles that they changed."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Literal, LiteralString, NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import args_row

from market_data.queries.candles import CANDLE_FIELDS
from market_data.queries.intervals import LENGTHS
from market_data.queries.trades import TRADE_JSON

LISTEN_TO_STREAM = "LISTEN market_data_stream"


async def listen_to_stream(connection: AsyncConnection) -> None:
    """Get a notification of each commit with stream events."""
    await connection.execute(LISTEN_TO_STREAM)


ADVANCE_STREAM = "SELECT advance_stream()"


async def advance_stream(connection: AsyncConnection) -> None:
    """Add events for candles that have closed or were changed by a late trade. Cheap if there are none."""
    await connection.execute(ADVANCE_STREAM)


class StreamRange(NamedTuple):
    """Positions between which the stream can be read; both 0 while there is nothing."""

    first: int
    last: int
    complete: bool
    """Whether nothing older has been deleted."""


STREAM_RANGE = """
    SELECT
        coalesce(min(position), 0),
        coalesce(max(position), 0),
        coalesce((SELECT stored_at FROM stream_commits ORDER BY position LIMIT 1) > now() - INTERVAL '1 hour', true)
    FROM stream_commits
"""


async def read_stream_range(connection: AsyncConnection) -> StreamRange:
    """How far back the stream can be read, and up to where."""
    cursor = connection.cursor(row_factory=args_row(StreamRange))
    await cursor.execute(STREAM_RANGE)
    (reach,) = await cursor.fetchall()
    return reach


class StreamRow(NamedTuple):
    """One row of stream_events, with what its commit says of it."""

    position: int
    number: int
    kind: Literal["trade", "closing", "revision"]
    symbol: str
    time: datetime
    """Time of the trade; of a candle, the start of its bucket."""
    interval: str | None
    """None for trades and revisions."""
    closed_until: datetime
    """Buckets that end at or before this time were closed before the event."""
    late: bool
    """True if the materialized candles do not contain the trade yet; a revision follows."""
    trade: str | None
    """The trade as JSON."""


# Commit by commit, from each no more than are asked for: one may have a million rows, which are read page by page as well.
STREAM_EVENTS = f"""
    SELECT
        position, number, kind, symbol, time, "interval", closed_until,
        kind = 'trade' AND stream_is_late(time, stored_at) AS late,
        CASE WHEN kind = 'trade' THEN {TRADE_JSON} END
    FROM stream_commits AS following
    CROSS JOIN LATERAL (
        SELECT number, kind, symbol, time, trade_id, price, volume, "interval"
        FROM stream_events
        WHERE statement = following.statement
            AND number > CASE WHEN following.position = %(position)s THEN %(number)s ELSE 0 END
            AND (%(symbols)s::text[] IS NULL OR symbol = ANY (%(symbols)s))
        ORDER BY number
        LIMIT %(limit)s
    ) AS event
    WHERE position >= %(position)s AND position <= coalesce(%(until)s::bigint, position)
    ORDER BY position, number
    LIMIT %(limit)s
"""


async def read_stream_events(
    connection: AsyncConnection,
    position: int,
    number: int,
    *,
    limit: int,
    until: int | None = None,
    symbols: Collection[str] | None = None,
) -> list[StreamRow]:
    """What follows a position and number, up to another position, of some symbols (None: of all)."""
    cursor = connection.cursor(binary=True, row_factory=args_row(StreamRow))
    wanted = None if symbols is None else list(symbols)
    parameters = {"position": position, "number": number, "until": until, "symbols": wanted, "limit": limit}
    await cursor.execute(STREAM_EVENTS, parameters)
    return await cursor.fetchall()


class StreamedCandle(NamedTuple):
    """A candle as read for a stream."""

    symbol: str
    bucket: datetime
    fields: str
    """Members of its JSON object, without `symbol`, `interval` and `closed`."""


STREAM_CANDLES: Mapping[str, LiteralString] = {
    interval: f"""
        SELECT symbol, bucket, {CANDLE_FIELDS}
        FROM (
            SELECT
                symbol, bucket, open, high, low, close, volume, trade_count,
                (turnover / nullif(volume, 0))::float8 AS vwap
            FROM candles_{interval}
            WHERE symbol = ANY (%(symbols)s) AND bucket >= %(first)s AND bucket <= %(last)s
        ) AS candle
    """
    for interval in LENGTHS
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
