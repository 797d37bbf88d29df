"""`GET /trades`."""

from typing import Any

from litestar import Request, get
from litestar.response.base import ASGIResponse

from market_data.api.http.caching import is_past
from market_data.api.http.openapi import openapi_operation, responses
from market_data.api.http.parameters import (
    DEFAULT_TRADES_LIMIT,
    EndParameter,
    FormatParameter,
    PageTokenParameter,
    StartParameter,
    SymbolParameter,
    TradesLimitParameter,
    TradesOrderParameter,
)
from market_data.api.http.row_responses import RowsResponse
from market_data.models import TradeList
from market_data.queries.row_pages import Page
from market_data.queries.trades import TRADE_COLUMNS, TradeRange, read_trades


@get(
    "/trades",
    summary="Trades",
    description=(
        "The trades of a symbol in a range of time, sorted by time, then `trade_id`, newest first by default. JSON has "
        "pages; CSV and Arrow have the whole range."
    ),
    tags=["Trades"],
    operation_class=openapi_operation(has_rows=True),
    responses=responses(TradeList, 400, 404),
)
async def trades(
    request: Request[Any, Any, Any],
    symbol: SymbolParameter,
    start: StartParameter,
    end: EndParameter,
    order: TradesOrderParameter = "desc",
    limit: TradesLimitParameter = None,
    page_token: PageTokenParameter = None,
    given_format: FormatParameter = None,
) -> ASGIResponse:
    def to_struct(page: Page, limit: int, token: str | None) -> TradeList:
        return TradeList(symbol, start, end, limit, page.count, page.rows, token)

    rows = TradeRange(symbol, start, end, order)
    response = RowsResponse(
        request, "/trades", rows, read_trades, TRADE_COLUMNS, DEFAULT_TRADES_LIMIT, is_past(end), to_struct
    )
    return await response.respond(limit, page_token, given_format)
