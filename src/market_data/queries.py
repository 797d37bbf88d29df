"""Every statement that the service runs on its tables, each above the short function that runs it.

The functions take a psycopg connection in autocommit mode. Ranges are half-open, symbols in upper case, times aware.
Errors are psycopg's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Generic, LiteralString, TypeVar

import msgspec
from msgspec import Raw
from psycopg import AsyncConnection
from psycopg.rows import args_row, scalar_row

from market_data.feed import FeedTrade, Listing
from market_data.models import Candle, Symbol, Trade

Connection = AsyncConnection[Any]
Row = TypeVar("Row")

INTERVALS = ("1m",)
"""The candles that can be asked for."""

SYMBOLS = """
    SELECT symbol, name, created_at
    FROM symbols
    ORDER BY symbol
"""


async def symbols(connection: Connection) -> list[Symbol]:
    """All symbols, in alphabetical order."""
    cursor = connection.cursor(binary=True, row_factory=args_row(Symbol))
    await cursor.execute(SYMBOLS)
    return await cursor.fetchall()


SYMBOL_EXISTS = "SELECT EXISTS (SELECT FROM symbols WHERE symbol = %s)"


async def symbol_exists(connection: Connection, symbol: str) -> bool:
    """Whether a symbol is known."""
    cursor = connection.cursor(binary=True, row_factory=scalar_row)
    await cursor.execute(SYMBOL_EXISTS, (symbol,))
    return bool(await cursor.fetchone())


# The JSON of the three reads below is made here, in the shortest form of each number, and passed on as it is. On a server,
# against rows turned into structs and encoded, 1,440 candles cost the service a third of the time and the database a sixth
# more; and 10,000 block its event loop for 6 ms, not 18. Symbols need no escaping: their form is checked by the table.

LATEST_PRICE = """
    SELECT
        '{"symbol":"' || symbol
        || '","price":' || trim_scale(price)
        || ',"volume":' || trim_scale(volume)
        || ',"timestamp":"' || replace(to_char(time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000Z', 'Z')
        || '"}'
    FROM trades
    WHERE symbol = %s
    ORDER BY time DESC, trade_id DESC
    LIMIT 1
"""


async def latest_price(connection: Connection, symbol: str) -> Raw | None:
    """The newest trade of a symbol, as the JSON of a `LatestPrice`; None where it has none."""
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(LATEST_PRICE, (symbol,), prepare=True)
    json = await cursor.fetchone()
    return json and Raw(json)


@dataclass(frozen=True)
class Page(Generic[Row]):
    """Rows as a JSON array, their number, and the last of them where others follow."""

    json: Raw
    count: int
    last: Row | None


def _page(json: str | None, count: int, limit: int, kind: type[Row]) -> Page[Row]:
    """The page in a statement's answer, which has one row more than the limit where others follow."""
    if json is None or count <= limit:
        return Page(Raw(f"[{json or ''}]"), count, None)
    json = json.rpartition(",{")[0]
    return Page(Raw(f"[{json}]"), limit, msgspec.json.decode(json[json.rindex("{") :], type=kind))


TRADE_JSON = """
    '{"symbol":"' || symbol
    || '","price":' || trim_scale(price)
    || ',"volume":' || trim_scale(volume)
    || ',"timestamp":"' || replace(to_char(time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000Z', 'Z')
    || '","trade_id":' || trade_id || '}'
"""
TRADES = f"""
    SELECT string_agg(json, ',' ORDER BY time DESC, trade_id DESC), count(*)
    FROM (
        SELECT time, trade_id, {TRADE_JSON} AS json
        FROM trades
        WHERE symbol = %s AND time >= %s AND time < %s
        ORDER BY time DESC, trade_id DESC
        LIMIT %s + 1
    ) AS page
"""
# `time <= last` stands beside the comparison of rows, which alone would not exclude any chunk.
TRADES_BELOW = f"""
    SELECT string_agg(json, ',' ORDER BY time DESC, trade_id DESC), count(*)
    FROM (
        SELECT time, trade_id, {TRADE_JSON} AS json
        FROM trades
        WHERE symbol = %s AND time >= %s AND time <= %s AND (time, trade_id) < (%s, %s)
        ORDER BY time DESC, trade_id DESC
        LIMIT %s + 1
    ) AS page
"""


async def trades(
    connection: Connection,
    symbol: str,
    start: datetime,
    end: datetime,
    limit: int,
    below: tuple[datetime, int] | None = None,
) -> Page[Trade]:
    """Trades of a symbol in a range, newest first; with `below`, those that come after that (time, trade_id)."""
    cursor = connection.cursor()
    if below is None:
        await cursor.execute(TRADES, (symbol, start, end, limit), prepare=True)
    else:
        await cursor.execute(TRADES_BELOW, (symbol, start, below[0], *below, limit), prepare=True)
    ((json, count),) = await cursor.fetchall()
    return _page(json, count, limit, Trade)


CANDLES: Mapping[str, LiteralString] = {
    interval: f"""
        SELECT string_agg(json, ',' ORDER BY bucket), count(*)
        FROM (
            SELECT
                bucket,
                '{{"timestamp":"' || to_char(bucket AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
                || '","open":' || trim_scale(open)
                || ',"high":' || trim_scale(high)
                || ',"low":' || trim_scale(low)
                || ',"close":' || trim_scale(close)
                || ',"volume":' || trim_scale(volume)
                || ',"vwap":' || coalesce((turnover / nullif(volume, 0))::float8::text, 'null')
                || ',"trade_count":' || trade_count || '}}' AS json
            FROM candles_{interval}
            WHERE symbol = %s AND bucket >= %s AND bucket < %s
            ORDER BY bucket
            LIMIT %s + 1
        ) AS page
    """
    for interval in INTERVALS
}


async def candles(
    connection: Connection, symbol: str, interval: str, start: datetime, end: datetime, limit: int
) -> Page[Candle]:
    """Candles of a symbol whose buckets start in a range, oldest first."""
    cursor = connection.cursor()
    await cursor.execute(CANDLES[interval], (symbol, start, end, limit), prepare=True)
    ((json, count),) = await cursor.fetchall()
    return _page(json, count, limit, Candle)


# Counts a few rows exactly and stops; beyond, the planner's statistics, which cost nothing and follow each ANALYZE.
TRADE_COUNT = """
    SELECT CASE
        WHEN counted.trades <= 10000 THEN counted.trades
        ELSE greatest(counted.trades, approximate_row_count('trades'))
    END
    FROM (SELECT count(*) AS trades FROM (SELECT FROM trades LIMIT 10001) AS few) AS counted
"""
# By symbol, for the only index begins with it: max(time) over the table would read its newest chunks whole.
# And first of all only lately, for a symbol without a trade is looked up in every chunk.
NEWEST_TRADE = """
    SELECT max(newest.time)
    FROM symbols
    CROSS JOIN LATERAL (
        SELECT trades.time
        FROM trades
        WHERE trades.symbol = symbols.symbol AND trades.time > %s
        ORDER BY trades.time DESC, trades.trade_id DESC
        LIMIT 1
    ) AS newest
"""


LATELY = timedelta(days=14)
LONG_AGO = datetime.min.replace(tzinfo=UTC)


async def stored(connection: Connection) -> tuple[int, datetime | None]:
    """Trades stored (exact up to 10,000, beyond that an estimate that is never lower), and time of the newest."""
    cursor = connection.cursor(binary=True, row_factory=scalar_row)
    await cursor.execute(TRADE_COUNT)
    count = await cursor.fetchone() or 0
    for since in (datetime.now(UTC) - LATELY, LONG_AGO):
        await cursor.execute(NEWEST_TRADE, (since,))
        if newest := await cursor.fetchone():
            return count, newest
    return count, None


ADD_SYMBOLS = """
    INSERT INTO symbols (symbol, name)
    SELECT symbol, name FROM unnest(%s::text[], %s::text[]) AS listing (symbol, name)
    ON CONFLICT (symbol) DO NOTHING
"""


async def add_symbols(connection: Connection, listings: Sequence[Listing]) -> None:
    """Make the feed's symbols known; those that are keep their names."""
    await connection.execute(ADD_SYMBOLS, ([item.symbol for item in listings], [item.name for item in listings]))


LAST_PRICES = """
    SELECT symbol, price
    FROM unnest(%s::text[]) AS listing (symbol)
    CROSS JOIN LATERAL (
        SELECT trades.price
        FROM trades
        WHERE trades.symbol = listing.symbol
        ORDER BY trades.time DESC, trades.trade_id DESC
        LIMIT 1
    ) AS newest
"""


async def last_prices(connection: Connection, listings: Sequence[Listing]) -> dict[str, Decimal]:
    """Price of the newest trade, by symbol; without the symbols that have none."""
    cursor = await connection.execute(LAST_PRICES, ([item.symbol for item in listings],))
    return dict(await cursor.fetchall())


FEED_LEASE = "feed"

TAKE_LEASE = """
    INSERT INTO leases AS lease (name, holder, expires_at)
    VALUES (%(name)s, %(holder)s, clock_timestamp() + make_interval(secs => %(seconds)s))
    ON CONFLICT (name) DO UPDATE
    SET holder = excluded.holder, expires_at = excluded.expires_at
    WHERE lease.holder = excluded.holder OR lease.expires_at < clock_timestamp()
    RETURNING true
"""


async def take_lease(connection: Connection, name: str, holder: str, seconds: float) -> bool:
    """Take a lease that is free, or keep one's own: true where the holder now has it for so many seconds."""
    cursor = await connection.execute(TAKE_LEASE, {"name": name, "holder": holder, "seconds": seconds})
    return await cursor.fetchone() is not None


END_LEASE = "DELETE FROM leases WHERE name = %s AND holder = %s"


async def end_lease(connection: Connection, name: str, holder: str) -> None:
    """Give one's own lease back, so that another may take it at once."""
    await connection.execute(END_LEASE, (name, holder))


# One statement, so that trades are stored by the one who has the lease or not at all. Stored twice (after a connection
# lost between the commit and its answer) they are there once.
STORE_FEED_TRADES = """
    WITH mine AS (
        UPDATE leases
        SET expires_at = clock_timestamp() + make_interval(secs => %s)
        WHERE name = %s AND holder = %s
        RETURNING true
    ), stored AS (
        INSERT INTO trades (time, symbol, trade_id, price, volume)
        SELECT time, symbol, trade_id, price, volume
        FROM unnest(%s::timestamptz[], %s::text[], %s::bigint[], %s::numeric[], %s::numeric[])
            AS trade (time, symbol, trade_id, price, volume)
        WHERE EXISTS (SELECT FROM mine)
        ON CONFLICT (symbol, time, trade_id) DO NOTHING
    )
    SELECT EXISTS (SELECT FROM mine)
"""


async def store_feed_trades(connection: Connection, holder: str, seconds: float, batch: Sequence[FeedTrade]) -> bool:
    """Store a batch and extend the feed's lease; false, and nothing stored, where another has the lease by now."""
    columns = [list(column) for column in zip(*batch, strict=True)]
    cursor = await connection.execute(STORE_FEED_TRADES, (seconds, FEED_LEASE, holder, *columns))
    row = await cursor.fetchone()
    return bool(row and row[0])
