"""The front door."""

from litestar import get
from litestar.openapi.datastructures import ResponseSpec
from litestar.response.base import ASGIResponse

from market_data import __version__
from market_data.api.http.caching import ASK_AGAIN
from market_data.api.http.openapi import OPEN, PROBLEMS, json, operation
from market_data.models import SERVICE, Welcome

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
    return json(WELCOME, ASK_AGAIN)
