"""The candles of a symbol."""

from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Any, Final

from litestar import Request, get
from litestar.response.base import ASGIResponse

from market_data.api.http.caching import is_past
from market_data.api.http.consistency import reads
from market_data.api.http.openapi import answers, encoded_rows, operation
from market_data.api.http.parameters import (
    CANDLES_LIMIT,
    CANDLES_ORDER,
    END,
    FILL,
    FORMAT,
    INTERVAL,
    PAGE_TOKEN,
    START,
    SYMBOL,
    Query,
)
from market_data.api.http.response_formats import accepted
from market_data.api.http.row_responses import Table, answer
from market_data.errors import BadParameters
from market_data.models import Candle, CandleList, FilledCandle, FilledCandleList, ParameterProblem
from market_data.queries.candles import PACKED_CANDLE, PACKED_FILLED_CANDLE, read_candles
from market_data.queries.gapfilled_candles import read_gapfilled_candles
from market_data.queries.intervals import INTERVALS, WEEK_START
from market_data.queries.row_pages import Page, RowFormat, RowKey

MOST_FILLED: Final = 10_000_000
"""Candles of one answer that is not cut into pages, where the empty ones are asked for: any range has any number of them."""

TOO_MANY: Final = (
    f"leads to {{:,}} candles with the empty ones, more than the {MOST_FILLED:,} of one answer; "
    "ask for a shorter range, a longer interval, or without fill"
)


@get(
    "/candles",
    summary="Candles",
    description=(
        "Open, high, low, close and volume of a symbol by bucket, oldest first unless told otherwise: whole buckets whose "
        "start lies in the range, the open one included. Buckets are UTC, weeks start on Monday. A bucket without a trade "
        "has no candle, unless `fill` asks for it. As JSON they come page by page, as CSV or Arrow all at once, with `fill` "
        f"up to {MOST_FILLED:,}."
    ),
    tags=["Candles"],
    operation_class=operation(
        SYMBOL, INTERVAL, START, END, CANDLES_ORDER, FILL, CANDLES_LIMIT, PAGE_TOKEN, FORMAT, has_rows=True
    ),
    responses=answers(CandleList | FilledCandleList, 400, 404),
)
async def candles(request: Request[Any, Any, Any]) -> ASGIResponse:
    with Query(request) as query:
        symbol = query.take(SYMBOL)
        interval = query.take(INTERVAL)
        start, end = query.take_range()
        order = query.take(CANDLES_ORDER)
        fill = query.take(FILL)
        limit = query.take(CANDLES_LIMIT)
        after = query.take_page("/candles", symbol, interval, order, fill, start=start, end=end)
        form = query.take(FORMAT) or accepted(request)

    limited = form == "json" or query.has(CANDLES_LIMIT)
    if fill and not limited and (buckets := _buckets(interval, start, end)) > MOST_FILLED:
        raise BadParameters([ParameterProblem(START.name, TOO_MANY.format(buckets))])

    def read(limit: int, after: RowKey | None, form: RowFormat) -> Awaitable[Page]:
        asked = (symbol, interval, start, end, limit)
        if fill is None:
            return reads(request).read(read_candles, *asked, order=order, after=after, form=form)
        return reads(request).read(read_gapfilled_candles, *asked, fill=fill, order=order, after=after, form=form)

    def listed(page: Page, token: str | None) -> CandleList | FilledCandleList:
        kind = CandleList if fill is None else FilledCandleList
        return kind(symbol, interval, start, end, page.count, encoded_rows(page), token)

    table = Table(
        path="/candles",
        symbol=symbol,
        parameters=("/candles", symbol, interval, order, fill, start, end),
        after=after,
        limit=limit if limited else None,
        settled=_is_settled(interval, end),
        fields=("symbol", *(Candle if fill is None else FilledCandle).__struct_fields__),
        packed=PACKED_CANDLE if fill is None else PACKED_FILLED_CANDLE,
        read=read,
        listed=listed,
    )
    return await answer(request, query, form, table)


def _buckets(interval: str, start: datetime, end: datetime) -> int:
    """How many buckets of a range have begun, or one more."""
    return (min(end, datetime.now(UTC)) - start) // INTERVALS[interval] + 1


def _is_settled(interval: str, end: datetime) -> bool:
    """Whether the last bucket that starts before `end` has ended."""
    width = INTERVALS[interval]
    return is_past(end) and is_past(end + (WEEK_START - end) % width)
