"""SQL statements of the commands that move data, each above its function.

The connections are in autocommit mode, without a statement time-out. Times are microseconds since 1970.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import LiteralString, NamedTuple, TypeVar

from psycopg import errors
from psycopg.abc import Params
from psycopg.rows import AsyncRowFactory, class_row, scalar_row, tuple_row

from market_data.database.connection import Connection

T = TypeVar("T")

REFRESH_RETRY_SECONDS = 0.5
"""Pause before the next attempt if the database's own job is refreshing the same candles."""


async def _fetch(
    connection: Connection, row_factory: AsyncRowFactory[T], query: LiteralString, parameters: Params | None = None
) -> list[T]:
    cursor = connection.cursor(row_factory=row_factory)
    await cursor.execute(query, parameters)
    return await cursor.fetchall()


BOUNDS = """
    SELECT
        (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
        (extract(epoch FROM nullif(retention_horizon(), '-infinity')) * 1000000)::bigint
"""


async def read_bounds(connection: Connection) -> tuple[int, int | None]:
    """Return the time of the database, and the retention horizon (None: no retention)."""
    ((now, horizon),) = await _fetch(connection, tuple_row, BOUNDS)
    return now, horizon


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


async def read_earliest_trades(connection: Connection, symbols: Sequence[str]) -> dict[str, tuple[int, Decimal]]:
    """Return time and price of the earliest trade, by symbol, without symbols that have no trade."""
    cursor = await connection.execute(EARLIEST, (list(symbols),))
    return {symbol: (time, price) for symbol, time, price in await cursor.fetchall()}


NOT_STREAMED = "SET LOCAL market_data.stream = 'off'"


async def disable_streaming(connection: Connection) -> None:
    """Publish the trades of this transaction as reloads of their symbols, without an event for each trade."""
    await connection.execute(NOT_STREAMED)


COPY_TRADES = "COPY trades (time, symbol, price, volume) FROM STDIN (FORMAT binary)"


async def copy_trades(connection: Connection, data: bytes) -> None:
    """Store the data of a binary COPY.

    Raises:
        psycopg.errors.UniqueViolation: A trade exists already.
    """
    async with connection.cursor().copy(COPY_TRADES) as copy:
        await copy.write(data)


REFRESH_CANDLES = "CALL refresh_candles()"
# A failed CALL leaves it off.
RESET_SESSION = "SELECT set_config('enable_seqscan', 'on', false)"


async def refresh_candles(connection: Connection) -> None:
    """Refresh the candles of all stored trades, at every level."""
    while True:
        try:
            await connection.execute(REFRESH_CANDLES)
        except (errors.LockNotAvailable, errors.SerializationFailure, errors.DeadlockDetected):
            await connection.execute(RESET_SESSION)
            await asyncio.sleep(REFRESH_RETRY_SECONDS)
        else:
            return


# Chunks of trades and candles that a policy would convert.
ROWSTORE_CHUNKS = """
    SELECT format('%%I.%%I', chunk.chunk_schema, chunk.chunk_name)
    FROM timescaledb_information.jobs AS job
    JOIN _timescaledb_catalog.hypertable AS owner ON owner.id = (job.config->>'hypertable_id')::integer
    JOIN timescaledb_information.chunks AS chunk
        ON (chunk.hypertable_schema, chunk.hypertable_name) = (owner.schema_name, owner.table_name)
    WHERE job.proc_name = 'policy_compression' AND NOT chunk.is_compressed
        AND chunk.range_start >= to_timestamp(%s / 1000000.0)
        AND chunk.range_end <= now() - (job.config->>'compress_after')::interval
    ORDER BY chunk.range_start DESC
"""
CONVERT_CHUNK = "CALL convert_to_columnstore(%s::regclass, if_not_columnstore => true)"


async def convert_to_columnstore(connection: Connection, since: float) -> None:
    """Convert the chunks of trades and candles that start at `since` or later and are older than the policies say."""
    for chunk in await _fetch(connection, scalar_row, ROWSTORE_CHUNKS, (since,)):
        await connection.execute(CONVERT_CHUNK, (chunk,))


DISK_USAGE = """
    SELECT
        hypertable_size('trades'),
        coalesce(sum(before_compression_total_bytes), 0)::bigint,
        coalesce(sum(after_compression_total_bytes), 0)::bigint
    FROM hypertable_columnstore_stats('trades')
"""


async def read_disk_usage(connection: Connection) -> tuple[int, int, int]:
    """Return the bytes of trades and their index, and those of the columnstore's chunks before and after conversion."""
    ((total, before, after),) = await _fetch(connection, tuple_row, DISK_USAGE)
    return total, before, after


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
    """Load the data of a text COPY into a temporary table of this transaction."""
    await connection.execute(STAGE)
    async with connection.cursor().copy(COPY_STAGE) as copy:
        await copy.write(data)


# Symbols are never deleted, so they need no lock. Known ones are left out, because attempts to insert them cost more.
ADD_STAGED_SYMBOLS = """
    INSERT INTO symbols (symbol, name)
    SELECT DISTINCT symbol, symbol
    FROM imported
    WHERE NOT EXISTS (SELECT FROM symbols WHERE symbols.symbol = imported.symbol)
    ORDER BY symbol
    ON CONFLICT (symbol) DO NOTHING
    RETURNING symbol
"""


async def add_staged_symbols(connection: Connection) -> list[str]:
    """Add the staged symbols. Returns the new ones."""
    return await _fetch(connection, scalar_row, ADD_STAGED_SYMBOLS)


DELETE_UNSIGNED = """
    DELETE FROM imported
    USING symbols
    WHERE imported.price <= 0 AND symbols.symbol = imported.symbol AND NOT symbols.signed
    RETURNING imported.index, imported.symbol, imported.price
"""


async def delete_staged_unsigned(connection: Connection) -> list[tuple[int, str, Decimal]]:
    """Delete staged trades with a price of 0 or less of symbols that are not signed. Returns index, symbol and price."""
    return await _fetch(connection, tuple_row, DELETE_UNSIGNED)


# In a subquery the function is called once, not for each row.
DELETE_TOO_OLD = "DELETE FROM imported WHERE time < (SELECT retention_horizon()) RETURNING index"


async def delete_staged_too_old(connection: Connection) -> list[int]:
    """Delete staged trades beyond the retention horizon. Returns their indexes."""
    return await _fetch(connection, scalar_row, DELETE_TOO_OLD)


CLOCK = "SELECT clock_timestamp()"


async def read_clock(connection: Connection) -> datetime:
    """Return the time of the database."""
    (now,) = await _fetch(connection, scalar_row, CLOCK)
    return now


DELETE_LATER = "DELETE FROM imported WHERE time > %s RETURNING index, time"


async def delete_staged_later(connection: Connection, latest: datetime) -> list[tuple[int, datetime]]:
    """Delete staged trades that are later than a time. Returns their indexes and times."""
    return await _fetch(connection, tuple_row, DELETE_LATER, (latest,))


# A cancelled trade that was inserted again in psql still has its entry, so its row is rejected.
DELETE_CANCELLED = """
    DELETE FROM imported
    USING trade_changes AS cancel
    WHERE (imported.symbol, imported.time, imported.trade_id) = (cancel.symbol, cancel.time, cancel.trade_id)
        AND cancel.action = 'cancel'
    RETURNING imported.index
"""


async def delete_staged_cancelled(connection: Connection) -> list[int]:
    """Delete staged trades that were cancelled. Returns their indexes."""
    return await _fetch(connection, scalar_row, DELETE_CANCELLED)


# Ordered by index within a key, so that the first of two rows with the same key is stored. The limit would abort the import
# of trades that are in the columnstore already, because TimescaleDB decompresses the neighbours of each.
NO_DECOMPRESSION_LIMIT = "SET LOCAL timescaledb.max_tuples_decompressed_per_dml_transaction = 0"
STORE_STAGED = """
    INSERT INTO trades (symbol, time, trade_id, price, volume)
    SELECT symbol, time, trade_id, price, volume
    FROM imported
    ORDER BY symbol, time, trade_id, index
    ON CONFLICT (symbol, time, trade_id) DO NOTHING
"""


async def store_staged(connection: Connection) -> int:
    """Store the staged trades that do not exist yet. Returns their number."""
    await connection.execute(NO_DECOMPRESSION_LIMIT)
    return (await connection.execute(STORE_STAGED)).rowcount


# The range of times, passed as constants, excludes other chunks at plan time. The statistics let the planner choose between
# an index scan (few trades) and a scan of the range (many trades, which would be slow one by one in a columnstore).
ANALYZE_STAGED = "ANALYZE imported"
STAGED_RANGE = "SELECT min(time), max(time) FROM imported"
CONFLICTS = """
    SELECT imported.index
    FROM imported
    JOIN trades USING (symbol, time, trade_id)
    WHERE trades.time BETWEEN %s AND %s
        AND (trades.price <> imported.price OR trades.volume <> imported.volume)
"""


async def read_conflicts(connection: Connection) -> list[int]:
    """Return the indexes of staged trades that are stored with another price or volume."""
    await connection.execute(ANALYZE_STAGED)
    span = await (await connection.execute(STAGED_RANGE)).fetchone()
    return await _fetch(connection, scalar_row, CONFLICTS, span)


class Retention(NamedTuple):
    """Setting for trades, and its effect."""

    drop_after: timedelta | None
    """Age at which trades are dropped; None keeps them forever."""
    dropped_before: datetime | None
    earliest: datetime | None
    pins: list[str]
    """Names of pins, which keep all trades."""


# Symbol by symbol, because trades have no index by time alone.
RETENTION = """
    SELECT drop_after, nullif(dropped_before, '-infinity') AS dropped_before, (
        SELECT min(first.time)
        FROM symbols
        CROSS JOIN LATERAL (
            SELECT trades.time FROM trades WHERE trades.symbol = symbols.symbol ORDER BY trades.time LIMIT 1
        ) AS first
    ) AS earliest, ARRAY(SELECT name FROM pins ORDER BY version, name) AS pins
    FROM retention
"""


async def read_retention(connection: Connection) -> Retention:
    """Return the retention of trades."""
    (row,) = await _fetch(connection, class_row(Retention), RETENTION)
    return row


SET_RETENTION = "CALL set_retention(%s::interval)"


async def set_retention(connection: Connection, drop_after: timedelta | None) -> None:
    """Set the retention of trades: at least 8 days, or None for forever."""
    await connection.execute(SET_RETENTION, (drop_after,))
