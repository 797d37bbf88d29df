"""Whether trades arrive, and how far what is made of them is."""

from datetime import UTC, datetime
from typing import Any, Literal

from litestar import Request, get
from litestar.response.base import ASGIResponse

from market_data.api.http.caching import LIVE
from market_data.api.http.openapi import answers, json, operation
from market_data.models import IngestionStatus, JobStatus, LevelStatus
from market_data.queries.status import read_ingestion
from market_data.services import services_of

INTERVALS_TO_STALE = 3
"""How many intervals of ingestion may pass without a trade."""


@get(
    "/status/ingestion",
    summary="Ingestion",
    description=(
        "Whether trades arrive, which replica feeds, how far the candles of each interval are materialized, and how the "
        "jobs of the database ran last."
    ),
    tags=["Service"],
    operation_class=operation(),
    responses=answers(IngestionStatus),
)
async def ingestion_status(request: Request[Any, Any, Any]) -> ASGIResponse:
    settings = services_of(request).settings
    found = await services_of(request).database.read_coalesced(read_ingestion, None)
    threshold = settings.ingestion_interval_seconds * INTERVALS_TO_STALE
    age = None
    if found.newest_trade:
        age = max((datetime.now(UTC) - found.newest_trade).total_seconds(), 0)
    status: Literal["alive", "stale", "disabled"] = "stale"
    if age is not None and age < threshold:
        status = "alive"
    elif not settings.feed_enabled and not found.holder:
        status = "disabled"
    return json(
        IngestionStatus(
            status,
            found.newest_trade,
            age,
            threshold,
            found.holder,
            [LevelStatus(*level) for level in found.levels],
            [JobStatus(*job) for job in found.jobs],
        ),
        LIVE,
    )
