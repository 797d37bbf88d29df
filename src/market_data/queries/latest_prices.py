"""The newest trade of each symbol, which a trigger keeps in a table: reads cost the same, however many trades there are."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from psycopg.rows import args_row

from market_data.feed.random_walk import Listing
from market_data.models import LatestPrice
from market_data.queries.row_pages import Connection, exact_number

LATEST_PRICES = (
    "SELECT symbol, trim_scale(price)::text AS price, trim_scale(volume)::text AS volume, time FROM latest_trades"
)
LATEST_PRICE = f"{LATEST_PRICES} WHERE symbol = %s"
ALL_LATEST_PRICES = f"{LATEST_PRICES} ORDER BY symbol"
SOME_LATEST_PRICES = f"{LATEST_PRICES} WHERE symbol = ANY (%s) ORDER BY symbol"


def _latest_price(symbol: str, price: str, volume: str, time: datetime) -> LatestPrice:
    return LatestPrice(symbol, exact_number(price), exact_number(volume), time)


async def read_latest_price(connection: Connection, symbol: str) -> LatestPrice | None:
    """Return the newest trade of a symbol; None if it has no trade."""
    cursor = connection.cursor(row_factory=args_row(_latest_price))
    await cursor.execute(LATEST_PRICE, (symbol,), prepare=True)
    return await cursor.fetchone()


async def read_latest_prices(connection: Connection, symbols: tuple[str, ...] | None) -> list[LatestPrice]:
    """Return the newest trade of each of these symbols that has one, or of all symbols, in alphabetical order."""
    cursor = connection.cursor(row_factory=args_row(_latest_price))
    if symbols is None:
        await cursor.execute(ALL_LATEST_PRICES, prepare=True)
    else:
        await cursor.execute(SOME_LATEST_PRICES, (list(symbols),), prepare=True)
    return await cursor.fetchall()


LAST_PRICES = "SELECT symbol, price FROM latest_trades WHERE symbol = ANY (%s)"


async def read_last_prices(connection: Connection, listings: Sequence[Listing]) -> dict[str, Decimal]:
    """Return the exact price of the newest trade by symbol; symbols without trades are absent."""
    cursor = await connection.execute(LAST_PRICES, ([item.symbol for item in listings],))
    return dict(await cursor.fetchall())
