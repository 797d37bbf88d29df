"""The trades of a symbol."""

from typing import Any

from litestar import Request, get
from litestar.response.base import ASGIResponse

from market_data import queries
from market_data.api.operation import answers, database, encoded_rows, json, operation, require_symbol
from market_data.api.paging import next_link, page_token
from market_data.api.parameters import END, PAGE_TOKEN, START, SYMBOL, TRADES_LIMIT, Query
from market_data.models import TradeList


@get(
    "/trades",
    summary="Trades",
    description="The trades of a symbol in a range of time, newest first (by time, then `trade_id`), page by page.",
    tags=["Trades"],
    operation_class=operation(SYMBOL, START, END, TRADES_LIMIT, PAGE_TOKEN),
    responses=answers(TradeList, 400, 404),
)
async def trades(request: Request[Any, Any, Any]) -> ASGIResponse:
    with Query(request) as query:
        symbol = query.take(SYMBOL)
        start, end = query.take_range()
        limit = query.take(TRADES_LIMIT)
        parameters = ("/trades", symbol, start, end)
        below = query.take_page("/trades", symbol, start=start, end=end)
    page = await database(request).read(queries.trades, symbol, start, end, limit, below)
    if not page.count:
        await require_symbol(request, symbol)
    token = page.last and page_token(parameters, (page.last.timestamp, page.last.trade_id))
    return json(
        TradeList(symbol, start, end, limit, page.count, encoded_rows(page), token),
        headers=next_link("/trades", query.known(), token),
    )
