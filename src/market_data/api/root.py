"""`GET /`: name, version and links of the service."""

from litestar import get
from litestar.response.base import ASGIResponse

from market_data import __version__
from market_data.api.http.caching import REVALIDATE
from market_data.api.http.handlers import json_response
from market_data.api.http.openapi import OPEN, openapi_operation, problem_responses, response
from market_data.models import SERVICE
from market_data.models_status import Welcome

WELCOME = Welcome(
    SERVICE,
    __version__,
    {
        "dashboard": "/dashboard",
        "docs": "/docs",
        "redoc": "/redoc",
        "openapi": "/schema/openapi.json",
        "health": "/health",
        "ready": "/health/ready",
        "ingestion": "/status/ingestion",
        "metrics": "/metrics",
        "symbols": "/symbols",
        "price": "/price/latest",
        "prices": "/prices/latest",
        "trades": "/trades",
        "candles": "/candles",
    },
)


@get(
    "/",
    opt=OPEN,
    operation_id="Welcome",
    summary="Welcome",
    description="The service's name, version and links.",
    tags=["Service"],
    operation_class=openapi_operation(scope=None),
    responses={200: response(Welcome, "Name, version and links."), **problem_responses(500)},
)
async def root() -> ASGIResponse:
    return json_response(WELCOME, REVALIDATE)
