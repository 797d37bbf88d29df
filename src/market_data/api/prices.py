"""The newest price of a symbol, of some, of all."""

from typing import Any

from litestar import Request, get
from litestar.response.base import ASGIResponse

from market_data.api.http.caching import LIVE
from market_data.api.http.consistency import reads
from market_data.api.http.openapi import answers, encoded_rows, json, operation, require_symbol, require_symbols
from market_data.api.http.parameters import SYMBOL, SYMBOLS, Query
from market_data.errors import NotFound
from market_data.models import LatestPrice, PriceList
from market_data.queries.latest_prices import read_latest_price, read_latest_prices


@get(
    ["/price/latest", "/price"],
    summary="Latest price",
    description="The newest trade of a symbol. `/price` is the same as `/price/latest`.",
    tags=["Prices"],
    operation_class=operation(SYMBOL),
    responses=answers(LatestPrice, 400, 404),
)
async def latest_price(request: Request[Any, Any, Any]) -> ASGIResponse:
    with Query(request) as query:
        symbol = query.take(SYMBOL)
    latest = await reads(request).read_coalesced(read_latest_price, symbol)
    if latest is None:
        await require_symbol(request, symbol)
        raise NotFound(f"{symbol} has no trade yet; try again once one has arrived.")
    return ASGIResponse(body=bytes(latest), headers=LIVE)


@get(
    "/prices/latest",
    summary="Latest prices",
    description=(
        "The newest trade of each of some symbols, or of all, in alphabetical order. A known symbol without a trade is "
        "left out; unknown ones are all named in the 404."
    ),
    tags=["Prices"],
    operation_class=operation(SYMBOLS),
    responses=answers(PriceList, 400, 404),
)
async def latest_prices(request: Request[Any, Any, Any]) -> ASGIResponse:
    with Query(request) as query:
        symbols = query.take(SYMBOLS)
    page = await reads(request).read_coalesced(read_latest_prices, symbols)
    if symbols and page.count < len(symbols):
        await require_symbols(request, symbols)
    return json(PriceList(encoded_rows(page), page.count), LIVE)
