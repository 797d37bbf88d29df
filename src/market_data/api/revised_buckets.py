"""`GET /candles/revised`."""

from datetime import UTC, datetime
from typing import Any, Final

from litestar import Request, get
from litestar.response.base import ASGIResponse

from market_data.api.http.caching import NO_STORE
from market_data.api.http.consistency import read_source
from market_data.api.http.handlers import require_symbol
from market_data.api.http.naming import named_response, resolve
from market_data.api.http.openapi import openapi_operation, responses
from market_data.api.http.parameters import (
    EndOfRevisedParameter,
    StartOfRevisedParameter,
    StoredIntervalParameter,
    SymbolParameter,
)
from market_data.api.http.selection import check_range
from market_data.errors import BadParameters
from market_data.models import ParameterProblem
from market_data.models_revisions import RevisedBuckets
from market_data.queries.intervals import INTERVALS
from market_data.queries.revisions import read_revised_buckets

MAX_BUCKETS: Final = 10_000


@get(
    "/candles/revised",
    summary="Buckets of revised candles",
    description=(
        "The buckets whose trades changed more than 30 seconds after the bucket had ended: trades came late, or were "
        "corrected or cancelled. A chart marks revised candles by them. They cost less than `/revisions`, which has the "
        "candles before and after each change; `/candles/explain` has the reasons. Bulk history is left out. The range has "
        f"at most {MAX_BUCKETS:,} buckets."
    ),
    tags=["Candles"],
    operation_class=openapi_operation(),
    responses=responses(RevisedBuckets, 400, 404),
)
async def revised_buckets(
    request: Request[Any, Any, Any],
    symbol: SymbolParameter,
    interval: StoredIntervalParameter,
    start: StartOfRevisedParameter,
    end: EndOfRevisedParameter = None,
) -> ASGIResponse:
    first, last = start.time, end.time if end else datetime.now(UTC)
    check_range(first, last)
    if last - first > MAX_BUCKETS * INTERVALS[interval]:
        detail = f"is too early: the range has more than {MAX_BUCKETS:,} buckets of {interval}; ask for a part of it"
        raise BadParameters([ParameterProblem("start", detail)])
    resolved = await resolve(request, [symbol])
    key = resolved.key
    buckets = await read_source(request).read(read_revised_buckets, key, interval, first, last)
    if not buckets:
        await require_symbol(request, key)
    body = RevisedBuckets(key, interval, first, last, buckets, len(buckets))
    return named_response(request, body, NO_STORE, resolved)
