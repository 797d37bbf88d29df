"""The newest trades, which the database keeps beside all others: read at one cost, however many those are."""

from collections.abc import Sequence
from decimal import Decimal

from msgspec import Raw
from psycopg.rows import scalar_row

from market_data.feed.random_walk import Listing
from market_data.queries.row_pages import Connection, Page

PRICE_JSON = """
    '{"symbol":"' || symbol
    || '","price":' || trim_scale(price)
    || ',"volume":' || trim_scale(volume)
    || ',"timestamp":"' || replace(to_char(time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000Z', 'Z')
    || '"}'
"""

LATEST_PRICE = f"SELECT {PRICE_JSON} FROM latest_trades WHERE symbol = %s"


async def read_latest_price(connection: Connection, symbol: str) -> Raw | None:
    """The newest trade of a symbol, as the JSON of a `LatestPrice`; None where it has none."""
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(LATEST_PRICE, (symbol,), prepare=True)
    json = await cursor.fetchone()
    return json and Raw(json)


LATEST_PRICES = f"SELECT string_agg({PRICE_JSON}, ',' ORDER BY symbol), count(*) FROM latest_trades"
LATEST_PRICES_OF = f"{LATEST_PRICES} WHERE symbol = ANY (%s)"


async def read_latest_prices(connection: Connection, symbols: tuple[str, ...] | None) -> Page:
    """The newest trade of each of these symbols, or of all: `LatestPrice`, in alphabetical order of those that have one."""
    cursor = connection.cursor()
    if symbols is None:
        await cursor.execute(LATEST_PRICES, prepare=True)
    else:
        await cursor.execute(LATEST_PRICES_OF, (list(symbols),), prepare=True)
    ((json, count),) = await cursor.fetchall()
    return Page(Raw(f"[{json or ''}]"), count, None, count)


LAST_PRICES = "SELECT symbol, price FROM latest_trades WHERE symbol = ANY (%s)"


async def read_last_prices(connection: Connection, listings: Sequence[Listing]) -> dict[str, Decimal]:
    """Return the exact price of the newest trade by symbol; symbols without trades are absent."""
    cursor = await connection.execute(LAST_PRICES, ([item.symbol for item in listings],))
    return dict(await cursor.fetchall())
