"""Structs of the service's own state: health, readiness, ingestion, and its front page."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Struct

from market_data.models import SERVICE, IntervalName, doc


class Health(Struct, frozen=True):
    """State of the service and of its database."""

    status: Annotated[Literal["healthy", "unhealthy"], doc("State of the service.", "healthy")]
    service: Annotated[Literal["market-data-platform"], doc("Name of the service.", SERVICE)]
    database: Annotated[Literal["healthy", "unhealthy"], doc("State of the database.", "healthy")]
    timestamp: Annotated[datetime, doc("Time of this check.", "2026-02-08T10:30:00Z")]
    last_trade_count: Annotated[int | None, doc("Number of stored trades; null if unhealthy.", 4215)]
    last_ingestion: Annotated[
        datetime | None,
        doc("Time of the newest trade; null if there is none, or if unhealthy.", "2026-02-08T10:29:58.500000Z"),
    ]


class Liveness(Struct, frozen=True):
    """The process responds. The database is not queried."""

    status: Annotated[Literal["alive"], doc("State of the process.", "alive")]


class ReadinessChecks(Struct, frozen=True):
    """Conditions for serving requests."""

    schema: Annotated[
        Literal["ok", "outdated", "unknown"],
        doc("`outdated` if the schema is too old for this version; `unknown` if the database does not respond.", "ok"),
    ]
    pool: Annotated[Literal["ok", "unavailable"], doc("`ok` if the pool has a connection and the database responds.", "ok")]
    feed: Annotated[
        Literal["starting", "feeding", "waiting", "lost", "refused", "failed", "dead", "disabled"],
        doc(
            "State of the feed: `waiting` while another process feeds; retrying after it `lost` the database, was "
            "`refused` or `failed`; only `dead` makes the service unready.",
            "feeding",
        ),
    ]


class Readiness(Struct, frozen=True):
    """Readiness of this process for requests."""

    status: Annotated[Literal["ready", "unready"], doc("State of this process.", "ready")]
    checks: Annotated[ReadinessChecks, doc("The checked conditions.")]


class LevelStatus(Struct, frozen=True):
    """Progress of materialization of an interval; later candles are computed at read time."""

    interval: IntervalName
    watermark: Annotated[
        datetime | None, doc("End of the materialized candles; null if there are none.", "2026-02-08T10:29:00Z")
    ]
    lag_seconds: Annotated[
        float | None, doc("Seconds from the watermark to the newest trade; null without a watermark.", 58.5)
    ]


JobState = Literal["ok", "failing", "late", "postponed", "stopped", "unused", "pinned"]


class JobStatus(Struct, frozen=True):
    """A job of the database that maintains the candles, the storage or the stream."""

    job: Annotated[str, doc("Procedure that it calls.", "refresh_candles")]
    table: Annotated[str | None, doc("Table that it works on, if it is one.", "candles_5m")]
    last_run: Annotated[datetime | None, doc("Start of the last run; null before the first.", "2026-02-08T10:30:00Z")]
    last_status: Annotated[str | None, doc("Result of the last run: `Success` or `Failed`.", "Success")]
    next_run: Annotated[
        datetime | None, doc("Scheduled start of the next run; null while it is paused or runs.", "2026-02-08T10:30:05Z")
    ]
    id: Annotated[int, doc("Id of the job, for `CALL run_job(…)`.", 1013)]
    state: Annotated[
        JobState,
        doc(
            "`failing` after two failures in a row, or after one without a success within two intervals; `late` if it "
            "should have started five minutes ago, and `postponed` if it starts more than two intervals from now, as "
            "after the clock was set back; `stopped` if it is not scheduled; `unused` if retention is off; `pinned` if a "
            "pin keeps all trades.",
            "ok",
        ),
    ]
    last_success: Annotated[
        datetime | None, doc("End of the last successful run; null before the first.", "2026-02-08T10:30:01Z")
    ]
    seconds_since_success: Annotated[float | None, doc("Time since then.", 4)]
    interval_seconds: Annotated[float, doc("Time between two runs.", 5)]
    failures: Annotated[int, doc("Runs that have failed.", 0)]
    failures_in_a_row: Annotated[int, doc("Runs that have failed since the last success.", 0)]

    @property
    def name(self) -> str:
        """Procedure and table."""
        return f"{self.job} of {self.table}" if self.table else self.job


class IngestionStatus(Struct, frozen=True):
    """State of the ingestion: newest trade, feeding replica, candles and jobs."""

    ingestion_status: Annotated[
        Literal["alive", "stale", "disabled"],
        doc(
            "`alive` while the newest trade, from any source, is younger than the threshold, without the time during which "
            "all markets were closed; else `disabled` if the feed of this service is off and no other replica feeds, and "
            "`stale` otherwise.",
            "alive",
        ),
    ]
    last_trade: Annotated[datetime | None, doc("Time of the newest trade.", "2026-02-08T10:29:58.500000Z")]
    seconds_since_last_trade: Annotated[float | None, doc("Age of the newest trade.", 1.5)]
    open_seconds_since_last_trade: Annotated[
        float | None,
        doc("The part of it during which the market of a symbol was open, by the calendars of the symbols.", 1.5),
    ]
    threshold_seconds: Annotated[float, doc("Three intervals of ingestion.", 9)]
    feeding_replica: Annotated[
        str | None,
        doc("Random name of the process that holds the feed's lease; its host is in the table `leases`.", "5b1c9e72"),
    ]
    candles: Annotated[list[LevelStatus], doc("By interval, shortest first.")]
    jobs: Annotated[list[JobStatus], doc("The jobs.")]
    stale_ranges: Annotated[int, doc("Ranges with late, corrected or cancelled trades whose candles wait for a refresh.", 0)]
    seconds_since_stale: Annotated[
        float | None, doc("Time for which the oldest of these ranges has waited; null if none waits.", None)
    ]


class Welcome(Struct, frozen=True):
    """Name, version and links of the service."""

    service: Annotated[str, doc("Name of the service.", SERVICE)]
    version: Annotated[str, doc("Version of the service.", "0.1.0")]
    links: Annotated[dict[str, str], doc("Paths of the service.", {"docs": "/docs"})]
    base_urls: Annotated[
        dict[str, str],
        doc("Addresses to set in clients of other services, by protocol.", {"tradingview": "http://127.0.0.1:8000/udf"}),
    ]
