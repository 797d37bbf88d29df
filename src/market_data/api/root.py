"""`GET /`: name, version and links of the service."""

from litestar import get
from litestar.openapi.datastructures import ResponseSpec
from litestar.response.base import ASGIResponse

from market_data import __version__
from market_data.api.http.caching import REVALIDATE
from market_data.api.http.handlers import json_response
from market_data.api.http.openapi import OPEN, operation
from market_data.api.http.problem_specs import PROBLEMS
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
    summary="Welcome",
    description="The service's name, version and links.",
    tags=["Service"],
    operation_class=operation(scope=None),
    responses={
        200: ResponseSpec(Welcome, generate_examples=False, description="Name, version and links."),
        500: PROBLEMS[500],
    },
)
async def welcome() -> ASGIResponse:
    return json_response(WELCOME, REVALIDATE)
