"""Health checks: for people (`/health`), for a supervisor (`/health/live`) and for a load balancer (`/health/ready`)."""

import asyncio
from datetime import UTC, datetime
from typing import Any, Literal

import psycopg
from litestar import Request, get
from litestar.response.base import ASGIResponse

from market_data.api.http.caching import NO_STORE
from market_data.api.http.handlers import json_response
from market_data.api.http.openapi import OPEN, openapi_operation, problem_responses, response
from market_data.api.http.problems import RETRY_SECONDS
from market_data.errors import DatabaseUnavailable
from market_data.models import SERVICE
from market_data.models_status import Health, Liveness, Readiness, ReadinessChecks
from market_data.queries.status import read_revision, read_trade_totals
from market_data.services import Services, services_of

NEEDED_REVISION = "0029"
"""Oldest revision of the schema that this version can use, which is its own newest. Revisions are numbered."""

READY_SECONDS = 2.0
"""Time-out of the readiness check's query."""

UNREADY = {**NO_STORE, "Retry-After": str(RETRY_SECONDS)}


@get(
    "/health",
    opt=OPEN,
    summary="Health",
    description="State of the database, number of stored trades and time of the newest. Never cached.",
    tags=["Service"],
    operation_class=openapi_operation(scope=None, rate_limited=False),
    responses={
        200: response(Health, "The service is healthy."),
        **problem_responses(421, 500),
        503: response(Health, "The database can't be reached."),
    },
)
async def health(request: Request[Any, Any, Any]) -> ASGIResponse:
    try:
        trades, newest = await services_of(request).database.read(read_trade_totals)
    except DatabaseUnavailable:
        return json_response(_report("unhealthy", None, None), UNREADY, status=503)
    return json_response(_report("healthy", trades, newest), NO_STORE)


def _report(status: Literal["healthy", "unhealthy"], trades: int | None, newest: datetime | None) -> Health:
    return Health(status, SERVICE, status, datetime.now(UTC), trades, newest)


@get(
    "/health/live",
    opt=OPEN,
    summary="Liveness",
    description="The process responds, even if the database does not. Restart a process that does not respond.",
    tags=["Service"],
    operation_class=openapi_operation(scope=None, rate_limited=False),
    responses={200: response(Liveness, "The process responds."), **problem_responses(500)},
)
async def liveness() -> ASGIResponse:
    return json_response(Liveness("alive"), NO_STORE)


@get(
    "/health/ready",
    opt=OPEN,
    summary="Readiness",
    description=(
        "Ready for requests: the schema is migrated, the database responds, the feed is not dead. A feed that is disabled, "
        "or waits while another process feeds, is fine."
    ),
    tags=["Service"],
    operation_class=openapi_operation(scope=None, rate_limited=False),
    responses={
        200: response(Readiness, "The service is ready."),
        **problem_responses(500),
        503: response(Readiness, "Not ready; the checks have the reason."),
    },
)
async def readiness(request: Request[Any, Any, Any]) -> ASGIResponse:
    checks = await _checks(services_of(request))
    if checks.schema == "ok" and checks.pool == "ok" and checks.feed != "dead":
        return json_response(Readiness("ready", checks), NO_STORE)
    return json_response(Readiness("unready", checks), UNREADY, status=503)


async def _checks(services: Services) -> ReadinessChecks:
    feed = services.feeder.state if services.feeder else "disabled"
    try:
        async with asyncio.timeout(READY_SECONDS):
            revision = await services.database.read_coalesced(read_revision)
    except (DatabaseUnavailable, TimeoutError):
        return ReadinessChecks("unknown", "unavailable", feed)
    except psycopg.errors.UndefinedTable:
        revision = None
    return ReadinessChecks("ok" if revision and revision >= NEEDED_REVISION else "outdated", "ok", feed)
