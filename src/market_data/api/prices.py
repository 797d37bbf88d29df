"""`GET /price/latest`, `GET /prices/latest` and `GET /snapshots`."""

from typing import Any

from litestar import Request, get
from litestar.response.base import ASGIResponse
from msgspec import Raw

from market_data.api.http.cached_parameters import CachedParameters
from market_data.api.http.consistency import read_source
from market_data.api.http.handlers import require_symbol, require_symbols
from market_data.api.http.naming import loaded_names, named_response, resolve, resolve_all, sorted_by_name
from market_data.api.http.openapi import openapi_operation, responses
from market_data.api.http.parameters import (
    AdjustmentParameter,
    AsOfParameter,
    DaySessionParameter,
    OnParameter,
    SymbolParameter,
    SymbolsParameter,
)
from market_data.api.http.past import caching_of, find_version, version_headers
from market_data.api.http.range_requests import RangeRequests
from market_data.errors import NotFound
from market_data.models import LatestPrice, PriceList, SnapshotList
from market_data.queries.latest_prices import read_each_latest_price, read_latest_prices
from market_data.queries.snapshots import read_snapshots


@get(
    ["/price/latest", "/price"],
    summary="Latest price",
    description="The newest trade of a symbol. `/price` is the same as `/price/latest`.",
    tags=["Prices"],
    operation_class=openapi_operation(has_version=True),
    middleware=[CachedParameters],
    responses=responses(LatestPrice, 400, 404, 410),
)
async def latest_price(
    request: Request[Any, Any, Any],
    symbol: SymbolParameter,
    adjustment: AdjustmentParameter = None,
    as_of: AsOfParameter = None,
    on: OnParameter = None,
) -> ASGIResponse:
    resolved = await resolve(request, [symbol], on)
    key, adjustment = resolved.key, adjustment or "raw"
    if as_of or adjustment != "raw":
        past = await find_version(request, as_of)
        found = await read_source(request).read_coalesced(read_latest_prices, (key,), past, adjustment)
    else:
        found = await read_source(request).read_batched(read_each_latest_price, key)
    if not found.prices:
        await require_symbol(request, key)
        raise NotFound(
            f"{symbol} had no trade then." if as_of else f"{symbol} has no trade yet; try again once one has arrived."
        )
    headers = {**caching_of(request, as_of), **version_headers(found.version)}
    return named_response(request, found.prices[0], headers, resolved)


@get(
    "/prices/latest",
    summary="Latest prices",
    description=(
        "The newest trade of each of the given symbols, or of all, in alphabetical order. A known symbol without a trade is "
        "left out; unknown symbols are named in the 404."
    ),
    tags=["Prices"],
    operation_class=openapi_operation(has_ranges=True, has_version=True),
    middleware=[RangeRequests, CachedParameters],
    responses=responses(PriceList, 400, 404, 410),
)
async def latest_prices(
    request: Request[Any, Any, Any],
    symbols: SymbolsParameter = None,
    adjustment: AdjustmentParameter = None,
    as_of: AsOfParameter = None,
    on: OnParameter = None,
) -> ASGIResponse:
    resolved = await resolve_all(request, symbols, on)
    keys = resolved and resolved.keys
    past = await find_version(request, as_of)
    prices, version = await read_source(request).read_coalesced(read_latest_prices, keys, past, adjustment or "raw")
    if keys and len(prices) < len(keys):
        await require_symbols(request, keys)
    if names := await loaded_names(request):
        prices = sorted(prices, key=lambda price: names.name_of(price.symbol))
    headers = {**caching_of(request, as_of), **version_headers(version)}
    return named_response(request, PriceList(prices, len(prices)), headers, resolved, is_list=True)


@get(
    "/snapshots",
    summary="Snapshots",
    description=(
        "The newest trade, the candles of the UTC day, of the day before and of the newest minute, and the change and range "
        "of the last 24 hours, of each of the given symbols, or of all, in alphabetical order. A known symbol without a "
        "trade is left out; unknown symbols are named in the 404. With `session=regular` or `extended`, the days are the "
        "session that began last and the one before, and `previous_close` is the close of the latter."
    ),
    tags=["Prices"],
    operation_class=openapi_operation(has_ranges=True, has_version=True),
    middleware=[RangeRequests, CachedParameters],
    responses=responses(SnapshotList, 400, 404, 410),
)
async def snapshots(
    request: Request[Any, Any, Any],
    symbols: SymbolsParameter = None,
    adjustment: AdjustmentParameter = None,
    as_of: AsOfParameter = None,
    on: OnParameter = None,
    session: DaySessionParameter = None,
) -> ASGIResponse:
    resolved = await resolve_all(request, symbols, on)
    keys = resolved and resolved.keys
    past = await find_version(request, as_of)
    chosen = keys, past, None, adjustment or "raw", session or "all"
    found = await read_source(request).read_coalesced(read_snapshots, *chosen)
    if keys and found.symbol_count < len(keys):
        await require_symbols(request, keys)
    rows: Any = Raw(f"[{found.rows}]".encode())
    if names := await loaded_names(request):
        rows = sorted_by_name(names, rows)
    headers = {**caching_of(request, as_of), **version_headers(found.version)}
    return named_response(request, SnapshotList(rows, found.symbol_count), headers, resolved, is_list=True)
