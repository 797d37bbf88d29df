"""Prices and figures of the last 24 hours: `/binance/api/v3/ticker/…` and `avgPrice`; and `depth`, which has no orders."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final

from litestar import Request, get
from litestar.response.base import ASGIResponse
from msgspec import Struct
from msgspec.structs import replace

from market_data.api.compat.binance.figures import Figures, Mini, Ticker, figures_of, untraded
from market_data.api.compat.binance.values import (
    EXACT,
    INVALID_VALUE,
    BinanceError,
    digits,
    invalid_symbol,
    milliseconds,
    read_limit,
    read_selection,
    read_symbol,
    require_known,
)
from market_data.api.compat.names import key_of, present_name, read_known_symbols, read_named_snapshots, read_prices
from market_data.api.compat.parameters import ForeignOperation, foreign_responses, query
from market_data.api.compat.rows import exact_bars_of, read_bars
from market_data.api.http.caching import NO_STORE
from market_data.api.http.complete_response import CompleteResponse
from market_data.api.http.consistency import read_source
from market_data.api.http.handlers import encode, json_response
from market_data.api.http.past import version_headers
from market_data.models import doc
from market_data.queries.latest_prices import read_each_latest_price
from market_data.queries.row_pages import digits_of
from market_data.trade_validation import shown

AVERAGE_MINUTES: Final = 5

CHUNK: Final = 500
"""Symbols whose figures are computed between two turns of the event loop."""


class PriceTicker(Struct, frozen=True, rename="camel"):
    """The latest price of a symbol."""

    symbol: str
    price: Annotated[str, doc("Every stored digit; 0 without a trade.", "189.44")]


class BookTicker(Struct, frozen=True, rename="camel"):
    """An empty order book."""

    symbol: str
    bid_price: str = "0"
    bid_qty: str = "0"
    ask_price: str = "0"
    ask_qty: str = "0"


class Depth(Struct, frozen=True, rename="camel"):
    """An empty order book."""

    last_update_id: Annotated[int, doc("Unix time in milliseconds.")]
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


class AveragePrice(Struct, frozen=True, rename="camel"):
    """Average of the trades of some minutes, weighted by their volumes."""

    mins: int
    price: Annotated[str, doc("With 8 decimal places; the latest price if these minutes have no trade.", "189.40120000")]
    close_time: Annotated[int, doc("Time of the latest trade in milliseconds; 0 without one.")]


SymbolQuery = Annotated[str | None, query("symbol", "One symbol, whose answer is an object.", "AAPL")]
SymbolsQuery = Annotated[str | None, query("symbols", "Some symbols as a JSON array.", '["AAPL","MSFT"]')]
TypeQuery = Annotated[str | None, query("type", "`FULL`, the default, or `MINI`.", "FULL")]


@get(
    "/ticker/price",
    summary="Latest prices",
    description="The latest prices of the symbols that have one: an object for `symbol`, else an array.",
    operation_class=ForeignOperation,
    responses=foreign_responses(list[PriceTicker], "The prices. With `symbol`, the object alone."),
)
async def binance_price_ticker(
    request: Request[Any, Any, Any], symbol: SymbolQuery = None, symbols: SymbolsQuery = None
) -> ASGIResponse:
    chosen, is_single = read_selection(symbol, symbols)
    source = read_source(request)
    if is_single and chosen:
        found = await source.read_batched(read_each_latest_price, await key_of(request, chosen[0]))
        found = found._replace(prices=[replace(each, symbol=chosen[0]) for each in found.prices])
    else:
        found = await read_prices(request, chosen)
    prices = [PriceTicker(each.symbol, digits_of(each.price)) for each in found.prices]
    headers = {**NO_STORE, **version_headers(found.version or None)}
    if chosen and len(prices) < len(chosen):
        await require_known(request, chosen)
    if is_single and chosen:
        return json_response(prices[0] if prices else PriceTicker(chosen[0], "0"), headers)
    return CompleteResponse(encode(prices), headers)


@get(
    "/ticker/24hr",
    summary="Figures of the last 24 hours",
    description=(
        "Figures of the symbols that have a trade, from the 15-minute candles of the last 24 hours; `type=MINI` has fewer. "
        "There are no bids and asks, and the ids of trades are -1."
    ),
    operation_class=ForeignOperation,
    responses=foreign_responses(list[Ticker], "The figures. With `symbol`, the object alone."),
)
async def binance_day_ticker(
    request: Request[Any, Any, Any],
    symbol: SymbolQuery = None,
    symbols: SymbolsQuery = None,
    kind: TypeQuery = None,
) -> ASGIResponse:
    chosen, is_single = read_selection(symbol, symbols)
    if (kind or "FULL") not in ("FULL", "MINI"):
        detail = f"Data sent for parameter 'type' is not valid: {shown(kind or '')} is not FULL or MINI."
        raise BinanceError(INVALID_VALUE, "type", detail)
    now = datetime.now(UTC)
    snapshots = await read_named_snapshots(request, chosen)
    found = figures_of(snapshots.rows, now)
    if chosen and len(found) < len(chosen):
        await require_known(request, chosen)
    headers = {**NO_STORE, **version_headers(snapshots.version)}
    mini = kind == "MINI"
    if is_single and chosen:
        return json_response(_ticker(found[0] if found else untraded(chosen[0], now), mini=mini), headers)
    tickers: list[Ticker | Mini] = []
    for start in range(0, len(found), CHUNK):
        tickers += [_ticker(each, mini=mini) for each in found[start : start + CHUNK]]
        await asyncio.sleep(0)
    return CompleteResponse(encode(tickers), headers)


def _ticker(figures: Figures, *, mini: bool) -> Ticker | Mini:
    return figures.mini if mini else figures.ticker


@get(
    "/ticker/bookTicker",
    summary="Best bids and asks",
    description="Zeros: there are no orders.",
    operation_class=ForeignOperation,
    responses=foreign_responses(list[BookTicker], "Empty order books. With `symbol`, the object alone."),
)
async def binance_book_ticker(
    request: Request[Any, Any, Any], symbol: SymbolQuery = None, symbols: SymbolsQuery = None
) -> ASGIResponse:
    chosen, is_single = read_selection(symbol, symbols)
    known = await read_known_symbols(request)
    names = [each.symbol for each in known]
    if chosen is not None:
        if unknown := {name for name in chosen if present_name(request, name) not in names}:
            raise invalid_symbol(min(unknown))
        names = [*chosen]
    if is_single:
        return json_response(BookTicker(names[0]), NO_STORE)
    return CompleteResponse(encode([BookTicker(name) for name in names]), NO_STORE)


@get(
    "/depth",
    summary="Order book",
    description="Empty: there are no orders.",
    operation_class=ForeignOperation,
    responses=foreign_responses(Depth, "An empty order book."),
)
async def binance_depth(
    request: Request[Any, Any, Any],
    symbol: SymbolQuery = None,
    limit: Annotated[str | None, query("limit", "Number of orders, without a meaning here.")] = None,
) -> ASGIResponse:
    read_limit(limit)
    await require_known(request, [read_symbol(symbol)])
    return json_response(Depth(milliseconds(datetime.now(UTC)), [], []), NO_STORE)


@get(
    "/avgPrice",
    summary="Average price",
    description=f"The average of the {AVERAGE_MINUTES} minutes that have begun last, weighted by volume.",
    operation_class=ForeignOperation,
    responses=foreign_responses(AveragePrice, "The average."),
)
async def binance_average_price(request: Request[Any, Any, Any], symbol: SymbolQuery = None) -> ASGIResponse:
    name = read_symbol(symbol)
    latest = (await read_source(request).read_batched(read_each_latest_price, await key_of(request, name))).prices
    if not latest:
        await require_known(request, [name])
        return json_response(AveragePrice(AVERAGE_MINUTES, "0", 0), NO_STORE)
    now = datetime.now(UTC)
    start = now - timedelta(minutes=AVERAGE_MINUTES)
    found = await read_bars(request, [name], "1m", start, now, AVERAGE_MINUTES, row_format="arrays")
    bars = exact_bars_of(found.pages[0].page)
    volume = sum((Decimal(bar.volume) for bar in bars), Decimal(0))
    turnover = sum((Decimal(bar.turnover) for bar in bars), Decimal(0))
    price = digits_of(latest[0].price)
    average = f"{EXACT.divide(turnover, volume):.8f}" if volume else digits(Decimal(price))
    return json_response(AveragePrice(AVERAGE_MINUTES, average, milliseconds(latest[0].timestamp)), NO_STORE)
