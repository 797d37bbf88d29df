"""The statements of the commands, each above the short function that runs it, as in `queries`.

The functions take a psycopg connection in autocommit mode without a statement time-out. Times are microseconds since 1970.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from psycopg import AsyncConnection, errors
from psycopg.rows import class_row, scalar_row

Connection = AsyncConnection[Any]

REFRESH_AGAIN_SECONDS = 0.5
"""Until the next attempt, where the database's own job refreshes the same candles at the moment."""


class Bounds(NamedTuple):
    """What time it is for the database, and which trades are too old for it (None: none is)."""

    now: int
    horizon: int | None


BOUNDS = """
    SELECT
        (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now,
        (extract(epoch FROM nullif(retention_horizon(), '-infinity')) * 1000000)::bigint AS horizon
"""


async def bounds(connection: Connection) -> Bounds:
    """The bounds of what may be stored now."""
    cursor = connection.cursor(row_factory=class_row(Bounds))
    await cursor.execute(BOUNDS)
    (row,) = await cursor.fetchall()
    return row


EARLIEST = """
    SELECT earliest.symbol, (extract(epoch FROM earliest.time) * 1000000)::bigint, earliest.price
    FROM unnest(%s::text[]) AS listing (symbol)
    CROSS JOIN LATERAL (
        SELECT trades.symbol, trades.time, trades.price
        FROM trades
        WHERE trades.symbol = listing.symbol
        ORDER BY trades.time, trades.trade_id
        LIMIT 1
    ) AS earliest
"""


async def earliest_trades(connection: Connection, symbols: Sequence[str]) -> dict[str, tuple[int, Decimal]]:
    """Time and price of each symbol's earliest trade; nothing of symbols without one."""
    cursor = await connection.execute(EARLIEST, (list(symbols),))
    return {symbol: (time, price) for symbol, time, price in await cursor.fetchall()}


NOT_STREAMED = "SET LOCAL market_data.stream = 'off'"


async def do_not_stream(connection: Connection) -> None:
    """Keep the trades of this transaction from the streams, which tell of what happens, not of what has happened once."""
    await connection.execute(NOT_STREAMED)


COPY_TRADES = "COPY trades (time, symbol, price, volume) FROM STDIN (FORMAT binary)"


async def copy_trades(connection: Connection, data: bytes) -> None:
    """Store the data of a binary COPY. None of the trades may be there yet."""
    async with connection.cursor().copy(COPY_TRADES) as copy:
        await copy.write(data)


REFRESH_CANDLES = "CALL refresh_candles()"
# What a CALL that failed leaves behind.
LET_OTHERS_REFRESH = "SELECT pg_advisory_unlock_all(), set_config('enable_seqscan', 'on', false)"


async def refresh_candles(connection: Connection) -> None:
    """Bring the candles of all trades stored before up to date, at every level."""
    while True:
        try:
            await connection.execute(REFRESH_CANDLES)
        except (errors.LockNotAvailable, errors.SerializationFailure, errors.DeadlockDetected):
            await connection.execute(LET_OTHERS_REFRESH)
            await asyncio.sleep(REFRESH_AGAIN_SECONDS)
        else:
            return


# As old as the columnstore policy has it.
ROWSTORE_CHUNKS = """
    SELECT format('%%I.%%I', chunk_schema, chunk_name)
    FROM timescaledb_information.chunks
    WHERE hypertable_schema = 'public' AND hypertable_name = 'trades' AND NOT is_compressed
        AND range_start >= to_timestamp(%s / 1000000.0) AND range_end <= now() - INTERVAL '7 days'
    ORDER BY range_start DESC
"""
CONVERT_CHUNK = "CALL convert_to_columnstore(%s::regclass, if_not_columnstore => true)"


async def convert_to_columnstore(connection: Connection, since: int) -> None:
    """Convert the chunks of trades that begin at `since` or later and are old enough."""
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(ROWSTORE_CHUNKS, (since,))
    for chunk in await cursor.fetchall():
        await connection.execute(CONVERT_CHUNK, (chunk,))


class Disk(NamedTuple):
    """Bytes that trades and their index take, and of those in the columnstore what they took before and take now."""

    total: int
    before: int
    after: int


DISK = """
    SELECT
        hypertable_size('trades') AS total,
        coalesce(sum(before_compression_total_bytes), 0)::bigint AS before,
        coalesce(sum(after_compression_total_bytes), 0)::bigint AS after
    FROM hypertable_columnstore_stats('trades')
"""


async def disk(connection: Connection) -> Disk:
    """What trades take on disk."""
    cursor = connection.cursor(row_factory=class_row(Disk))
    await cursor.execute(DISK)
    (row,) = await cursor.fetchall()
    return row


STAGE = """
    CREATE TEMPORARY TABLE imported (
        index integer NOT NULL,
        symbol text NOT NULL,
        time timestamptz NOT NULL,
        trade_id bigint NOT NULL,
        price numeric NOT NULL,
        volume numeric NOT NULL
    )
    ON COMMIT DROP
"""
COPY_STAGE = "COPY imported (index, symbol, time, trade_id, price, volume) FROM STDIN"


async def stage(connection: Connection, data: bytes) -> None:
    """Put the data of a text COPY into a table of this transaction."""
    await connection.execute(STAGE)
    async with connection.cursor().copy(COPY_STAGE) as copy:
        await copy.write(data)


# The symbols need no lock: nobody deletes one.
ADD_STAGED_SYMBOLS = """
    INSERT INTO symbols (symbol, name)
    SELECT DISTINCT symbol, symbol FROM imported ORDER BY symbol
    ON CONFLICT (symbol) DO NOTHING
    RETURNING symbol
"""


async def add_staged_symbols(connection: Connection) -> list[str]:
    """Make all staged symbols known; those that were not."""
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(ADD_STAGED_SYMBOLS)
    return await cursor.fetchall()


# In a subquery the function is called once, not for each row.
DROP_TOO_OLD = "DELETE FROM imported WHERE time < (SELECT retention_horizon()) RETURNING index"


async def drop_too_old(connection: Connection) -> list[int]:
    """Take staged trades away that are beyond the retention horizon; their indexes."""
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(DROP_TOO_OLD)
    return await cursor.fetchall()


# A trade that is restored by hand in psql leaves no entry behind: its row of the file is refused all the same.
DROP_CANCELLED = """
    DELETE FROM imported
    USING trade_changes AS cancel
    WHERE (imported.symbol, imported.time, imported.trade_id) = (cancel.symbol, cancel.time, cancel.trade_id)
        AND cancel.action = 'cancel'
    RETURNING imported.index
"""


async def drop_cancelled(connection: Connection) -> list[int]:
    """Take staged trades away that have been cancelled; their indexes."""
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(DROP_CANCELLED)
    return await cursor.fetchall()


# By file order within a key, so that the first of two such rows is stored. The limit would end the import of old trades
# that are there already into the columnstore, for each of which the neighbours are unpacked.
NO_UNPACKING_LIMIT = "SET LOCAL timescaledb.max_tuples_decompressed_per_dml_transaction = 0"
STORE_STAGED = """
    INSERT INTO trades (symbol, time, trade_id, price, volume)
    SELECT symbol, time, trade_id, price, volume
    FROM imported
    ORDER BY symbol, time, trade_id, index
    ON CONFLICT (symbol, time, trade_id) DO NOTHING
"""


async def store_staged(connection: Connection) -> int:
    """Store the staged trades that are not there yet; their number."""
    await connection.execute(NO_UNPACKING_LIMIT)
    return (await connection.execute(STORE_STAGED)).rowcount


# The range, as constants of the second statement, keeps it from looking at all chunks; the statistics keep it from reading
# the range for a few trades, and from looking trade by trade into a columnstore for many.
ANALYZE_STAGED = "ANALYZE imported"
STAGED_RANGE = "SELECT min(time), max(time) FROM imported"
CONFLICTS = """
    SELECT imported.index
    FROM imported
    JOIN trades USING (symbol, time, trade_id)
    WHERE trades.time BETWEEN %s AND %s
        AND (trades.price <> imported.price OR trades.volume <> imported.volume)
"""


async def conflicts(connection: Connection) -> list[int]:
    """Indexes of staged trades that are stored with another price or volume."""
    await connection.execute(ANALYZE_STAGED)
    span = await (await connection.execute(STAGED_RANGE)).fetchone()
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(CONFLICTS, span)
    return await cursor.fetchall()


class Retention(NamedTuple):
    """How long trades are kept (None: for ever), before when they have been dropped, and the earliest one that is there."""

    drop_after: timedelta | None
    dropped_before: datetime | None
    earliest: datetime | None


# Symbol by symbol: the trades have no index by time alone.
RETENTION = """
    SELECT drop_after, nullif(dropped_before, '-infinity') AS dropped_before, (
        SELECT min(first.time)
        FROM symbols
        CROSS JOIN LATERAL (
            SELECT trades.time FROM trades WHERE trades.symbol = symbols.symbol ORDER BY trades.time LIMIT 1
        ) AS first
    ) AS earliest
    FROM retention
"""


async def retention(connection: Connection) -> Retention:
    """The setting, and what it has done."""
    cursor = connection.cursor(row_factory=class_row(Retention))
    await cursor.execute(RETENTION)
    (row,) = await cursor.fetchall()
    return row


SET_RETENTION = "CALL set_retention(%s::interval)"


async def set_retention(connection: Connection, drop_after: timedelta | None) -> None:
    """From now on keep trades for as long, 8 days or more, or (None) for ever."""
    await connection.execute(SET_RETENTION, (drop_after,))
