"""Names of instruments over time: reading them, renaming, and adding an instrument whose name was another one's."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, time
from typing import NamedTuple

from psycopg.rows import args_row, scalar_row

from market_data.errors import Conflict
from market_data.models import ParameterProblem
from market_data.models_writes import SymbolIn
from market_data.names import NameRange, Names
from market_data.queries.row_pages import Connection
from market_data.queries.symbols import AddedSymbol, insert_symbol, read_symbol, symbol_exists
from market_data.trade_validation import rfc3339

ALL_NAMES = "SELECT name, symbol, since, until FROM symbol_names"


async def read_names(connection: Connection) -> list[NameRange]:
    """Return the names of all renamed instruments."""
    cursor = connection.cursor(row_factory=args_row(NameRange))
    await cursor.execute(ALL_NAMES)
    return await cursor.fetchall()


NAMES_CHANNEL = "market_data_names"
LISTEN_TO_NAMES = "LISTEN market_data_names"


async def listen_to_names(connection: Connection) -> None:
    """Get a notification after each change of names."""
    await connection.execute(LISTEN_TO_NAMES)


SYMBOL_OF = "SELECT symbol_of(%s)"


async def read_key(connection: Connection, name: str) -> str:
    """Return the key of the instrument that has a name, or had it last."""
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(SYMBOL_OF, (name,))
    return str(await cursor.fetchone())


END_NAME = "UPDATE symbol_names SET until = %(at)s WHERE symbol = %(symbol)s AND until IS NULL"
FIRST_NAME = "INSERT INTO symbol_names (name, symbol, until) VALUES (%(symbol)s, %(symbol)s, %(at)s)"
NEXT_NAME = """
    INSERT INTO symbol_names (name, symbol, since, actor, reason)
    VALUES (%(name)s, %(symbol)s, %(at)s, %(actor)s, %(reason)s)
"""


LOCK_NAMES = "LOCK TABLE symbol_names IN SHARE ROW EXCLUSIVE MODE"


@asynccontextmanager
async def _locked_names(connection: Connection) -> AsyncGenerator[Names]:
    """Yield the names in a transaction, during which no other one changes them."""
    async with connection.transaction():
        await connection.execute(LOCK_NAMES)
        yield Names(await read_names(connection))


class Renaming(NamedTuple):
    """A name that an instrument gets, and by whom."""

    name: str
    at: datetime
    actor: str
    reason: str | None


async def give_name(connection: Connection, symbol: str, new: Renaming) -> bool:
    """Give an instrument, by its key, another name from a time on. Returns False if it has got that name then already.

    Raises:
        Conflict: Another instrument has the name at that time or later, or the present name began later.
    """
    async with _locked_names(connection) as names:
        return await _rename(connection, names, symbol, new)


async def _rename(connection: Connection, names: Names, symbol: str, new: Renaming) -> bool:
    known = names.names_of(symbol)
    if any((each.name, each.since) == (new.name, new.at) for each in known):
        return False
    present = known[-1]
    if present.name == new.name:
        since = f"since {rfc3339(present.since)}" if present.since else "since it was added"
        raise _conflict("to", f"{new.name} is its name already, {since}")
    if present.since and new.at <= present.since:
        raise _conflict("at", f"must be after {rfc3339(present.since)}, since when its name is {present.name}")
    await _require_free(connection, names, symbol, new)
    row = {"symbol": symbol, "name": new.name, "at": new.at, "actor": new.actor, "reason": new.reason}
    await connection.execute(END_NAME if names.is_renamed(symbol) else FIRST_NAME, row)
    await connection.execute(NEXT_NAME, row)
    return True


async def _require_free(connection: Connection, names: Names, symbol: str, new: Renaming) -> None:
    """Check that no other instrument has a name at a time or later."""
    ranges = names.ranges_of(new.name)
    for each in ranges:
        if each.symbol != symbol and (each.until is None or each.until > new.at):
            when = f"until {rfc3339(each.until)}" if each.until else "at present"
            other = names.name_of(each.symbol)
            detail = f"{new.name} is {when} the name of another symbol"
            raise _conflict("to", detail + (f", which is {other} now" if other != new.name else "; rename that one first"))
    if not ranges and new.name != symbol and await symbol_exists(connection, new.name):
        raise _conflict("to", f"{new.name} is at present the name of another symbol; rename that one first")


def _conflict(part: str, detail: str) -> Conflict:
    return Conflict(f"{part}: {detail}.", [ParameterProblem(part, detail)])


async def add_symbol_named(connection: Connection, given: SymbolIn, actor: str) -> AddedSymbol:
    """Add an instrument, or return the one that has the name at present.

    If the name was that of another instrument, the new one gets a key such as `META~2`, and has the name since that one lost
    it, or since it was listed.

    Raises:
        BadParameters: As `insert_symbol`.
    """
    async with _locked_names(connection) as names:
        return await _add(connection, names, given, actor)


async def _add(connection: Connection, names: Names, given: SymbolIn, actor: str) -> AddedSymbol:
    ranges = names.ranges_of(given.symbol)
    if not ranges:
        return await insert_symbol(connection, given)
    if holder := next((each.symbol for each in ranges if each.until is None), None):
        known = await read_symbol(connection, holder)
        if known is None:
            raise AssertionError(f"{holder} has names, and is no symbol")
        return AddedSymbol(known, is_new=False)
    key = await _free_key(connection, given.symbol)
    added = await insert_symbol(connection, given, key)
    since = max(each.until for each in ranges if each.until)
    if added.symbol.listed:
        since = max(since, datetime.combine(added.symbol.listed, time(), UTC))
    row = {"symbol": key, "name": given.symbol, "at": since, "actor": actor, "reason": None}
    await connection.execute(NEXT_NAME, row)
    return added


async def _free_key(connection: Connection, name: str) -> str:
    if not await symbol_exists(connection, name):
        return name
    number = 2
    while await symbol_exists(connection, f"{name}~{number}"):
        number += 1
    return f"{name}~{number}"


# Rows of a file with a name that an instrument had, or has since it was renamed.
NAME_STAGED = """
    UPDATE imported
    SET symbol = symbol_of(symbol, time)
    WHERE symbol IN (SELECT name FROM symbol_names) AND symbol <> symbol_of(symbol, time)
"""


async def resolve_staged_names(connection: Connection) -> None:
    """Replace names by keys in the staged trades of an import, by the times of the trades."""
    if await _any_names(connection):
        await connection.execute(NAME_STAGED)


ANY_NAMES = "SELECT EXISTS (SELECT FROM symbol_names)"


async def _any_names(connection: Connection) -> bool:
    cursor = connection.cursor(binary=True, row_factory=scalar_row)
    await cursor.execute(ANY_NAMES)
    return bool(await cursor.fetchone())
