"""The trades of a symbol."""

from collections.abc import Awaitable
from typing import Any

from litestar import Request, get
from litestar.response.base import ASGIResponse

from market_data.api.http.caching import is_past
from market_data.api.http.consistency import reads
from market_data.api.http.openapi import answers, encoded_rows, operation
from market_data.api.http.parameters import END, FORMAT, PAGE_TOKEN, START, SYMBOL, TRADES_LIMIT, TRADES_ORDER, Query
from market_data.api.http.response_formats import accepted
from market_data.api.http.row_responses import Table, answer
from market_data.models import Trade, TradeList
from market_data.queries.row_pages import Page, RowFormat, RowKey
from market_data.queries.trades import PACKED_TRADE, read_trades


@get(
    "/trades",
    summary="Trades",
    description=(
        "The trades of a symbol in a range of time, newest first (by time, then `trade_id`) unless told otherwise: as JSON "
        "page by page, as CSV or Arrow all of them at once."
    ),
    tags=["Trades"],
    operation_class=operation(SYMBOL, START, END, TRADES_ORDER, TRADES_LIMIT, PAGE_TOKEN, FORMAT, has_rows=True),
    responses=answers(TradeList, 400, 404),
)
async def trades(request: Request[Any, Any, Any]) -> ASGIResponse:
    with Query(request) as query:
        symbol = query.take(SYMBOL)
        start, end = query.take_range()
        order = query.take(TRADES_ORDER)
        limit = query.take(TRADES_LIMIT)
        after = query.take_page("/trades", symbol, order, start=start, end=end)
        form = query.take(FORMAT) or accepted(request)

    def read(limit: int, after: RowKey | None, form: RowFormat) -> Awaitable[Page]:
        return reads(request).read(read_trades, symbol, start, end, limit, order=order, after=after, form=form)

    def listed(page: Page, token: str | None) -> TradeList:
        return TradeList(symbol, start, end, limit, page.count, encoded_rows(page), token)

    table = Table(
        path="/trades",
        symbol=symbol,
        parameters=("/trades", symbol, order, start, end),
        after=after,
        limit=limit if form == "json" or query.has(TRADES_LIMIT) else None,
        settled=is_past(end),
        fields=Trade.__struct_fields__,
        packed=PACKED_TRADE,
        read=read,
        listed=listed,
    )
    return await answer(request, query, form, table)
