"""`GET /status/ingestion` and `GET /status/audit`."""

from datetime import UTC, datetime
from typing import Any, Literal

from litestar import Request, get
from litestar.response.base import ASGIResponse

from market_data.api.http.caching import NO_STORE
from market_data.api.http.handlers import json_response
from market_data.api.http.openapi import openapi_operation, responses
from market_data.models_audit import AuditStatus
from market_data.models_status import IngestionStatus
from market_data.queries.audit_record import read_examples, read_progress
from market_data.queries.status import read_ingestion
from market_data.services import services_of

INTERVALS_TO_STALE = 3
"""Intervals of ingestion without a trade after which the ingestion is stale."""


@get(
    "/status/ingestion",
    summary="Ingestion",
    description=(
        "Age of the newest trade, the feeding replica, progress of materialization by interval, the state of the "
        "database's jobs, and the ranges of candles that wait for a refresh."
    ),
    tags=["Service"],
    operation_class=openapi_operation(),
    responses=responses(IngestionStatus),
)
async def ingestion_status(request: Request[Any, Any, Any]) -> ASGIResponse:
    settings = services_of(request).settings
    found = await services_of(request).database.read_coalesced(read_ingestion)
    threshold = settings.ingestion_interval_seconds * INTERVALS_TO_STALE
    now = datetime.now(UTC)
    newest = found.newest_trade
    open_age = newest.open_age(now)
    status: Literal["alive", "stale", "disabled"] = "stale"
    if open_age is not None and open_age < threshold:
        status = "alive"
    elif not settings.feed_enabled and not found.holder:
        status = "disabled"
    replica = found.holder and found.holder.rpartition(":")[2]  # without host and process id
    return json_response(
        IngestionStatus(
            status,
            newest.time,
            newest.age(now),
            open_age,
            threshold,
            replica,
            found.levels,
            found.jobs,
            *found.stale,
        ),
        NO_STORE,
    )


@get(
    "/status/audit",
    summary="Audit",
    description=(
        "How far back, and how recently, candles have been compared with the trades and trades with the transparency log, "
        "and the differences that were found."
    ),
    tags=["Service"],
    operation_class=openapi_operation(),
    responses=responses(AuditStatus),
)
async def audit_status(request: Request[Any, Any, Any]) -> ASGIResponse:
    database = services_of(request).database
    progress = await database.read_coalesced(read_progress)
    examples = await database.read(read_examples) if progress.differences else []
    return json_response(AuditStatus(services_of(request).settings.audit_share, *progress, examples), NO_STORE)
