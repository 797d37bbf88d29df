"""Rows of one or several symbols in one page."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

from market_data.queries.candles import CandleRange
from market_data.queries.past import read_as_of, read_version
from market_data.queries.row_pages import Connection, Page, PageState, RowFormat, RowKey
from market_data.queries.trades import TradeRange

R = TypeVar("R", TradeRange, CandleRange)

ReadPage = Callable[[Connection, R, int, RowKey | None, RowFormat], Awaitable[Page]]


class SymbolKey(NamedTuple):
    """Key of the last row of a symbol that has been read."""

    symbol: str
    key: RowKey | None
    """None before its first row."""


class SymbolPage(NamedTuple):
    """The rows of one symbol in a page."""

    symbol: str
    page: Page


@dataclass(frozen=True)
class SymbolRows:
    """A page with rows of some symbols, sorted by symbol."""

    pages: Sequence[SymbolPage]
    following: Sequence[SymbolKey]
    """Keys after which the next page begins; empty after the last page."""
    has_more: bool

    @property
    def count(self) -> int:
        """Rows in this page."""
        return sum(page.count for _, page in self.pages)

    @property
    def settled(self) -> bool:
        """False if a row does not contain all trades yet, or a row is missing until its trades are refreshed."""
        return all(page.settled for _, page in self.pages)

    @property
    def state(self) -> object:
        """The same state as before means the same rows."""
        return [(symbol, page.count, page.has_more, page.state) for symbol, page in self.pages], self.has_more

    @property
    def version(self) -> int | None:
        """Version whose rows these are; None if no version has all of them."""
        versions = {page.version for _, page in self.pages}
        return versions.pop() if len(versions) == 1 else None

    @property
    def newest_write(self) -> int:
        """Greatest `write_id` of the trades in the rows, and of the changes in the range; 0 without any."""
        states = [PageState(*page.state[:4]) for _, page in self.pages if page.state]
        return max((max(state.newest_write, state.newest_change) for state in states), default=0)


async def read_symbol_rows(
    connection: Connection,
    read_page: ReadPage[R],
    rows: R,
    symbols: Sequence[str],
    limit: int,
    after: Sequence[SymbolKey],
    row_format: RowFormat,
    *,
    in_shares: bool,
) -> SymbolRows:
    """Return the rows of symbols in the range `rows`, or those that follow the keys `after`, at most `limit` of them.

    Symbols follow each other. With `in_shares`, each has an equal share of the limit instead, and the keys are those of the
    symbols that have more rows.
    """
    read_page = _of_one_version(read_page)
    if in_shares:
        shares = after or [SymbolKey(symbol, None) for symbol in symbols]
        return await _read_shares(connection, read_page, rows, shares, limit, row_format)
    first = after[0] if after else SymbolKey(symbols[0], None)
    pages: list[SymbolPage] = []
    remaining, key = limit, first.key
    for symbol in symbols[symbols.index(first.symbol) :]:
        wanted = rows if symbol == rows.symbol else replace(rows, symbol=symbol)
        if not remaining:  # read only if there is a row
            page = await read_page(connection, wanted, 1, None, "none")
            if page.count:
                return SymbolRows(pages, [SymbolKey(symbol, None)], has_more=True)
            continue
        page = await read_page(connection, wanted, remaining, key, row_format)
        key = None
        pages.append(SymbolPage(symbol, page))
        remaining -= page.count
        if page.has_more:
            return SymbolRows(pages, [SymbolKey(symbol, page.last)], has_more=True)
    return SymbolRows(pages, [], has_more=False)


def _of_one_version(read_page: ReadPage[R]) -> ReadPage[R]:
    """Return a function that reads further pages as of the version of the first one, if there are newer ones meanwhile."""
    first: int | None = None

    async def read(connection: Connection, rows: R, limit: int, after: RowKey | None, row_format: RowFormat) -> Page:
        nonlocal first
        page = await read_page(connection, rows, limit, after, row_format)
        if page.version is None and page.settled and not page.count:  # a range without any bucket needs no statement
            page = replace(page, version=rows.as_of.version if rows.as_of else await read_version(connection))
        if first is None:
            first = page.version
        elif page.version not in (first, None):
            past = replace(rows, as_of=await read_as_of(connection, first, datetime.now(UTC)))
            return await read_page(connection, past, limit, after, row_format)
        return page

    return read


async def _read_shares(
    connection: Connection,
    read_page: ReadPage[R],
    rows: R,
    after: Sequence[SymbolKey],
    limit: int,
    row_format: RowFormat,
) -> SymbolRows:
    share = limit // len(after)
    pages = [
        SymbolPage(symbol, await read_page(connection, replace(rows, symbol=symbol), share, key, row_format))
        for symbol, key in after
    ]
    following = [SymbolKey(symbol, page.last) for symbol, page in pages if page.has_more]
    return SymbolRows(pages, following, has_more=bool(following))
