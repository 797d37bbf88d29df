"""`GET /candles/explain`."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from litestar import Request, get
from litestar.response.base import ASGIResponse

from market_data.api.http.caching import NO_STORE
from market_data.api.http.consistency import read_source
from market_data.api.http.handlers import check_zone, require_symbol
from market_data.api.http.naming import named_response, resolve
from market_data.api.http.openapi import openapi_operation, responses
from market_data.api.http.parameter_types import TimeBound
from market_data.api.http.parameters import (
    AsOfParameter,
    BucketParameter,
    IntervalParameter,
    OnParameter,
    SymbolParameter,
    ZoneParameter,
)
from market_data.api.http.past import caching_of, find_version, version_headers
from market_data.errors import BadParameters, Gone
from market_data.models import ParameterProblem
from market_data.models_explanation import CandleExplanation
from market_data.queries.candles import CandleRange
from market_data.queries.explanation import read_explanation
from market_data.queries.intervals import bucket_start, next_bucket
from market_data.queries.retention import read_dropped_before
from market_data.trade_validation import rfc3339


@get(
    "/candles/explain",
    summary="Explanation of a candle",
    description=(
        "The reasons for the figures of a candle: the trades behind its prices, the figures computed again from the trades, "
        "the trades that came after the bucket had ended, and the corrections and cancellations. Needs the trades of the "
        "bucket: 410 if they have been dropped."
    ),
    tags=["Candles"],
    operation_class=openapi_operation(has_version=True),
    responses=responses(CandleExplanation, 400, 404, 410),
)
async def candle_explanation(
    request: Request[Any, Any, Any],
    symbol: SymbolParameter,
    interval: IntervalParameter,
    timestamp: BucketParameter,
    tz: ZoneParameter = None,
    as_of: AsOfParameter = None,
    on: OnParameter = None,
) -> ASGIResponse:
    check_zone(interval, tz)
    resolved = await resolve(request, [symbol], on)
    key = resolved.key
    past = await find_version(request, as_of)
    now = past.time if past else datetime.now(UTC)
    start, end = _bucket(timestamp, interval, tz, now)
    source = read_source(request)
    dropped_before = None if past else await source.read(read_dropped_before)
    if dropped_before and start < dropped_before:
        raise Gone(f"The trades before {rfc3339(dropped_before)} were dropped; only later candles can be explained.")
    explained, version = await source.read(read_explanation, CandleRange(key, interval, start, end, tz=tz, as_of=past))
    if not explained.candle:
        await require_symbol(request, key)
    caching = NO_STORE if timestamp.relative else caching_of(request, as_of)
    return named_response(request, explained, {**caching, **version_headers(version)}, resolved)


def _bucket(time: TimeBound, interval: str, tz: ZoneInfo | None, now: datetime) -> tuple[datetime, datetime]:
    """Return start and end of the bucket that starts at a time, or that contains a relative one.

    Raises:
        BadParameters: None does, or it has not begun.
    """
    start = bucket_start(time.time, interval, tz)
    detail = ""
    if start != time.time and not time.relative:
        detail = f"must be the start of a bucket of {interval}; the one of that time starts at {rfc3339(start)}"
    elif start > now:
        detail = "is in the future; the bucket has not begun"
    if detail:
        raise BadParameters([ParameterProblem("timestamp", detail)])
    return start, next_bucket(start, interval, tz)
