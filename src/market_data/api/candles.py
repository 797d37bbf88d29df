"""`GET /candles`."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from litestar import Request, get
from litestar.response.base import ASGIResponse

from market_data.api.http.cached_parameters import CachedParameters
from market_data.api.http.caching import is_past
from market_data.api.http.consistency import read_source
from market_data.api.http.handlers import check_zone
from market_data.api.http.openapi import openapi_operation, responses
from market_data.api.http.parameters import (
    DEFAULT_CANDLES_LIMIT,
    AdjustmentParameter,
    CandlesAsOfParameter,
    CandlesLimitParameter,
    CandlesOrderParameter,
    EndParameter,
    FillParameter,
    FormatParameter,
    GraceParameter,
    IntervalParameter,
    OneSymbolParameter,
    OnParameter,
    PageTokenParameter,
    SessionParameter,
    SeveralSymbolsParameter,
    StartParameter,
    ZoneParameter,
)
from market_data.api.http.past import PastMoment, find_close, find_version
from market_data.api.http.range_requests import RangeRequests
from market_data.api.http.row_responses import JsonPage, RowsResponse
from market_data.api.http.selection import RowParameters, Selection, select
from market_data.errors import BadParameters, Gone
from market_data.models import CandleList, FilledCandleList, ParameterProblem, SymbolsCandleList, SymbolsFilledCandleList
from market_data.queries.adjustment import Adjustment
from market_data.queries.candles import CANDLE_COLUMNS, CandleRange, Fill, SessionKind, columns_of
from market_data.queries.gapfilled_candles import GAPFILLED_COLUMNS
from market_data.queries.intervals import (
    ALL_INTERVALS,
    INTERVALS,
    MAX_SECONDS_DAYS,
    SECONDS,
    bucket_start,
    next_bucket,
)
from market_data.queries.past import AsOf
from market_data.queries.retention import read_dropped_before
from market_data.queries.row_pages import BEGINNING, Order
from market_data.queries.session_candles import reader_of
from market_data.trade_validation import rfc3339

MAX_GAPFILLED: Final = 10_000_000
"""Candles of a streamed response with `fill`, in which a long range has any number of empty ones."""

MAX_SESSION: Final = timedelta(days=2)
"""Time after midnight UTC of its date by which each session has ended."""

MAX_SECONDS_RANGE: Final = timedelta(days=MAX_SECONDS_DAYS)


@get(
    "/candles",
    summary="Candles",
    description=(
        "Open, high, low, close and volume of a symbol, or of several, by bucket, oldest first by default: whole buckets "
        "whose start lies in the range, the open bucket included. Buckets are UTC unless `tz` is given, and weeks start on "
        "Monday. A bucket without a trade has no candle, except with `fill`. Without `start`, the newest candles. JSON has "
        f"pages; the other formats have the whole range, with `fill` up to {MAX_GAPFILLED:,} candles."
    ),
    tags=["Candles"],
    operation_class=openapi_operation(has_rows=True, has_ranges=True, has_version=True),
    middleware=[RangeRequests, CachedParameters],
    responses=responses(SymbolsFilledCandleList | SymbolsCandleList | FilledCandleList | CandleList, 400, 404, 410),
)
async def candles(
    request: Request[Any, Any, Any],
    interval: IntervalParameter,
    symbol: OneSymbolParameter = None,
    symbols: SeveralSymbolsParameter = None,
    start: StartParameter = None,
    end: EndParameter = None,
    order: CandlesOrderParameter = None,
    fill: FillParameter = None,
    tz: ZoneParameter = None,
    session: SessionParameter = None,
    adjustment: AdjustmentParameter = None,
    limit: CandlesLimitParameter = None,
    page_token: PageTokenParameter = None,
    as_of: CandlesAsOfParameter = None,
    on: OnParameter = None,
    grace: GraceParameter = None,
    given_format: FormatParameter = None,
) -> ASGIResponse:
    order = order or "asc"
    session, adjustment = session or "all", adjustment or "raw"
    check_zone(interval, tz, session)
    is_plain = interval in INTERVALS and not tz and not fill and session == "all" and adjustment == "raw"
    past = await _find_past(request, as_of, grace, page_token, plain=is_plain)
    given = RowParameters(symbol, symbols, start, end, limit, page_token, given_format, as_of, past, on)
    chosen = [name for name, default in ((session, "all"), (adjustment, "raw")) if name != default]
    more = [*([grace] if grace else []), *chosen]
    selection = await select(request, "/candles", given, order, DEFAULT_CANDLES_LIMIT, interval, fill, tz and tz.key, *more)
    rows = await _range(request, selection, interval, order, tz, fill, session, adjustment)
    read_page = reader_of(rows)

    def to_struct(page: JsonPage) -> CandleList | FilledCandleList | SymbolsCandleList | SymbolsFilledCandleList:
        fields = interval, page.start, page.end, page.row_count, page.rows, page.token
        if page.symbols is None:
            return CandleList(rows.symbol, *fields) if fill is None else FilledCandleList(rows.symbol, *fields, fill)
        symbols = list(page.symbols)
        return SymbolsCandleList(symbols, *fields) if fill is None else SymbolsFilledCandleList(symbols, *fields, fill)

    def has_ended(end: datetime) -> bool:
        """Return True if the last bucket that starts before a time has ended."""
        if session != "all":
            return is_past(end + ALL_INTERVALS[interval] + MAX_SESSION)
        if not is_past(end):
            return False
        last = bucket_start(end, interval, tz)
        return last == end or is_past(next_bucket(last, interval, tz))

    columns = columns_of("csv", CANDLE_COLUMNS if fill is None else GAPFILLED_COLUMNS)
    return await RowsResponse(request, selection, rows, read_page, columns, has_ended, to_struct).respond()


async def _find_past(
    request: Request[Any, Any, Any],
    moment: PastMoment | None,
    grace: timedelta | None,
    page_token: str | None,
    *,
    plain: bool,
) -> AsOf | None:
    is_close = moment is not None and moment.is_close
    if grace is not None and not is_close:
        raise BadParameters([ParameterProblem("grace", "needs as_of=close")])
    if not is_close:
        return await find_version(request, moment, page_token)
    if not plain:
        detail = f"close needs one of the intervals {', '.join(INTERVALS)}, without tz, fill, session and adjustment"
        raise BadParameters([ParameterProblem("as_of", detail)])
    return await find_close(request, grace or timedelta())


async def _range(
    request: Request[Any, Any, Any],
    selection: Selection,
    interval: str,
    order: Order,
    tz: ZoneInfo | None,
    fill: Fill | None,
    session: SessionKind,
    adjustment: Adjustment,
) -> CandleRange:
    """Return the range of a selection.

    Raises:
        BadParameters: It leads to too many candles.
        Gone: It needs trades that retention has dropped.
    """
    start = selection.start
    if interval in SECONDS:
        start = await _start_of_seconds(request, selection)
    elif fill and selection.limit is None:
        _check_size(interval, selection)
    from_end = selection.is_newest and order == "asc"
    symbol, end, as_of = selection.symbols[0], selection.end, selection.as_of
    return CandleRange(symbol, interval, start, end, order, from_end, tz, fill, as_of, session, adjustment)


def _check_size(interval: str, selection: Selection) -> None:
    if selection.start == BEGINNING:
        detail = f"is required with fill in the format {selection.response_format}, unless limit is given"
        raise BadParameters([ParameterProblem("start", detail)])
    buckets = (min(selection.end, datetime.now(UTC)) - selection.start) // ALL_INTERVALS[interval] + 1
    if buckets * len(selection.symbols) > MAX_GAPFILLED:
        detail = (
            f"leads to {buckets * len(selection.symbols):,} candles with the empty ones, more than the maximum of "
            f"{MAX_GAPFILLED:,}; ask for a shorter range, a longer interval, or without fill"
        )
        raise BadParameters([ParameterProblem("start", detail)])


async def _start_of_seconds(request: Request[Any, Any, Any], selection: Selection) -> datetime:
    """Return the start of a range of candles that are computed from trades."""
    dropped_before = await read_source(request).read(read_dropped_before)
    if selection.start == BEGINNING:
        return max(selection.end - MAX_SECONDS_RANGE, dropped_before or BEGINNING)
    if selection.end - selection.start > MAX_SECONDS_RANGE:
        detail = f"must be at most {MAX_SECONDS_DAYS} days before end, because {', '.join(SECONDS)} are computed from trades"
        raise BadParameters([ParameterProblem("start", detail)])
    if dropped_before and selection.start < dropped_before:
        raise Gone(
            f"The trades before {rfc3339(dropped_before)} were dropped; start there, or choose an interval from 1m on."
        )
    return selection.start
