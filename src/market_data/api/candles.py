"""The candles of a symbol."""

from datetime import timedelta
from typing import Any

from litestar import Request, get
from litestar.response.base import ASGIResponse

from market_data import queries
from market_data.api.operation import answers, database, encoded_rows, json, operation, require_symbol
from market_data.api.paging import next_link, page_token
from market_data.api.parameters import CANDLES_LIMIT, END, INTERVAL, PAGE_TOKEN, START, SYMBOL, Query
from market_data.models import CandleList


@get(
    "/candles",
    summary="Candles",
    description=(
        "Open, high, low, close and volume of a symbol by bucket, oldest first: whole buckets whose start lies in the "
        "range, the open one included. A bucket without a trade has no candle."
    ),
    tags=["Candles"],
    operation_class=operation(SYMBOL, INTERVAL, START, END, CANDLES_LIMIT, PAGE_TOKEN),
    responses=answers(CandleList, 400, 404),
)
async def candles(request: Request[Any, Any, Any]) -> ASGIResponse:
    with Query(request) as query:
        symbol = query.take(SYMBOL)
        interval = query.take(INTERVAL)
        start, end = query.take_range()
        limit = query.take(CANDLES_LIMIT)
        parameters = ("/candles", symbol, interval, start, end)
        after = query.take_page("/candles", symbol, interval, start=start, end=end)
    first = after[0] + timedelta(microseconds=1) if after else start
    page = await database(request).read(queries.candles, symbol, interval, first, end, limit)
    if not page.count:
        await require_symbol(request, symbol)
    token = page.last and page_token(parameters, (page.last.timestamp, 0))
    return json(
        CandleList(symbol, interval, start, end, page.count, encoded_rows(page), token),
        headers=next_link("/candles", query.known(), token),
    )
