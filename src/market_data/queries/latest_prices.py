"""The newest trade of each symbol, which a trigger keeps in a table: reads cost the same, however many trades there are."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import LiteralString, NamedTuple

from psycopg.rows import args_row

from market_data.feed.random_walk import Listing
from market_data.models import LatestPrice
from market_data.queries.adjustment import SETTLED_CLOSES, Adjustment, adjusted_latest_of
from market_data.queries.past import VERSION, AsOf, parameters_of
from market_data.queries.prepared import fetch
from market_data.queries.row_pages import Connection, exact_number

COLUMNS = "symbol, trim_scale(price)::text AS price, trim_scale(volume)::text AS volume, time"
LATEST_PRICES = f"SELECT {COLUMNS} FROM latest_trades"
# The symbols are one text, because psycopg takes 4 µs for a list. They contain no comma.
EACH_LATEST_PRICE = f"SELECT {VERSION}, {COLUMNS} FROM latest_trades WHERE symbol = ANY (string_to_array(%(symbols)s, ','))"
# The version is in the first row, which has no symbol: there may be no other.
VERSION_ROW = f"SELECT {VERSION} AS version, NULL AS symbol, NULL AS price, NULL AS volume, NULL AS time"
# Sorted, not read in the order of the index, from which rows drift away as trades arrive while a long transaction runs: of
# 5,000 rows, an index scan then visits 1,684 pages instead of 100.
ALL_LATEST_PRICES = f'{VERSION_ROW} UNION ALL (SELECT NULL, {COLUMNS} FROM latest_trades ORDER BY symbol COLLATE "C")'
SOME_LATEST_PRICES = (
    f"{VERSION_ROW} UNION ALL "
    f'(SELECT NULL, {COLUMNS} FROM latest_trades WHERE symbol = ANY (%(symbols)s) ORDER BY symbol COLLATE "C")'
)
PAST_LATEST_PRICES = f'SELECT {COLUMNS} FROM latest_trades_as_of(%s, %s) ORDER BY symbol COLLATE "C"'


def _adjusted(version: LiteralString, trades: LiteralString, *, past: bool) -> LiteralString:
    return f"""
        SELECT {version} AS version, NULL AS symbol, NULL AS price, NULL AS volume, NULL AS time
        UNION ALL
        (
            SELECT NULL, {COLUMNS}
            FROM {adjusted_latest_of(trades, past=past)} AS latest
            WHERE %(symbols)s::text[] IS NULL OR symbol = ANY (%(symbols)s)
            ORDER BY symbol COLLATE "C"
        )
    """


ADJUSTED_LATEST_PRICES: Mapping[bool, LiteralString] = {
    False: _adjusted(f"CASE WHEN true{SETTLED_CLOSES} THEN {VERSION} END", "latest_trades", past=False),
    True: _adjusted("%(as_of)s::bigint", "latest_trades_as_of(%(as_of)s, %(symbols)s)", past=True),
}
"""By whether they are those of a version."""


def _latest_price(symbol: str, price: str, volume: str, time: datetime) -> LatestPrice:
    return LatestPrice(symbol, exact_number(price), exact_number(volume), time)


class LatestPrices(NamedTuple):
    """Latest prices in alphabetical order."""

    prices: list[LatestPrice]
    version: int | None
    """None if an adjustment depends on candles that do not contain all trades yet."""


async def read_each_latest_price(connection: Connection, symbols: Sequence[str]) -> Mapping[str, LatestPrices]:
    """Return the newest trade of each symbol; no price, and the version 0, for one without a trade."""
    found = dict.fromkeys(symbols, LatestPrices([], 0))
    for version, symbol, *row in await fetch(connection, EACH_LATEST_PRICE, {"symbols": ",".join(symbols)}):
        found[symbol] = LatestPrices([_latest_price(symbol, *row)], version)
    return found


async def read_latest_prices(
    connection: Connection,
    symbols: tuple[str, ...] | None,
    as_of: AsOf | None = None,
    adjustment: Adjustment = "raw",
) -> LatestPrices:
    """Return the newest trade of each of these symbols that has one, or of all symbols."""
    given = None if symbols is None else list(symbols)
    if given is not None and adjustment == "raw" and not as_of:
        (version, *_), *rows = await fetch(connection, SOME_LATEST_PRICES, {"symbols": given})
        return LatestPrices([_latest_price(*row[1:]) for row in rows], version)
    cursor = connection.cursor()
    if adjustment != "raw":
        parameters = {"symbols": given, "adjustment": adjustment, **parameters_of(as_of)}
        await cursor.execute(ADJUSTED_LATEST_PRICES[bool(as_of)], parameters, prepare=True)
    elif as_of:
        await cursor.execute(PAST_LATEST_PRICES, (as_of.version, given), prepare=True)
        return LatestPrices([_latest_price(*row) for row in await cursor.fetchall()], as_of.version)
    else:
        await cursor.execute(ALL_LATEST_PRICES, prepare=True)
    (version, *_), *rows = await cursor.fetchall()
    return LatestPrices([_latest_price(*row[1:]) for row in rows], version)


NEWEST_PRICES = f"{LATEST_PRICES} ORDER BY time DESC, symbol LIMIT 10"


async def read_newest_prices(connection: Connection) -> list[LatestPrice]:
    """Return the newest trades of the symbols that were traded last."""
    cursor = connection.cursor(row_factory=args_row(_latest_price))
    await cursor.execute(NEWEST_PRICES, prepare=True)
    return await cursor.fetchall()


LAST_PRICES = "SELECT symbol, price FROM latest_trades WHERE symbol = ANY (%s)"


async def read_last_prices(connection: Connection, listings: Sequence[Listing]) -> dict[str, Decimal]:
    """Return the exact price of the newest trade by symbol; symbols without trades are absent."""
    cursor = await connection.execute(LAST_PRICES, ([item.symbol for item in listings],))
    return dict(await cursor.fetchall())
