"""`GET /metrics`, for Prometheus."""

from typing import Any

from litestar import Request, get
from litestar.response.base import ASGIResponse

from market_data.api.http.caching import NO_STORE
from market_data.api.http.openapi import openapi_operation, problem_responses, response
from market_data.services import services_of
from market_data.telemetry.metrics import MEDIA_TYPE, exposition


@get(
    "/metrics",
    summary="Metrics",
    description=(
        "Metrics of all worker processes in Prometheus' text format. Without those of the database while it is unavailable."
    ),
    tags=["Service"],
    operation_class=openapi_operation(),
    responses={200: response(str, "The metrics.", media_type="text/plain"), **problem_responses(500)},
)
async def metrics(request: Request[Any, Any, Any]) -> ASGIResponse:
    services = services_of(request)
    await services.database_metrics.refresh_newest_trade()
    services.database_metrics.refresh_pool_gauges()
    services.flush_access_log()
    return ASGIResponse(body=exposition(services.database_metrics), media_type=MEDIA_TYPE, headers=NO_STORE)
