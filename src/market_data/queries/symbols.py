"""The known symbols."""

from collections.abc import Sequence
from typing import NamedTuple

from psycopg.errors import CheckViolation
from psycopg.rows import args_row, scalar_row

from market_data.errors import Conflict
from market_data.feed.random_walk import Listing
from market_data.models import ParameterProblem, Symbol
from market_data.queries.row_pages import Connection

SYMBOLS = """
    SELECT symbol, name, created_at, active, signed, currency
    FROM symbols
    ORDER BY symbol
"""


async def read_symbols(connection: Connection) -> list[Symbol]:
    """Return all symbols, in alphabetical order."""
    cursor = connection.cursor(binary=True, row_factory=args_row(Symbol))
    await cursor.execute(SYMBOLS)
    return await cursor.fetchall()


ONE_SYMBOL = "SELECT symbol, name, created_at, active, signed, currency FROM symbols WHERE symbol = %s"


async def read_symbol(connection: Connection, symbol: str) -> Symbol | None:
    """Return a symbol; None if it is unknown."""
    cursor = connection.cursor(binary=True, row_factory=args_row(Symbol))
    await cursor.execute(ONE_SYMBOL, (symbol,))
    return await cursor.fetchone()


ADD_SYMBOL = """
    INSERT INTO symbols (symbol, name, signed, currency) VALUES (%s, %s, %s, %s)
    ON CONFLICT (symbol) DO NOTHING
    RETURNING symbol, name, created_at, active, signed, currency
"""


class AddedSymbol(NamedTuple):
    """A symbol, and True if it was unknown before."""

    symbol: Symbol
    is_new: bool


async def insert_symbol(connection: Connection, symbol: str, name: str, signed: bool, currency: str) -> AddedSymbol:
    """Add a symbol; a known one is not changed."""
    cursor = connection.cursor(binary=True, row_factory=args_row(Symbol))
    await cursor.execute(ADD_SYMBOL, (symbol, name, signed, currency))
    if added := await cursor.fetchone():
        return AddedSymbol(added, is_new=True)
    await cursor.execute(ONE_SYMBOL, (symbol,))
    (known,) = await cursor.fetchall()
    return AddedSymbol(known, is_new=False)


CHANGE_SYMBOL = """
    UPDATE symbols
    SET
        name = coalesce(%s::text, name),
        active = coalesce(%s::boolean, active),
        signed = coalesce(%s::boolean, signed),
        currency = coalesce(%s::text, currency)
    WHERE symbol = %s
    RETURNING symbol, name, created_at, active, signed, currency
"""


async def update_symbol(
    connection: Connection, symbol: str, name: str | None, active: bool | None, signed: bool | None, currency: str | None
) -> Symbol | None:
    """Change the values that are not None, and return the symbol; None if it is unknown.

    Raises:
        Conflict: `signed` is False, but the symbol has prices of 0 or less.
    """
    cursor = connection.cursor(binary=True, row_factory=args_row(Symbol))
    try:
        await cursor.execute(CHANGE_SYMBOL, (name, active, signed, currency, symbol))
    except CheckViolation as error:
        if error.diag.constraint_name != "symbols_signed_needed":
            raise
        detail = "has trades with prices of 0 or less, or candles of such trades that were dropped"
        problem = ParameterProblem("signed", f"{symbol} {detail}; cancel or correct the trades first")
        raise Conflict(f"{problem.detail}.", [problem]) from None
    return await cursor.fetchone()


SYMBOL_EXISTS = "SELECT EXISTS (SELECT FROM symbols WHERE symbol = %s)"


async def symbol_exists(connection: Connection, symbol: str) -> bool:
    """Return True if a symbol is known."""
    cursor = connection.cursor(binary=True, row_factory=scalar_row)
    await cursor.execute(SYMBOL_EXISTS, (symbol,))
    return bool(await cursor.fetchone())


UNKNOWN_SYMBOLS = """
    SELECT given.symbol
    FROM unnest(%s::text[]) AS given (symbol)
    WHERE NOT EXISTS (SELECT FROM symbols WHERE symbols.symbol = given.symbol)
    ORDER BY given.symbol
"""


async def unknown_symbols(connection: Connection, symbols: Sequence[str]) -> list[str]:
    """Return the symbols that are unknown, in alphabetical order."""
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(UNKNOWN_SYMBOLS, (list(symbols),))
    return await cursor.fetchall()


INSERT_LISTINGS = """
    INSERT INTO symbols (symbol, name)
    SELECT symbol, name FROM unnest(%s::text[], %s::text[]) AS listing (symbol, name)
    ON CONFLICT (symbol) DO NOTHING
"""


async def insert_symbols(connection: Connection, listings: Sequence[Listing]) -> None:
    """Insert the feed's symbols; existing ones keep their names."""
    await connection.execute(INSERT_LISTINGS, ([item.symbol for item in listings], [item.name for item in listings]))
