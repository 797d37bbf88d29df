"""Reads of `market-data verify`: the log, and the data that it is about."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import datetime
from typing import Any, LiteralString, NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import args_row, scalar_row

from market_data.queries.intervals import LENGTHS
from market_data.queries.log import LoggedEntry

Connection = AsyncConnection[Any]

BATCH = 4096

ENTRIES = """
    SELECT index, kind, version, entry
    FROM log_entries
    WHERE index >= %s
    ORDER BY index
    LIMIT %s
"""
ENTRIES_SINCE = """
    SELECT index, kind, version, entry
    FROM log_entries
    WHERE version > %s AND index > %s AND kind = %s
    ORDER BY index
    LIMIT %s
"""


async def read_all_entries(connection: Connection) -> AsyncGenerator[list[LoggedEntry]]:
    """Yield all entries, in batches."""
    cursor = connection.cursor(binary=True, row_factory=args_row(LoggedEntry))
    start = 0
    while True:
        await cursor.execute(ENTRIES, (start, BATCH))
        batch = await cursor.fetchall()
        if not batch:
            return
        yield batch
        start = batch[-1].number + 1


async def read_entries_since(
    connection: Connection, version: int, kind: str, batch: int
) -> AsyncGenerator[list[LoggedEntry]]:
    """Yield the entries of a kind about versions after one, in batches."""
    cursor = connection.cursor(binary=True, row_factory=args_row(LoggedEntry))
    last = -1
    while True:
        await cursor.execute(ENTRIES_SINCE, (version, last, kind, batch))
        entries = await cursor.fetchall()
        if not entries:
            return
        yield entries
        last = entries[-1].number


ENTRIES_OF = "SELECT version, entry FROM log_entries WHERE kind = 'commit' AND version = ANY (%s)"


async def read_entries_of(connection: Connection, versions: Sequence[int]) -> dict[int, bytes]:
    """Return the entries of commits by their versions, of those that are in the log."""
    cursor = connection.cursor(binary=True)
    await cursor.execute(ENTRIES_OF, (list(versions),))
    return dict(await cursor.fetchall())


NODES = "SELECT hash FROM log_nodes WHERE level = %s AND index >= %s ORDER BY index LIMIT %s"


async def read_node(connection: Connection, level: int, number: int) -> bytes | None:
    """Return the stored hash of a full tile; None if it is missing."""
    cursor = connection.cursor(binary=True, row_factory=scalar_row)
    await cursor.execute(NODES, (level, number, 1))
    return await cursor.fetchone()


CHECKPOINTS = "SELECT size, note FROM log_checkpoints ORDER BY size"


async def read_checkpoints(connection: Connection) -> list[tuple[int, str]]:
    """Return the sizes and notes of the checkpoints that are kept."""
    cursor = connection.cursor(binary=True)
    await cursor.execute(CHECKPOINTS)
    return [(size, note) for size, note in await cursor.fetchall()]


class Dropped(NamedTuple):
    """Trades that are not in the database any more."""

    dropped_before: datetime | None
    """None if retention has dropped none."""
    truncated_version: int


DROPPED = "SELECT nullif(dropped_before, '-infinity'), truncated_version FROM retention"


async def read_dropped(connection: Connection) -> Dropped:
    """Return which trades have been dropped."""
    cursor = connection.cursor(binary=True, row_factory=args_row(Dropped))
    await cursor.execute(DROPPED)
    (found,) = await cursor.fetchall()
    return found


class LoggedPart(NamedTuple):
    """Part of an entry of candles."""

    hash: bytes
    leaves: str


PARTS = "SELECT hash, coalesce(leaves, '') FROM log_parts WHERE entry = %s ORDER BY part"


async def read_parts(connection: Connection, entry: int) -> list[LoggedPart]:
    """Return the parts of an entry."""
    cursor = connection.cursor(binary=True, row_factory=args_row(LoggedPart))
    await cursor.execute(PARTS, (entry,))
    return await cursor.fetchall()


def _leaves(interval: LiteralString) -> LiteralString:
    return f"""
        SELECT json_build_array(
            'candle', %(symbol)s::text, '{interval}', (extract(epoch FROM start) * 1000000)::bigint,
            trim_scale(c.open)::text, trim_scale(c.high)::text, trim_scale(c.low)::text, trim_scale(c.close)::text,
            trim_scale(c.volume)::text, trim_scale(c.turnover)::text, coalesce(c.trade_count, 0)
        )::text
        FROM unnest(%(starts)s::timestamptz[]) WITH ORDINALITY AS wanted (start, place)
        LEFT JOIN candles_as_of('{interval}', %(version)s::bigint, %(symbol)s, %(first)s, %(after)s) AS c ON c.bucket = start
        ORDER BY place
    """


CANDLE_LEAVES: Mapping[str, LiteralString] = {interval: _leaves(interval) for interval in LENGTHS}


async def read_candle_leaves_as_of(
    connection: Connection, interval: str, version: int, symbol: str, starts: Sequence[datetime], after: datetime
) -> list[str]:
    """Return the leaves of candles that start at some times, the first of which is the earliest; `after` is later than all.

    Raises:
        psycopg.DatabaseError: Trades that it needs have been dropped (`queries.past.DROPPED`).
    """
    cursor = connection.cursor(binary=True, row_factory=scalar_row)
    parameters = {"version": version, "symbol": symbol, "starts": list(starts), "first": starts[0], "after": after}
    await cursor.execute(CANDLE_LEAVES[interval], parameters)
    return await cursor.fetchall()
