"""The known symbols."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from msgspec.json import Encoder
from msgspec.structs import replace
from psycopg.errors import CheckViolation, ForeignKeyViolation
from psycopg.rows import args_row, scalar_row

from market_data.errors import BadParameters, Conflict
from market_data.feed.random_walk import Listing
from market_data.models import ParameterProblem, Symbol
from market_data.models_writes import SymbolChangeIn, SymbolIn
from market_data.queries.row_pages import Connection, exact_number

encode = Encoder().encode

COLUMNS = """
    symbol, name, created_at, active, signed, currency, type, calendar, trim_scale(tick_size)::text AS tick_size,
    listed, delisted, description, aliases
"""
SYMBOLS = f'SELECT {COLUMNS} FROM symbols ORDER BY symbol COLLATE "C"'


def _symbol(*row: Any) -> Symbol:
    found = Symbol(*row)
    return found if found.tick_size is None else replace(found, tick_size=exact_number(str(found.tick_size)))


async def read_symbols(connection: Connection) -> list[Symbol]:
    """Return all symbols, in alphabetical order."""
    cursor = connection.cursor(binary=True, row_factory=args_row(_symbol))
    await cursor.execute(SYMBOLS)
    return await cursor.fetchall()


ONE_SYMBOL = f"SELECT {COLUMNS} FROM symbols WHERE symbol = %s"


async def read_symbol(connection: Connection, symbol: str) -> Symbol | None:
    """Return a symbol; None if it is unknown."""
    cursor = connection.cursor(binary=True, row_factory=args_row(_symbol))
    await cursor.execute(ONE_SYMBOL, (symbol,))
    return await cursor.fetchone()


# The fields that are given, as JSON, replace the others.
ADD_SYMBOL = f"""
    INSERT INTO symbols (symbol, name, signed, currency, type, calendar, tick_size, listed, delisted, description, aliases)
    SELECT symbol, name, signed, currency, type, calendar, tick_size, listed, delisted, description, aliases
    FROM jsonb_populate_record(
        NULL::symbols,
        jsonb_build_object(
            'signed', false, 'currency', 'USD', 'type', 'other', 'calendar', '24/7', 'description', '',
            'aliases', '[]'::jsonb
        ) || %s::jsonb
    )
    ON CONFLICT (symbol) DO NOTHING
    RETURNING {COLUMNS}
"""


class AddedSymbol(NamedTuple):
    """A symbol, and True if it was unknown before."""

    symbol: Symbol
    is_new: bool


async def insert_symbol(connection: Connection, given: SymbolIn, key: str | None = None) -> AddedSymbol:
    """Add a symbol, with another key than its name if one is given; a known one is not changed.

    Raises:
        BadParameters: There is no such calendar, or `delisted` is before `listed`.
    """
    cursor = connection.cursor(binary=True, row_factory=args_row(_symbol))
    with _explaining_violations(given.symbol, given):
        await cursor.execute(ADD_SYMBOL, (encode(replace(given, symbol=key or given.symbol)).decode(),))
    if added := await cursor.fetchone():
        return AddedSymbol(added, is_new=True)
    await cursor.execute(ONE_SYMBOL, (given.symbol,))
    (known,) = await cursor.fetchall()
    return AddedSymbol(known, is_new=False)


CHANGE_SYMBOL = f"""
    UPDATE symbols
    SET (name, active, signed, currency, type, calendar, tick_size, listed, delisted, description, aliases) = (
        SELECT name, active, signed, currency, type, calendar, tick_size, listed, delisted, description, aliases
        FROM jsonb_populate_record(symbols, %s::jsonb)
    )
    WHERE symbol = %s
    RETURNING {COLUMNS}
"""


async def update_symbol(connection: Connection, symbol: str, change: SymbolChangeIn) -> Symbol | None:
    """Change the values that are given, and return the symbol; None if it is unknown.

    Raises:
        BadParameters: There is no such calendar, or `delisted` is before `listed`.
        Conflict: `signed` is False, but the symbol has prices of 0 or less.
    """
    cursor = connection.cursor(binary=True, row_factory=args_row(_symbol))
    with _explaining_violations(symbol, change):
        await cursor.execute(CHANGE_SYMBOL, (encode(change).decode(), symbol))
    return await cursor.fetchone()


@contextmanager
def _explaining_violations(symbol: str, given: SymbolIn | SymbolChangeIn) -> Generator[None]:
    """Translate violations of the constraints of the table."""
    try:
        yield
    except (CheckViolation, ForeignKeyViolation) as error:
        match error.diag.constraint_name:
            case "symbols_signed_needed":
                detail = "has trades with prices of 0 or less, or candles of such trades that were dropped"
                problem = ParameterProblem("signed", f"{symbol} {detail}; cancel or correct the trades first")
                raise Conflict(f"{problem.detail}.", [problem]) from None
            case "symbols_calendar_fkey":
                remedy = f"run `market-data calendars refresh {given.calendar}`, or choose one that GET /calendars lists"
                raise BadParameters([ParameterProblem("calendar", f"{given.calendar} is not stored; {remedy}")]) from None
            case "symbols_delisted_after_listed":
                part, detail = "delisted", "must not be before listed; null if it is still listed"
                raise BadParameters([ParameterProblem(part, detail)]) from None
            case _:
                raise


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
