"""`GET /candles`."""

from datetime import UTC, datetime
from typing import Any, Final

from litestar import Request, get
from litestar.response.base import ASGIResponse

from market_data.api.http.caching import is_past
from market_data.api.http.openapi import openapi_operation, responses
from market_data.api.http.parameters import (
    DEFAULT_CANDLES_LIMIT,
    CandlesLimitParameter,
    CandlesOrderParameter,
    EndParameter,
    FillParameter,
    FormatParameter,
    IntervalParameter,
    PageTokenParameter,
    StartParameter,
    SymbolParameter,
)
from market_data.api.http.response_formats import accepted_format
from market_data.api.http.row_responses import RowsResponse
from market_data.errors import BadParameters
from market_data.models import CandleList, FilledCandleList, ParameterProblem
from market_data.queries.candles import CANDLE_COLUMNS, CandleRange, columns_of, read_candles
from market_data.queries.gapfilled_candles import GAPFILLED_COLUMNS, GapfilledRange, read_gapfilled_candles
from market_data.queries.intervals import INTERVALS, WEEK_START
from market_data.queries.row_pages import Page

MAX_GAPFILLED: Final = 10_000_000
"""Candles of a streamed response with `fill`, in which a long range has any number of empty ones."""


@get(
    "/candles",
    summary="Candles",
    description=(
        "Open, high, low, close and volume of a symbol by bucket, oldest first by default: whole buckets whose start lies "
        "in the range, the open bucket included. Buckets are UTC, weeks start on Monday. A bucket without a trade has no "
        "candle, except with `fill`. JSON has pages; CSV and Arrow have the whole range, with `fill` up to "
        f"{MAX_GAPFILLED:,} candles."
    ),
    tags=["Candles"],
    operation_class=openapi_operation(has_rows=True),
    responses=responses(CandleList | FilledCandleList, 400, 404),
)
async def candles(
    request: Request[Any, Any, Any],
    symbol: SymbolParameter,
    interval: IntervalParameter,
    start: StartParameter,
    end: EndParameter,
    order: CandlesOrderParameter = "asc",
    fill: FillParameter = None,
    limit: CandlesLimitParameter = None,
    page_token: PageTokenParameter = None,
    given_format: FormatParameter = None,
) -> ASGIResponse:
    def to_struct(page: Page, _: int, token: str | None) -> CandleList | FilledCandleList:
        kind = CandleList if fill is None else FilledCandleList
        return kind(symbol, interval, start, end, page.count, page.rows, token)

    given_format = given_format or accepted_format(request)
    bounds = symbol, interval, start, end, order
    settled = _is_settled(interval, end)
    common = DEFAULT_CANDLES_LIMIT, settled, to_struct
    if fill is None:
        columns = columns_of("csv", CANDLE_COLUMNS)
        response = RowsResponse(request, "/candles", CandleRange(*bounds), read_candles, columns, *common)
    else:
        if given_format != "json" and limit is None:
            _check_size(interval, start, end)
        columns = columns_of("csv", GAPFILLED_COLUMNS)
        rows = GapfilledRange(*bounds, fill)
        response = RowsResponse(request, "/candles", rows, read_gapfilled_candles, columns, *common)
    return await response.respond(limit, page_token, given_format)


def _check_size(interval: str, start: datetime, end: datetime) -> None:
    buckets = (min(end, datetime.now(UTC)) - start) // INTERVALS[interval] + 1
    if buckets > MAX_GAPFILLED:
        detail = (
            f"leads to {buckets:,} candles with the empty ones, more than the maximum of {MAX_GAPFILLED:,}; ask for a "
            "shorter range, a longer interval, or without fill"
        )
        raise BadParameters([ParameterProblem("start", detail)])


def _is_settled(interval: str, end: datetime) -> bool:
    """Return True if the last bucket that starts before `end` has ended."""
    return is_past(end) and is_past(end + (WEEK_START - end) % INTERVALS[interval])
