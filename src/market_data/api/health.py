"""Whether the service can answer."""

from datetime import UTC, datetime
from typing import Any, Literal

from litestar import Request, get
from litestar.openapi.datastructures import ResponseSpec
from litestar.response.base import ASGIResponse

from market_data import queries
from market_data.api.caching import LIVE
from market_data.api.operation import PROBLEMS, RETRY_SECONDS, database, json, operation
from market_data.errors import DatabaseUnavailable
from market_data.models import SERVICE, Health


@get(
    "/health",
    summary="Health",
    description="Whether the database answers, how many trades it holds and how old the newest is. Never cached.",
    tags=["Service"],
    operation_class=operation(),
    responses={
        200: ResponseSpec(Health, generate_examples=False, description="The service can answer."),
        500: PROBLEMS[500],
        503: ResponseSpec(Health, generate_examples=False, description="The database can't be reached."),
    },
)
async def health(request: Request[Any, Any, Any]) -> ASGIResponse:
    try:
        trades, newest = await database(request).read(queries.stored)
    except DatabaseUnavailable:
        return json(_report("unhealthy", None, None), {**LIVE, "Retry-After": str(RETRY_SECONDS)}, status=503)
    return json(_report("healthy", trades, newest), LIVE)


def _report(status: Literal["healthy", "unhealthy"], trades: int | None, newest: datetime | None) -> Health:
    return Health(status, SERVICE, status, datetime.now(UTC), trades, newest)
