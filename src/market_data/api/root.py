"""`GET /`: name, version and links of the service."""

from typing import Any

from litestar import Request, get
from litestar.response.base import ASGIResponse

from market_data import __version__
from market_data.api.http.caching import REVALIDATE
from market_data.api.http.handlers import json_response, root_path
from market_data.api.http.openapi import OPEN, openapi_operation, problem_responses, response
from market_data.models import SERVICE
from market_data.models_status import Welcome

LINKS = {
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
}


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
async def root(request: Request[Any, Any, Any]) -> ASGIResponse:
    links = {name: root_path(request) + path for name, path in LINKS.items()}
    return json_response(Welcome(SERVICE, __version__, links), REVALIDATE)
