"""Tickers: `/massive/v3/reference/tickers`."""

import operator
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Annotated, Any, Final, NamedTuple

from litestar import Request, get
from litestar.response.base import ASGIResponse
from msgspec import UNSET, Struct, UnsetType

from market_data.api.compat.massive.rows import list_response
from market_data.api.compat.massive.values import (
    TickerParameter,
    next_page,
    no_data,
    read_flag,
    read_order,
    request_id,
    symbol_of,
)
from market_data.api.compat.names import read_known_symbol, read_known_symbols
from market_data.api.compat.parameters import (
    ForeignOperation,
    bad_parameter,
    foreign_responses,
    query,
    read_number,
)
from market_data.api.http.caching import NO_STORE
from market_data.api.http.handlers import encode, json_response
from market_data.models import Symbol, doc
from market_data.queries.row_pages import Order
from market_data.trade_validation import shown

MARKET: Final = "stocks"
DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1_000

TYPES: Final = {"stock": "CS", "etf": "ETF", "crypto": "CRYPTO", "fx": "FX", "future": "FUTURE", "index": "INDEX"}
"""Types of the protocol by those of symbols."""


class Ticker(Struct, frozen=True):
    """A symbol."""

    ticker: Annotated[str, doc("Symbol.", "AAPL")]
    name: Annotated[str, doc("Full name.", "Apple Inc.")]
    active: Annotated[bool, doc("False if new trades of the symbol are refused.", True)]
    currency_name: Annotated[str, doc("Currency of the prices.", "usd")]
    market: str = MARKET
    locale: str = "us"
    type: Annotated[str, doc("`CS` for stocks, else the type in capitals; left out of others.", "CS")] | UnsetType = UNSET
    delisted_utc: Annotated[str, doc("Last day of trading; left out while listed.", "2024-01-02")] | UnsetType = UNSET


class TickerDetails(Ticker, frozen=True, kw_only=True):
    """A symbol with further members."""

    list_date: Annotated[date, doc("First day of trading; left out if it is unknown.", "1980-12-12")] | UnsetType = UNSET
    description: Annotated[str, doc("Text for people; left out without one.")] | UnsetType = UNSET


class Tickers(Struct, frozen=True):
    """Symbols, sorted by name."""

    status: str
    request_id: str
    count: int
    results: list[Ticker]
    next_url: Annotated[str, doc("Address of the next page; left out of the last one.")] | UnsetType = UNSET


class OneTicker(Struct, frozen=True):
    """One symbol."""

    status: str
    request_id: str
    results: TickerDetails


class TickerPage(NamedTuple):
    """Tickers of a page, and the members and headers that lead to the next one."""

    tickers: Sequence[str]
    members: Mapping[str, str]
    headers: Mapping[str, str]


def selected(
    tickers: Collection[str],
    order: Order,
    *,
    gt: str | None = None,
    gte: str | None = None,
    lt: str | None = None,
    lte: str | None = None,
) -> Sequence[str]:
    """Return the tickers between some bounds, sorted."""
    found = sorted(tickers, reverse=order == "desc")
    for bound, keep in ((gt, operator.gt), (gte, operator.ge), (lt, operator.lt), (lte, operator.le)):
        if bound:
            found = [name for name in found if keep(name, bound.upper())]
    return found


def ticker_page(
    request: Request[Any, Any, Any], path: Sequence[str], tickers: Sequence[str], limit: int, order: Order
) -> TickerPage:
    """Return the first page of some tickers. The next one begins after its last ticker, as the protocol's own bound says."""
    page = tickers[:limit]
    if len(page) == len(tickers):
        return TickerPage(page, {}, {})
    following = next_page(request, path, {"ticker.gt" if order == "asc" else "ticker.lt": page[-1]})
    return TickerPage(page, {"next_url": following.url}, following.headers)


def _is_wanted(symbol: Symbol, text: str, is_active: bool) -> bool:
    return symbol.active == is_active and (text in symbol.symbol or text in symbol.name.upper())


@get(
    "/v3/reference/tickers",
    summary="Tickers",
    description="Symbols sorted by ticker, also the result of a search.",
    operation_class=ForeignOperation,
    responses=foreign_responses(Tickers, "The symbols."),
)
async def massive_tickers(
    request: Request[Any, Any, Any],
    ticker: Annotated[str | None, query("ticker", "One symbol.")] = None,
    gt: Annotated[str | None, query("ticker.gt", "Symbol before the first.")] = None,
    gte: Annotated[str | None, query("ticker.gte", "First symbol.")] = None,
    lt: Annotated[str | None, query("ticker.lt", "Symbol after the last.")] = None,
    lte: Annotated[str | None, query("ticker.lte", "Last symbol.")] = None,
    market: Annotated[str | None, query("market", "`stocks`, the only one.", "stocks")] = None,
    kind: Annotated[str | None, query("type", "Type; all by default.", "CS")] = None,
    search: Annotated[str | None, query("search", "Text in the ticker or the name.", "APP")] = None,
    active: Annotated[str | None, query("active", "`true` (default), or `false` for symbols without new trades.")] = None,
    order: Annotated[str | None, query("order", "`asc` (default) or `desc`.", "asc")] = None,
    sort: Annotated[str | None, query("sort", "`ticker`, the only one.", "ticker")] = None,
    limit: Annotated[str | None, query("limit", f"Symbols of a page, up to {MAX_LIMIT}; {DEFAULT_LIMIT}.")] = None,
) -> ASGIResponse:
    maximum = read_number("limit", limit, DEFAULT_LIMIT, MAX_LIMIT)
    direction = read_order("order", order, "asc")
    is_active = read_flag("active", active, default=True)
    if (sort or "ticker") != "ticker":
        raise bad_parameter("sort", f"must be ticker, not {shown(sort or '')}")
    known = await read_known_symbols(request) if (market or MARKET) == MARKET else []
    text = (search or "").strip().upper()
    kinds = None if not kind else kind.upper()
    found = {
        each.symbol: each for each in known if _is_wanted(each, text, is_active) and kinds in (None, TYPES.get(each.type))
    }
    names = found if not ticker else [name for name in found if name == ticker.upper()]
    wanted = selected(names, direction, gt=gt, gte=gte, lt=lt, lte=lte)
    page = ticker_page(request, ("v3", "reference", "tickers"), wanted, maximum, direction)
    results = [encode(Ticker(**_members(found[name]))).decode() for name in page.tickers]
    return list_response(page.members, results, page.headers)


def _members(symbol: Symbol) -> dict[str, Any]:
    return {
        "ticker": symbol.symbol,
        "name": symbol.name,
        "active": symbol.active,
        "type": TYPES.get(symbol.type, UNSET),
        "currency_name": symbol.currency.lower(),
        "delisted_utc": f"{symbol.delisted}T00:00:00Z" if symbol.delisted else UNSET,
    }


def _details(symbol: Symbol) -> TickerDetails:
    more: dict[str, Any] = {"list_date": symbol.listed or UNSET, "description": symbol.description or UNSET}
    return TickerDetails(**_members(symbol), **more)


@get(
    "/v3/reference/tickers/{ticker:path}",
    summary="Ticker",
    description="One symbol.",
    operation_class=ForeignOperation,
    responses=foreign_responses(OneTicker, "The symbol."),
)
async def massive_ticker(request: Request[Any, Any, Any], ticker: TickerParameter) -> ASGIResponse:
    symbol = symbol_of(ticker)
    found = await read_known_symbol(request, symbol) if symbol else None
    if found is None:
        raise no_data()
    return json_response(OneTicker("OK", request_id(), _details(found)), NO_STORE)
