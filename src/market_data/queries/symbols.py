"""The symbols that are known."""

from collections.abc import Sequence

from psycopg.rows import args_row, scalar_row

from market_data.models import Symbol
from market_data.queries.pages import Connection

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


UNKNOWN_SYMBOLS = """
    SELECT asked.symbol
    FROM unnest(%s::text[]) AS asked (symbol)
    WHERE NOT EXISTS (SELECT FROM symbols WHERE symbols.symbol = asked.symbol)
    ORDER BY asked.symbol
"""


async def unknown_symbols(connection: Connection, asked: Sequence[str]) -> list[str]:
    """Those that are not known, in alphabetical order."""
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(UNKNOWN_SYMBOLS, (list(asked),))
    return await cursor.fetchall()
