"""Names of symbols in foreign protocols: a client sees the names that it has asked for, and present ones in lists."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection

from market_data.api.http.consistency import read_source
from market_data.api.http.naming import loaded_names
from market_data.models import Symbol
from market_data.names import Names
from market_data.queries.latest_prices import LatestPrices, read_latest_prices
from market_data.queries.snapshots import Snapshots, read_snapshots
from market_data.queries.symbol_rows import SymbolKey, SymbolPage, SymbolRows
from market_data.queries.symbols import read_symbol, read_symbols
from market_data.services import services_of


def asked_names(names: Names, asked: Iterable[str], on: date | None = None) -> dict[str, str]:
    """Return the names that a client has asked for, by key. Of two names of an instrument, the present one.

    With `on`, a name means the instrument that had it on that day; if none had it then, as without.
    """
    by_key = dict[str, str]()
    for name in asked:
        key = (on and names.key_on(name, on)) or names.key_of(name)
        if by_key.get(key) != names.name_of(key):
            by_key[key] = name
    return by_key


async def key_of(connection: ASGIConnection[Any, Any, Any, Any], name: str) -> str:
    """Return the key of the instrument that has a name, or had it last."""
    return (await loaded_names(connection)).key_of(name)


def present_name(connection: ASGIConnection[Any, Any, Any, Any], name: str) -> str:
    """Return the present name of the instrument that has a name, or had it last."""
    names = services_of(connection).names
    return names.name_of(names.key_of(name))


async def read_known_symbols(request: Request[Any, Any, Any]) -> list[Symbol]:
    """Return all symbols with their present names, in alphabetical order."""
    names = await loaded_names(request)
    known = await read_source(request).read_coalesced(read_symbols)
    if not names:
        return known
    shown = [msgspec.structs.replace(each, symbol=names.name_of(each.symbol)) for each in known]
    return sorted(shown, key=lambda each: each.symbol)


async def read_known_symbol(request: Request[Any, Any, Any], name: str) -> Symbol | None:
    """Return the symbol that has a name, or had it last, with its present name; None if there is none."""
    names = await loaded_names(request)
    found = await read_source(request).read(read_symbol, names.key_of(name))
    return found and msgspec.structs.replace(found, symbol=names.name_of(found.symbol))


async def read_prices(request: Request[Any, Any, Any], asked: tuple[str, ...] | None) -> LatestPrices:
    """Return the latest prices of some symbols, or of all."""
    names = await loaded_names(request)
    if not names:
        return await read_source(request).read_coalesced(read_latest_prices, asked, None)
    by_key = None if asked is None else asked_names(names, asked)
    found = await read_source(request).read_coalesced(read_latest_prices, None if by_key is None else tuple(by_key), None)
    shown = [
        msgspec.structs.replace(each, symbol=by_key[each.symbol] if by_key else names.name_of(each.symbol))
        for each in found.prices
    ]
    return found._replace(prices=sorted(shown, key=lambda each: each.symbol))


async def read_named_snapshots(request: Request[Any, Any, Any], asked: tuple[str, ...] | None) -> Snapshots:
    """Return the snapshots of some symbols, or of all. Their days are those of the exchange, as in bars."""
    names = await loaded_names(request)
    by_key = asked_names(names, asked) if names and asked is not None else None
    keys = asked if by_key is None else tuple(by_key)
    found = await read_source(request).read_coalesced(read_snapshots, keys, None, None, "raw", "regular")
    return found._replace(rows=names.rename_json(found.rows, by_key)) if names else found


def rows_of_keys(by_key: Mapping[str, str], after: Sequence[SymbolKey]) -> list[SymbolKey]:
    """Return keys of rows with the keys of their symbols in place of their names."""
    keys = {name: key for key, name in by_key.items()}
    return [each._replace(symbol=keys.get(each.symbol, each.symbol)) for each in after]


def rows_of_names(by_key: Mapping[str, str], found: SymbolRows) -> SymbolRows:
    """Return rows with the names that the client has asked for. The rows themselves have keys."""
    pages = [SymbolPage(by_key[symbol], page) for symbol, page in found.pages]
    following = [each._replace(symbol=by_key[each.symbol]) for each in found.following]
    return replace(found, pages=pages, following=following)
