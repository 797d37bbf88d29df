"""`GET /price/latest` and `GET /prices/latest`."""

from typing import Any

from litestar import Request, get
from litestar.response.base import ASGIResponse

from market_data.api.http.caching import NO_STORE
from market_data.api.http.consistency import read_source
from market_data.api.http.handlers import json_response, require_symbol, require_symbols
from market_data.api.http.openapi import openapi_operation, responses
from market_data.api.http.parameters import SymbolParameter, SymbolsParameter
from market_data.errors import NotFound
from market_data.models import LatestPrice, PriceList
from market_data.queries.latest_prices import read_latest_price, read_latest_prices


@get(
    ["/price/latest", "/price"],
    summary="Latest price",
    description="The newest trade of a symbol. `/price` is the same as `/price/latest`.",
    tags=["Prices"],
    operation_class=openapi_operation(),
    responses=responses(LatestPrice, 400, 404),
)
async def latest_price(request: Request[Any, Any, Any], symbol: SymbolParameter) -> ASGIResponse:
    latest = await read_source(request).read_coalesced(read_latest_price, symbol)
    if latest is None:
        await require_symbol(request, symbol)
        raise NotFound(f"{symbol} has no trade yet; try again once one has arrived.")
    return json_response(latest, NO_STORE)


@get(
    "/prices/latest",
    summary="Latest prices",
    description=(
        "The newest trade of each of the given symbols, or of all, in alphabetical order. A known symbol without a trade is "
        "left out; unknown symbols are named in the 404."
    ),
    tags=["Prices"],
    operation_class=openapi_operation(),
    responses=responses(PriceList, 400, 404),
)
async def latest_prices(request: Request[Any, Any, Any], symbols: SymbolsParameter = None) -> ASGIResponse:
    prices = await read_source(request).read_coalesced(read_latest_prices, symbols)
    if symbols and len(prices) < len(symbols):
        await require_symbols(request, symbols)
    return json_response(PriceList(prices, len(prices)), NO_STORE)
