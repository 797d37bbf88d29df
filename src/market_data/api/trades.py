"""`GET /trades`."""

from typing import Any

from litestar import Request, get
from litestar.response.base import ASGIResponse

from market_data.api.http.cached_parameters import CachedParameters
from market_data.api.http.caching import is_past
from market_data.api.http.openapi import openapi_operation, responses
from market_data.api.http.parameters import (
    DEFAULT_TRADES_LIMIT,
    AdjustmentParameter,
    AsOfParameter,
    EndParameter,
    FormatParameter,
    OneSymbolParameter,
    OnParameter,
    PageTokenParameter,
    SeveralSymbolsParameter,
    StartParameter,
    TradesLimitParameter,
    TradesOrderParameter,
)
from market_data.api.http.past import find_version
from market_data.api.http.range_requests import RangeRequests
from market_data.api.http.row_responses import JsonPage, RowsResponse
from market_data.api.http.selection import RowParameters, select
from market_data.models import SymbolsTradeList, TradeList
from market_data.queries.trades import TRADE_COLUMNS, TradeRange, read_trades


@get(
    "/trades",
    summary="Trades",
    description=(
        "The trades of a symbol, or of several, in a range of time, sorted by time, then `trade_id`, newest first by "
        "default. Without `start`, the newest trades. JSON has pages; the other formats have the whole range."
    ),
    tags=["Trades"],
    operation_class=openapi_operation(has_rows=True, has_ranges=True, has_version=True),
    middleware=[RangeRequests, CachedParameters],
    responses=responses(SymbolsTradeList | TradeList, 400, 404, 410),
)
async def trades(
    request: Request[Any, Any, Any],
    symbol: OneSymbolParameter = None,
    symbols: SeveralSymbolsParameter = None,
    start: StartParameter = None,
    end: EndParameter = None,
    order: TradesOrderParameter = None,
    limit: TradesLimitParameter = None,
    page_token: PageTokenParameter = None,
    adjustment: AdjustmentParameter = None,
    as_of: AsOfParameter = None,
    on: OnParameter = None,
    given_format: FormatParameter = None,
) -> ASGIResponse:
    order = order or "desc"
    past = await find_version(request, as_of, page_token)
    given = RowParameters(symbol, symbols, start, end, limit, page_token, given_format, as_of, past, on)
    adjustment = adjustment or "raw"
    more = [adjustment] if adjustment != "raw" else []
    selection = await select(request, "/trades", given, order, DEFAULT_TRADES_LIMIT, *more)
    from_end = selection.is_newest and order == "asc"
    rows = TradeRange(selection.symbols[0], selection.start, selection.end, order, from_end, past, adjustment)

    def to_struct(page: JsonPage) -> TradeList | SymbolsTradeList:
        fields = page.start, page.end, page.limit, page.row_count, page.rows, page.token
        return TradeList(rows.symbol, *fields) if page.symbols is None else SymbolsTradeList(list(page.symbols), *fields)

    return await RowsResponse(request, selection, rows, read_trades, TRADE_COLUMNS, is_past, to_struct).respond()
