"""What changes trades that are stored, and the trail of it, which a trigger of the database writes.

An answer's row is the JSON of a `TradeChange`, without its last brace where more is to follow.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString, NamedTuple

from msgspec import Raw
from psycopg.rows import class_row, scalar_row

from market_data.queries.row_pages import Connection

TIME_JSON: LiteralString = (
    "'\"' || replace(to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), '.000000Z', 'Z') || '\"'"
)
VALUES_JSON: LiteralString = "'{{\"price\":' || trim_scale(price_{0}) || ',\"volume\":' || trim_scale(volume_{0}) || '}}'"
BEFORE_JSON: LiteralString = VALUES_JSON.format("before")
AFTER_JSON: LiteralString = VALUES_JSON.format("after")
CHANGED_AT_JSON: LiteralString = TIME_JSON.format("changed_at")
TRADE_TIME_JSON: LiteralString = TIME_JSON.format("time")
CHANGE_JSON: LiteralString = f"""
    '{{"id":' || id
    || ',"changed_at":' || {CHANGED_AT_JSON}
    || ',"action":"' || action
    || '","symbol":"' || symbol
    || '","timestamp":' || {TRADE_TIME_JSON}
    || ',"trade_id":' || trade_id
    || ',"before":' || {BEFORE_JSON}
    || ',"after":' || coalesce({AFTER_JSON}, 'null')
    || ',"actor":' || to_json(actor)
    || ',"reason":' || coalesce(to_json(reason)::text, 'null')
"""


class TradeIdentity(NamedTuple):
    """What a trade is known by."""

    symbol: str
    time: str
    """In UTC, as `isoformat` writes it."""
    trade_id: int


class Change(NamedTuple):
    """The last change of a trade."""

    action: str
    changed_at: datetime
    json: str
    """Without its last brace."""


LAST_CHANGE: LiteralString = f"""
    SELECT action, changed_at, {CHANGE_JSON} AS json
    FROM trade_changes
    WHERE symbol = %s AND time = %s::timestamptz AND trade_id = %s::bigint
    ORDER BY id DESC
    LIMIT 1
"""


async def last_change(connection: Connection, trade: TradeIdentity) -> Change | None:
    """The last change of a trade, where it was ever changed."""
    cursor = connection.cursor(row_factory=class_row(Change))
    await cursor.execute(LAST_CHANGE, trade)
    return await cursor.fetchone()


# The limit would end changes of what lies in the columnstore.
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
    WHERE symbol = %s AND time = %s::timestamptz AND trade_id = %s::bigint
"""


class ChangeResult(NamedTuple):
    """The last change of a trade (None: there is none), and whether the call has made it."""

    change: Change | None
    by_this: bool


async def delete_trade(connection: Connection, trade: TradeIdentity, actor: str, reason: str) -> ChangeResult:
    """Delete a trade, signed."""
    async with connection.transaction():
        await connection.execute(SIGN, (actor, reason))
        cancelled = (await connection.execute(CANCEL_TRADE, trade, prepare=False)).rowcount
        return ChangeResult(await last_change(connection, trade), cancelled > 0)


CORRECT_TRADE = """
    UPDATE trades
    SET price = coalesce(%(price)s::numeric, price), volume = coalesce(%(volume)s::numeric, volume)
    WHERE symbol = %(symbol)s AND time = %(time)s::timestamptz AND trade_id = %(trade_id)s::bigint
        AND (price <> coalesce(%(price)s::numeric, price) OR volume <> coalesce(%(volume)s::numeric, volume))
"""


async def update_trade(
    connection: Connection, trade: TradeIdentity, price: str | None, volume: str | None, actor: str, reason: str
) -> ChangeResult:
    """Give a trade another price or volume, signed; None stands for what it has."""
    async with connection.transaction():
        await connection.execute(SIGN, (actor, reason))
        values = {**trade._asdict(), "price": price, "volume": volume}
        corrected = (await connection.execute(CORRECT_TRADE, values, prepare=False)).rowcount
        return ChangeResult(await last_change(connection, trade), corrected > 0)


# As of a trade that was corrected to what it says.
UNCHANGED_TRADE: LiteralString = f"""
    SELECT {CHANGE_JSON} AS json
    FROM (
        SELECT
            'null' AS id, NULL::timestamptz AS changed_at, 'correct' AS action, symbol, time, trade_id,
            price AS price_before, volume AS volume_before, price AS price_after, volume AS volume_after,
            NULL::text AS actor, NULL::text AS reason
        FROM trades
        WHERE symbol = %s AND time = %s::timestamptz AND trade_id = %s::bigint
    ) AS trade
""".replace(f"|| {CHANGED_AT_JSON}", "|| 'null'").replace("|| to_json(actor)", "|| 'null'")


async def read_unchanged_trade(connection: Connection, trade: TradeIdentity) -> str | None:
    """A trade in the form of a change that has not been made; None where there is no such trade."""
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(UNCHANGED_TRADE, trade, prepare=False)
    return await cursor.fetchone()


TOO_OLD = "SELECT %s::timestamptz < retention_horizon()"


async def is_beyond_retention(connection: Connection, time: str) -> bool:
    """Whether trades of a time may have been dropped."""
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(TOO_OLD, (time,))
    return bool(await cursor.fetchone())


TRADE_CHANGES: LiteralString = f"""
    SELECT
        string_agg({CHANGE_JSON} || '}}', ',' ORDER BY id DESC) FILTER (WHERE number <= %(limit)s),
        least(count(*), %(limit)s::bigint),
        CASE WHEN count(*) > %(limit)s THEN min(id) FILTER (WHERE number <= %(limit)s) END
    FROM (
        SELECT *, row_number() OVER (ORDER BY id DESC) AS number
        FROM trade_changes
        WHERE (%(symbol)s::text IS NULL OR symbol = %(symbol)s) AND id < coalesce(%(before)s, 9223372036854775807)
        ORDER BY id DESC
        LIMIT %(limit)s + 1
    ) AS page
"""


@dataclass(frozen=True)
class ChangePage:
    """Changes as a JSON array, their number, and the id of the last of them where others follow."""

    rows: Raw
    count: int
    last: int | None


async def read_trade_changes(connection: Connection, symbol: str | None, before: int | None, limit: int) -> ChangePage:
    """Changes of trades of a symbol or of all, the newest first; with `before`, those that follow that id."""
    parameters = {"symbol": symbol, "before": before, "limit": limit}
    cursor = await connection.execute(TRADE_CHANGES, parameters, prepare=False)
    ((json, count, last),) = await cursor.fetchall()
    return ChangePage(Raw(f"[{json or ''}]"), count, last)
