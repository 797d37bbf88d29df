"""Structs of the service's own state: health, readiness, ingestion, and its front page."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from market_data.models import SERVICE, IntervalName


class Health(Struct, frozen=True):
    """State of the service and of its database."""

    status: Annotated[Literal["healthy", "unhealthy"], Meta(description="State of the service.", examples=["healthy"])]
    service: Annotated[Literal["market-data-platform"], Meta(description="Name of the service.", examples=[SERVICE])]
    database: Annotated[Literal["healthy", "unhealthy"], Meta(description="State of the database.", examples=["healthy"])]
    timestamp: Annotated[datetime, Meta(description="Time of this check.", examples=["2026-02-08T10:30:00Z"])]
    last_trade_count: Annotated[
        int | None,
        Meta(
            description="Number of stored trades; null if unhealthy.",
            examples=[4215],
        ),
    ]
    last_ingestion: Annotated[
        datetime | None,
        Meta(
            description="Time of the newest trade; null if there is none, or if unhealthy.",
            examples=["2026-02-08T10:29:58.500000Z"],
        ),
    ]


class Liveness(Struct, frozen=True):
    """The process responds. The database is not queried."""

    status: Annotated[Literal["alive"], Meta(description="State of the process.", examples=["alive"])]


class ReadinessChecks(Struct, frozen=True):
    """Conditions for serving requests."""

    schema: Annotated[
        Literal["ok", "outdated", "unknown"],
        Meta(
            description="`outdated` if the schema is too old for this version; `unknown` if the database does not respond.",
            examples=["ok"],
        ),
    ]
    pool: Annotated[
        Literal["ok", "unavailable"],
        Meta(description="`ok` if the pool has a connection and the database responds.", examples=["ok"]),
    ]
    feed: Annotated[
        Literal["starting", "feeding", "waiting", "lost", "refused", "failed", "dead", "disabled"],
        Meta(
            description=(
                "State of the feed: `waiting` while another process feeds; retrying after it `lost` the database, was "
                "`refused` or `failed`; only `dead` makes the service unready."
            ),
            examples=["feeding"],
        ),
    ]


class Readiness(Struct, frozen=True):
    """Readiness of this process for requests."""

    status: Annotated[Literal["ready", "unready"], Meta(description="State of this process.", examples=["ready"])]
    checks: Annotated[ReadinessChecks, Meta(description="The checked conditions.")]


class LevelStatus(Struct, frozen=True):
    """Progress of materialization of an interval; later candles are computed at read time."""

    interval: IntervalName
    watermark: Annotated[
        datetime | None,
        Meta(description="End of the materialized candles; null if there are none.", examples=["2026-02-08T10:29:00Z"]),
    ]
    lag_seconds: Annotated[
        float | None,
        Meta(description="Seconds from the watermark to the newest trade; null without a watermark.", examples=[58.5]),
    ]


class JobStatus(Struct, frozen=True):
    """A job of the database that maintains the candles, the storage or the stream."""

    job: Annotated[str, Meta(description="Procedure that it calls.", examples=["refresh_candles"])]
    table: Annotated[str | None, Meta(description="Table that it works on, if it is one.", examples=["candles_5m"])]
    last_run: Annotated[
        datetime | None,
        Meta(description="Start of the last run; null before the first.", examples=["2026-02-08T10:30:00Z"]),
    ]
    last_status: Annotated[
        str | None, Meta(description="Result of the last run: `Success` or `Failed`.", examples=["Success"])
    ]
    next_run: Annotated[
        datetime | None,
        Meta(description="Scheduled start of the next run; null while it is paused.", examples=["2026-02-08T10:30:05Z"]),
    ]


class IngestionStatus(Struct, frozen=True):
    """State of the ingestion: newest trade, feeding replica, candles and jobs."""

    ingestion_status: Annotated[
        Literal["alive", "stale", "disabled"],
        Meta(
            description=(
                "`alive` while the newest trade, from any source, is younger than the threshold; else `disabled` if the "
                "feed of this service is off and no other replica feeds, and `stale` otherwise."
            ),
            examples=["alive"],
        ),
    ]
    last_trade: Annotated[
        datetime | None, Meta(description="Time of the newest trade.", examples=["2026-02-08T10:29:58.500000Z"])
    ]
    seconds_since_last_trade: Annotated[float | None, Meta(description="Age of the newest trade.", examples=[1.5])]
    threshold_seconds: Annotated[float, Meta(description="Three intervals of ingestion.", examples=[9])]
    feeding_replica: Annotated[
        str | None,
        Meta(
            description="Host, process id and a random part of the replica that holds the feed's lease.",
            examples=["api-1:17:5b1c9e72"],
        ),
    ]
    candles: Annotated[list[LevelStatus], Meta(description="By interval, shortest first.")]
    jobs: Annotated[list[JobStatus], Meta(description="The jobs.")]


class Welcome(Struct, frozen=True):
    """Name, version and links of the service."""

    service: Annotated[str, Meta(description="Name of the service.", examples=[SERVICE])]
    version: Annotated[str, Meta(description="Version of the service.", examples=["0.1.0"])]
    links: Annotated[dict[str, str], Meta(description="Paths of the service.", examples=[{"docs": "/docs"}])]
