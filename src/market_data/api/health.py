"""Whether the service can answer: for people (`/health`), for what restarts it and for what sends it requests."""

import asyncio
from datetime import UTC, datetime
from typing import Any, Literal

import psycopg
from litestar import Request, get
from litestar.openapi.datastructures import ResponseSpec
from litestar.response.base import ASGIResponse

from market_data.api.http.caching import LIVE
from market_data.api.http.openapi import OPEN, PROBLEMS, RETRY_SECONDS, json, operation
from market_data.errors import DatabaseUnavailable
from market_data.models import SERVICE, Health, Liveness, Readiness, ReadinessChecks
from market_data.queries.status import read_revision, read_trade_totals
from market_data.services import services_of

NEEDED_REVISION = "0012"
"""The oldest revision of the schema that this version can serve from: its own newest. Revisions are numbered."""

READY_SECONDS = 2.0
"""How long the database may take to answer whether the service is ready."""

UNREADY = {**LIVE, "Retry-After": str(RETRY_SECONDS)}


@get(
    "/health",
    opt=OPEN,
    summary="Health",
    description="Whether the database answers, how many trades it holds and how old the newest is. Never cached.",
    tags=["Service"],
    operation_class=operation(scope=None, limited=False),
    responses={
        200: ResponseSpec(Health, generate_examples=False, description="The service can answer."),
        500: PROBLEMS[500],
        503: ResponseSpec(Health, generate_examples=False, description="The database can't be reached."),
    },
)
async def health(request: Request[Any, Any, Any]) -> ASGIResponse:
    try:
        trades, newest = await services_of(request).database.read(read_trade_totals)
    except DatabaseUnavailable:
        return json(_report("unhealthy", None, None), UNREADY, status=503)
    return json(_report("healthy", trades, newest), LIVE)


def _report(status: Literal["healthy", "unhealthy"], trades: int | None, newest: datetime | None) -> Health:
    return Health(status, SERVICE, status, datetime.now(UTC), trades, newest)


@get(
    "/health/live",
    opt=OPEN,
    summary="Liveness",
    description="That the process answers, whatever the database does. Restart one that does not.",
    tags=["Service"],
    operation_class=operation(scope=None, limited=False),
    responses={
        200: ResponseSpec(Liveness, generate_examples=False, description="The process answers."),
        500: PROBLEMS[500],
    },
)
async def liveness() -> ASGIResponse:
    return json(Liveness("alive"), LIVE)


@get(
    "/health/ready",
    opt=OPEN,
    summary="Readiness",
    description=(
        "Whether requests may be sent here: the schema is migrated, the database answers, the feed has not died. A feed "
        "that is switched off, or waits while another process feeds, is as it should be."
    ),
    tags=["Service"],
    operation_class=operation(scope=None, limited=False),
    responses={
        200: ResponseSpec(Readiness, generate_examples=False, description="The service is ready."),
        500: PROBLEMS[500],
        503: ResponseSpec(Readiness, generate_examples=False, description="Send no requests for now; the checks say why."),
    },
)
async def readiness(request: Request[Any, Any, Any]) -> ASGIResponse:
    feeder = services_of(request).feeder
    schema, pool = await _look(request)
    checks = ReadinessChecks(schema, pool, feeder.state if feeder else "disabled")
    if schema == "ok" and pool == "ok" and checks.feed != "dead":
        return json(Readiness("ready", checks), LIVE)
    return json(Readiness("unready", checks), UNREADY, status=503)


Schema = Literal["ok", "outdated", "unknown"]
Pool = Literal["ok", "unavailable"]


async def _look(request: Request[Any, Any, Any]) -> tuple[Schema, Pool]:
    try:
        async with asyncio.timeout(READY_SECONDS):
            revision = await services_of(request).database.read_coalesced(read_revision, None)
    except (DatabaseUnavailable, TimeoutError):
        return "unknown", "unavailable"
    except psycopg.errors.UndefinedTable:
        revision = None
    return "ok" if revision and revision >= NEEDED_REVISION else "outdated", "ok"
