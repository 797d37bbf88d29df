"""`GET /`: name, version and links of the service, as a page for browsers."""

from typing import Any

from litestar import MediaType, Request, get
from litestar.response.base import ASGIResponse

from market_data import __version__
from market_data.api.front_page import front_page
from market_data.api.http.base_urls import base_urls
from market_data.api.http.caching import REVALIDATE
from market_data.api.http.handlers import json_response, root_path
from market_data.api.http.openapi import OPEN, openapi_operation, problem_responses, response
from market_data.api.http.response_formats import accepted_media_type
from market_data.models import SERVICE
from market_data.models_status import Welcome

LINKS = {
    "dashboard": "/dashboard",
    "docs": "/docs",
    "redoc": "/redoc",
    "openapi": "/openapi.json",
    "health": "/health",
    "ready": "/health/ready",
    "ingestion": "/status/ingestion",
    "metrics": "/metrics",
    "symbols": "/symbols",
    "calendars": "/calendars",
    "price": "/price/latest",
    "prices": "/prices/latest",
    "snapshots": "/snapshots",
    "trades": "/trades",
    "candles": "/candles",
}


@get(
    "/",
    opt=OPEN,
    summary="Welcome",
    description="The service's name, version and links. Browsers, whose `Accept` prefers `text/html`, get a page.",
    tags=["Service"],
    operation_class=openapi_operation(scope=None),
    responses={200: response(Welcome, "Name, version and links."), **problem_responses(500)},
)
async def root(request: Request[Any, Any, Any]) -> ASGIResponse:
    if accepted_media_type(request, (MediaType.JSON, MediaType.HTML)) == MediaType.HTML:
        return await front_page(request)
    links = {name: root_path(request) + path for name, path in LINKS.items()}
    return json_response(Welcome(SERVICE, __version__, links, base_urls(request)), {**REVALIDATE, "Vary": "Accept"})
