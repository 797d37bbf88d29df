"""Cancels and corrections of stored trades, and the audit trail of them, which a trigger writes."""

from datetime import datetime
from decimal import Decimal
from typing import Any, LiteralString, NamedTuple

from psycopg.errors import CheckViolation
from psycopg.rows import args_row, scalar_row

from market_data.models_writes import TradeChange, TradeValues
from market_data.queries.row_pages import Connection, exact_number
from market_data.queries.trades import TradeKey
from market_data.trade_validation import unsigned_price

CHANGE_COLUMNS: LiteralString = """
    id, changed_at, action, symbol, time, trade_id, trim_scale(price_before)::text, trim_scale(volume_before)::text,
    trim_scale(price_after)::text, trim_scale(volume_after)::text, actor, reason, database_role
"""


def _change(*columns: Any) -> TradeChange:
    *start, price_before, volume_before, price_after, volume_after, actor, reason, role = columns
    before = _values(price_before, volume_before)
    after = None if price_after is None else _values(price_after, volume_after)
    return TradeChange(*start, before=before, after=after, actor=actor, reason=reason, database_role=role)


def _values(price: str, volume: str) -> TradeValues:
    return TradeValues(exact_number(price), exact_number(volume))


LAST_CHANGE: LiteralString = f"""
    SELECT {CHANGE_COLUMNS}
    FROM trade_changes
    WHERE symbol = %s AND time = %s AND trade_id = %s::bigint AND action <> 'truncate'
    ORDER BY id DESC
    LIMIT 1
"""


async def read_last_change(connection: Connection, trade: TradeKey) -> TradeChange | None:
    """Return the last change of a trade; None if it was never changed."""
    cursor = connection.cursor(row_factory=args_row(_change))
    await cursor.execute(LAST_CHANGE, trade)
    return await cursor.fetchone()


# TimescaleDB's limit would end changes of trades in the columnstore.
SIGN = """
    SELECT
        set_config('market_data.actor', %s, true),
        set_config('market_data.reason', %s, true),
        set_config('timescaledb.max_tuples_decompressed_per_dml_transaction', '0', true)
"""
# In the columnstore of the embedded engine, TimescaleDB 2.23 takes a smaller integer than the column's for an address: it
# finds nothing, or crashes. Hence the casts. Not prepared, so that only one chunk is planned for.
CANCEL_TRADE = """
    DELETE FROM trades
    WHERE symbol = %s AND time = %s AND trade_id = %s::bigint
"""


class ChangeResult(NamedTuple):
    """The last change of a trade, None if there is none."""

    change: TradeChange | None
    by_this: bool
    """True if this call made the change."""


async def delete_trade(connection: Connection, trade: TradeKey, actor: str, reason: str) -> ChangeResult:
    """Delete a trade, with actor and reason in the audit trail."""
    async with connection.transaction():
        await connection.execute(SIGN, (actor, reason))
        cancelled = (await connection.execute(CANCEL_TRADE, trade, prepare=False)).rowcount
        return ChangeResult(await read_last_change(connection, trade), cancelled > 0)


CORRECT_TRADE = """
    UPDATE trades
    SET price = coalesce(%(price)s::numeric, price), volume = coalesce(%(volume)s::numeric, volume)
    WHERE symbol = %(symbol)s AND time = %(time)s AND trade_id = %(trade_id)s::bigint
        AND (price <> coalesce(%(price)s::numeric, price) OR volume <> coalesce(%(volume)s::numeric, volume))
"""


async def update_trade(
    connection: Connection, trade: TradeKey, price: Decimal | None, volume: Decimal | None, actor: str, reason: str
) -> ChangeResult:
    """Change the price, the volume or both (None keeps a value), with actor and reason in the audit trail.

    Raises:
        InvalidTrade: The price is 0 or less, and the symbol is not signed.
    """
    values = {**trade._asdict(), "price": price, "volume": volume}
    try:
        async with connection.transaction():
            await connection.execute(SIGN, (actor, reason))
            corrected = (await connection.execute(CORRECT_TRADE, values, prepare=False)).rowcount
            return ChangeResult(await read_last_change(connection, trade), corrected > 0)
    except CheckViolation as error:
        if price is None or error.diag.constraint_name != "trades_price_positive":
            raise
        raise unsigned_price(trade.symbol, price) from None


TRADE_VALUES = """
    SELECT trim_scale(price)::text, trim_scale(volume)::text
    FROM trades
    WHERE symbol = %s AND time = %s AND trade_id = %s::bigint
"""


async def read_unchanged_trade(connection: Connection, trade: TradeKey) -> TradeChange | None:
    """Return a trade as a correction to the values that it has; None if there is no such trade."""
    cursor = connection.cursor(row_factory=args_row(_values))
    await cursor.execute(TRADE_VALUES, trade, prepare=False)
    values = await cursor.fetchone()
    return values and TradeChange(None, None, "correct", *trade, values, values, None, None, None)


IS_BEFORE_HORIZON = "SELECT %s < retention_horizon()"


async def is_before_horizon(connection: Connection, time: datetime) -> bool:
    """Return True if trades of a time may have been dropped by retention."""
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(IS_BEFORE_HORIZON, (time,))
    return bool(await cursor.fetchone())


TRADE_CHANGES: LiteralString = f"""
    SELECT {CHANGE_COLUMNS}
    FROM trade_changes
    WHERE (%(symbol)s::text IS NULL OR symbol = %(symbol)s) AND id < coalesce(%(before)s, 9223372036854775807)
    ORDER BY id DESC
    LIMIT %(limit)s
"""


async def read_trade_changes(
    connection: Connection, symbol: str | None, before: int | None, limit: int
) -> list[TradeChange]:
    """Return changes of trades of a symbol, or of all, newest first; with `before`, those that follow that id."""
    parameters: dict[str, Any] = {"symbol": symbol, "before": before, "limit": limit}
    cursor = connection.cursor(row_factory=args_row(_change))
    await cursor.execute(TRADE_CHANGES, parameters, prepare=False)
    return await cursor.fetchall()


CHANGES_OF_RANGE: LiteralString = f"""
    SELECT {CHANGE_COLUMNS}
    FROM trade_changes
    WHERE symbol = %s AND time >= %s AND time < %s AND action <> 'truncate'
    ORDER BY time DESC, trade_id DESC, id DESC
    LIMIT %s
"""


async def read_changes_of_range(
    connection: Connection, symbol: str, start: datetime, end: datetime, limit: int
) -> list[TradeChange]:
    """Return corrections and cancellations of trades of a symbol in a half-open range, newest trade first."""
    cursor = connection.cursor(row_factory=args_row(_change))
    await cursor.execute(CHANGES_OF_RANGE, (symbol, start, end, limit), prepare=False)
    return await cursor.fetchall()
