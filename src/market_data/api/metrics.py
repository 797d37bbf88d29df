"""The metrics, for Prometheus."""

from typing import Any

from litestar import Request, get
from litestar.openapi.datastructures import ResponseSpec
from litestar.response.base import ASGIResponse

from market_data.api.http.caching import LIVE
from market_data.api.http.openapi import PROBLEMS, operation
from market_data.services import services_of
from market_data.telemetry.metrics import MEDIA_TYPE, exposition


@get(
    "/metrics",
    summary="Metrics",
    description=(
        "What the service counts, in Prometheus' text format: of all worker processes, whichever of them answers. Also "
        "answers, with less, while the database does not."
    ),
    tags=["Service"],
    operation_class=operation(),
    responses={
        200: ResponseSpec(str, generate_examples=False, description="The metrics.", media_type="text/plain"),
        500: PROBLEMS[500],
    },
)
async def metrics(request: Request[Any, Any, Any]) -> ASGIResponse:
    services = services_of(request)
    await services.database_metrics.refresh_newest_trade()
    services.database_metrics.refresh_pool_gauges()
    services.flush_access_log()
    return ASGIResponse(body=exposition(services.database_metrics), media_type=MEDIA_TYPE, headers=LIVE)
