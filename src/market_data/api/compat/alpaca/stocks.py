"""`/alpaca/v2/stocks`: bars, trades, the latest ones and snapshots, of several symbols."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Final

from litestar import Request, get
from litestar.response.base import ASGIResponse
from msgspec import Struct

from market_data.api.compat.alpaca.ranges import (
    AdjustmentText,
    AsOf,
    End,
    Feed,
    Given,
    Limit,
    PageToken,
    RowRange,
    Sort,
    Start,
    Symbols,
    Timeframe,
    read_range,
)
from market_data.api.compat.alpaca.rows import (
    AlpacaBar,
    AlpacaSnapshot,
    AlpacaTrade,
    bars_of,
    latest_trade,
    snapshots_of,
    trades_of,
)
from market_data.api.compat.alpaca.values import read_names, read_timeframe
from market_data.api.compat.names import asked_names, read_known_symbols, read_named_snapshots, read_prices
from market_data.api.compat.parameters import ForeignOperation, foreign_responses
from market_data.api.compat.rows import read_bars, read_trade_rows, session_of
from market_data.api.http.caching import NO_STORE
from market_data.api.http.complete_response import CompleteResponse
from market_data.api.http.handlers import encode, json_response
from market_data.api.http.naming import loaded_names
from market_data.api.http.past import version_headers
from market_data.models import doc
from market_data.queries.symbol_rows import SymbolRows

MAX_UNCHECKED_SYMBOLS: Final = 20
"""Symbols that are read without looking for unknown ones."""

Token = Annotated[str | None, doc("`page_token` of the next page; null on the last page.")]


class AlpacaQuote(Struct, frozen=True):
    """A quote, of which there are none."""

    t: datetime


class AlpacaBars(Struct, frozen=True):
    """Bars by symbol, in alphabetical order; symbols without a bar are absent."""

    bars: dict[str, list[AlpacaBar]]
    next_page_token: Token


class AlpacaTrades(Struct, frozen=True):
    """Trades by symbol, in alphabetical order; symbols without a trade are absent."""

    trades: dict[str, list[AlpacaTrade]]
    next_page_token: Token


class AlpacaQuotes(Struct, frozen=True):
    """No quotes."""

    quotes: dict[str, list[AlpacaQuote]]
    next_page_token: Token = None


class AlpacaLatestBars(Struct, frozen=True):
    """The newest minute by symbol."""

    bars: dict[str, AlpacaBar]


class AlpacaLatestTrades(Struct, frozen=True):
    """The newest trade by symbol."""

    trades: dict[str, AlpacaTrade]


class AlpacaLatestQuotes(Struct, frozen=True):
    """No quotes."""

    quotes: dict[str, AlpacaQuote]


class Rows(Struct, frozen=True):
    """A page of rows by symbol, and the token of the next page."""

    by_symbol: dict[str, list[Any]]
    token: str | None
    headers: Mapping[str, str]


async def _readable(request: Request[Any, Any, Any], wanted: RowRange) -> tuple[str, ...]:
    """Return the symbols of a range without unknown ones, if there are many: each costs a statement."""
    if len(wanted.symbols) <= MAX_UNCHECKED_SYMBOLS:
        return wanted.symbols
    names = await loaded_names(request)
    known = {names.key_of(each.symbol) for each in await read_known_symbols(request)}
    begun = {each.symbol for each in wanted.after}
    by_key = asked_names(names, wanted.symbols, wanted.on)
    return tuple(sorted(name for key, name in by_key.items() if key in known or name in begun))


async def find_bars(request: Request[Any, Any, Any], wanted: RowRange, interval: str) -> Rows:
    """Return the bars of a range."""
    read = partial(read_bars, request, interval=interval, session=session_of(interval), adjustment=wanted.adjustment)
    return await _find(request, wanted, read, bars_of)


async def find_trades(request: Request[Any, Any, Any], wanted: RowRange) -> Rows:
    """Return the trades of a range."""
    return await _find(request, wanted, partial(read_trade_rows, request), trades_of)


async def _find(
    request: Request[Any, Any, Any],
    wanted: RowRange,
    read: Callable[..., Awaitable[SymbolRows]],
    rows_of: Callable[[str], list[Any]],
) -> Rows:
    symbols = await _readable(request, wanted)
    if not symbols:
        return Rows({}, None, NO_STORE)
    found = await read(
        symbols=symbols,
        start=wanted.start,
        end=wanted.end,
        limit=wanted.limit,
        order=wanted.order,
        after=wanted.after,
        on=wanted.on,
        row_format="json",
    )
    rows = {symbol: rows_of(page.rows) for symbol, page in found.pages if page.count}
    return Rows(rows, wanted.next_page_token(found), {**NO_STORE, **version_headers(found.version)})


async def find_latest_trades(request: Request[Any, Any, Any], symbols: tuple[str, ...]) -> dict[str, AlpacaTrade]:
    """Return the newest trade of each of these symbols that has one."""
    found = await read_prices(request, symbols)
    return {each.symbol: latest_trade(each) for each in found.prices}


async def find_snapshots(request: Request[Any, Any, Any], symbols: tuple[str, ...]) -> dict[str, AlpacaSnapshot]:
    """Return the snapshot of each of these symbols that has a trade."""
    return snapshots_of((await read_named_snapshots(request, symbols)).rows)


@get(
    "/bars",
    summary="Bars",
    description=(
        "Bars whose buckets start in a range, the open one included, sorted by symbol, then by time. Days and longer ones "
        "have the trades of the regular sessions, if the symbol's calendar has sessions, and are labelled by their date at "
        "00:00 UTC; else they are those of UTC. Weeks start on Monday. Numbers have every stored digit."
    ),
    operation_class=ForeignOperation,
    responses=foreign_responses(AlpacaBars, "The bars."),
)
async def alpaca_bars(
    request: Request[Any, Any, Any],
    symbols: Symbols = None,
    timeframe: Timeframe = None,
    start: Start = None,
    end: End = None,
    limit: Limit = None,
    page_token: PageToken = None,
    sort: Sort = None,
    adjustment: AdjustmentText = None,
    feed: Feed = None,
    asof: AsOf = None,
) -> ASGIResponse:
    interval = read_timeframe(timeframe)
    wanted = read_range(interval, read_names(symbols), Given(start, end, limit, page_token, sort, asof, adjustment))
    found = await find_bars(request, wanted, interval)
    return json_response(AlpacaBars(found.by_symbol, found.token), found.headers)


@get(
    "/trades",
    summary="Trades of stocks",
    description="The trades of a range, sorted by symbol, then by time. Numbers have every stored digit.",
    operation_class=ForeignOperation,
    responses=foreign_responses(AlpacaTrades, "The trades."),
)
async def alpaca_trades(
    request: Request[Any, Any, Any],
    symbols: Symbols = None,
    start: Start = None,
    end: End = None,
    limit: Limit = None,
    page_token: PageToken = None,
    sort: Sort = None,
    feed: Feed = None,
    asof: AsOf = None,
) -> ASGIResponse:
    wanted = read_range("trades", read_names(symbols), Given(start, end, limit, page_token, sort, asof))
    found = await find_trades(request, wanted)
    return json_response(AlpacaTrades(found.by_symbol, found.token), found.headers)


@get(
    "/quotes",
    summary="Quotes of stocks",
    description="No quotes, because there are none.",
    operation_class=ForeignOperation,
    responses=foreign_responses(AlpacaQuotes, "No quotes."),
)
async def alpaca_quotes(symbols: Symbols = None) -> ASGIResponse:
    read_names(symbols)
    return json_response(AlpacaQuotes({}), NO_STORE)


@get(
    "/bars/latest",
    summary="Latest bars",
    description="The newest minute of each symbol, which may not have ended yet. Symbols without a trade are absent.",
    operation_class=ForeignOperation,
    responses=foreign_responses(AlpacaLatestBars, "The bars."),
)
async def alpaca_latest_bars(request: Request[Any, Any, Any], symbols: Symbols = None, feed: Feed = None) -> ASGIResponse:
    found = await find_snapshots(request, read_names(symbols))
    return json_response(
        AlpacaLatestBars({name: each.minute_bar for name, each in found.items() if each.minute_bar}), NO_STORE
    )


@get(
    "/trades/latest",
    summary="Latest trades",
    description="The newest trade of each symbol, without `i`. Symbols without a trade are absent.",
    operation_class=ForeignOperation,
    responses=foreign_responses(AlpacaLatestTrades, "The trades."),
)
async def alpaca_latest_trades(request: Request[Any, Any, Any], symbols: Symbols = None, feed: Feed = None) -> ASGIResponse:
    return json_response(AlpacaLatestTrades(await find_latest_trades(request, read_names(symbols))), NO_STORE)


@get(
    "/quotes/latest",
    summary="Latest quotes",
    description="No quotes, because there are none.",
    operation_class=ForeignOperation,
    responses=foreign_responses(AlpacaLatestQuotes, "No quotes."),
)
async def alpaca_latest_quotes(symbols: Symbols = None) -> ASGIResponse:
    read_names(symbols)
    return json_response(AlpacaLatestQuotes({}), NO_STORE)


@get(
    "/snapshots",
    summary="Snapshots of stocks",
    description="The latest trade, the newest minute and the UTC days of each symbol that has a trade.",
    operation_class=ForeignOperation,
    responses=foreign_responses(dict[str, AlpacaSnapshot], "The snapshots by symbol."),
)
async def alpaca_snapshots(request: Request[Any, Any, Any], symbols: Symbols = None, feed: Feed = None) -> ASGIResponse:
    return CompleteResponse(encode(await find_snapshots(request, read_names(symbols))), NO_STORE)
