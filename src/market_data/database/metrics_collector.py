"""Database metrics, sampled in the background by each worker instead of on each scrape.

Samples that could not be refreshed for a while are dropped, because an old value would look like the current one. The same
task restarts TimescaleDB's job scheduler if it has ended.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from math import inf

import psycopg
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from market_data.database.connection import Connection, Deadline, connect
from market_data.database.pool import Database
from market_data.errors import DatabaseUnavailable, first_line
from market_data.models_status import JobStatus, LevelStatus
from market_data.queries.audit_record import AuditProgress, read_progress
from market_data.queries.status import (
    TABLES,
    NewestTrade,
    StaleRanges,
    TableSize,
    read_candle_levels,
    read_jobs,
    read_newest_trade,
    read_stale_ranges,
    read_table_size,
    start_scheduler,
)
from market_data.settings import Settings
from market_data.telemetry import metrics

logger = logging.getLogger(__name__)

SAMPLE_SECONDS = 15.0

SIZES_EVERY = 4
"""Table sizes are read in every fourth sample only: with many chunks they take the longest."""

MAX_FAILED_SAMPLES = 4
"""Failed samples after which the values of the last successful one are dropped."""

PUBLISH_SECONDS = 1.0
"""Maximum age of another worker's figures about its pool and its running requests."""

MAX_SCRAPE_SECONDS = 0.5
"""Seconds that a scrape waits for the time of the newest trade."""


class DatabaseMetrics(Collector):
    """The samples of one worker as Prometheus metrics."""

    def __init__(self, database_url: str, settings: Settings, database: Database) -> None:
        self._database_url = database_url
        self._query_timeout = settings.query_timeout_seconds
        self._database = database
        self._newest = NewestTrade(None, 0)
        self._levels: Sequence[LevelStatus] = ()
        self._jobs: Sequence[JobStatus] = ()
        self._stale = StaleRanges(0, None)
        self._audit: AuditProgress | None = None
        self._failing: set[str] = set()
        self._sampled_at = 0.0
        self._sizes: dict[str, TableSize] = {}
        self._sizes_at = 0.0

    async def run(self) -> None:
        """Sample the database until cancelled; try again at the next turn if it can't be reached."""
        samples = 0
        while True:
            try:
                # A connection for each sample: none is taken from the requests or held in between.
                async with await connect(self._database_url, self._query_timeout) as connection:
                    await self._ensure_scheduler_running(connection)
                    await self._sample(connection, sizes=samples % SIZES_EVERY == 0)
                samples += 1
            except psycopg.Error as error:  # `pool` and `feeder` log a lost database
                logger.debug("database metrics not refreshed: %s", first_line(error))
            except Exception:
                logger.exception("database metrics not refreshed")
            await asyncio.sleep(SAMPLE_SECONDS)

    async def _ensure_scheduler_running(self, connection: Connection) -> None:
        with Deadline(connection, self._query_timeout):
            if await start_scheduler(connection):
                logger.warning("TimescaleDB's job scheduler had ended and was started again")

    async def _sample(self, connection: Connection, *, sizes: bool) -> None:
        with Deadline(connection, self._query_timeout):
            self._levels = await read_candle_levels(connection)
        with Deadline(connection, self._query_timeout):
            self._jobs = await read_jobs(connection)
            self._stale = await read_stale_ranges(connection)
        with Deadline(connection, self._query_timeout):
            self._audit = await read_progress(connection)
        self._sampled_at = time.monotonic()
        self._log_failing_jobs()
        if sizes:
            for table in TABLES:  # one statement each: on the embedded engine, other statements run in between
                with Deadline(connection, self._query_timeout):
                    self._sizes[table] = await read_table_size(connection, table)
            self._sizes_at = time.monotonic()

    def _log_failing_jobs(self) -> None:
        failing = {job.name for job in self._jobs if job.state == "failing"}
        if failing - self._failing:
            names = ", ".join(sorted(failing))
            logger.warning("jobs of the database fail: %s; `market-data doctor` shows their errors", names)
        elif self._failing and not failing:
            logger.info("no job of the database fails any more")
        self._failing = failing

    async def refresh_periodically(self, flush: Callable[[], None]) -> None:
        """Publish this worker's figures every second for scrapes of other workers; a single one does so on each scrape."""
        while metrics.shared():
            self.refresh_pool_gauges()
            flush()
            await asyncio.sleep(PUBLISH_SECONDS)

    def refresh_pool_gauges(self) -> None:
        """Set the gauges of the connection pool."""
        in_use, idle, waiting = self._database.occupancy()
        metrics.POOL_CONNECTIONS.labels("in_use").set(in_use)
        metrics.POOL_CONNECTIONS.labels("idle").set(idle)
        metrics.POOL_WAITING.set(waiting)

    async def refresh_newest_trade(self) -> None:
        """Read the time of the newest trade; after `MAX_SCRAPE_SECONDS` or an error, keep the one known before."""
        read = asyncio.ensure_future(self._database.read_coalesced(read_newest_trade))
        await asyncio.wait([read], timeout=MAX_SCRAPE_SECONDS)
        if not read.done():
            read.add_done_callback(_failed)
        elif not _failed(read):
            self._newest = read.result()

    def collect(self) -> Iterator[Metric]:
        """Yield the samples that are recent enough, and the age of the newest trade at this moment."""
        age = GaugeMetricFamily(
            "market_data_last_trade_age_seconds", "Time since the newest trade, as far as this service knows."
        )
        open_age = GaugeMetricFamily(
            "market_data_last_trade_open_age_seconds",
            "Time since the newest trade during which a market of the symbols was open, by their calendars.",
        )
        now = datetime.now(UTC)
        for gauge, seconds in ((age, self._newest.age(now)), (open_age, self._newest.open_age(now))):
            if seconds is not None:
                gauge.add_metric([], seconds)
            yield gauge
        current = time.monotonic() - self._sampled_at < SAMPLE_SECONDS * MAX_FAILED_SAMPLES
        lag = GaugeMetricFamily(
            "market_data_watermark_lag_seconds",
            "How far the candles are materialized behind the newest trade.",
            labels=["interval"],
        )
        for level in self._levels if current else ():
            if level.lag_seconds is not None:
                lag.add_metric([level.interval], level.lag_seconds)
        yield lag
        stale = GaugeMetricFamily("market_data_stale_ranges", "Ranges whose candles wait for a refresh.")
        stale_age = GaugeMetricFamily("market_data_stale_range_age_seconds", "Time for which the oldest of them has waited.")
        if current:
            stale.add_metric([], self._stale.waiting)
            stale_age.add_metric([], self._stale.oldest_seconds or 0)
        yield from (stale, stale_age)
        yield from _job_metrics(self._jobs if current else ())
        yield from _audit_metrics(self._audit if current else None)
        chunks = GaugeMetricFamily("market_data_table_chunks", "Chunks of a table.", labels=["table"])
        size = GaugeMetricFamily("market_data_table_bytes", "Bytes of a table on disk, indexes included.", labels=["table"])
        if time.monotonic() - self._sizes_at < SAMPLE_SECONDS * SIZES_EVERY * MAX_FAILED_SAMPLES:
            for table, table_size in self._sizes.items():
                chunks.add_metric([table], table_size.chunks)
                size.add_metric([table], table_size.bytes)
        yield from (chunks, size)


def _job_metrics(jobs: Iterable[JobStatus]) -> tuple[Metric, ...]:
    # A label `job` would collide with Prometheus' own. Without the id, two jobs could have the same labels, and Prometheus
    # would reject all metrics.
    labels = ["job_id", "procedure", "table"]
    failures = CounterMetricFamily("market_data_job_failures", "Runs of a job of the database that failed.", labels=labels)
    age = GaugeMetricFamily(
        "market_data_job_last_success_age_seconds",
        "Time since the last successful run of a job; +Inf before the first.",
        labels=labels,
    )
    interval = GaugeMetricFamily("market_data_job_interval_seconds", "Time between two runs of a job.", labels=labels)
    for job in jobs:
        values = [str(job.id), job.job, job.table or ""]
        failures.add_metric(values, job.failures)
        if job.state != "unused":
            age.add_metric(values, inf if job.seconds_since_success is None else job.seconds_since_success)
            interval.add_metric(values, job.interval_seconds)
    return failures, age, interval


def _audit_metrics(audit: AuditProgress | None) -> tuple[Metric, ...]:
    differences = GaugeMetricFamily("market_data_audit_differences", "Differences that the audit has found so far.")
    still = GaugeMetricFamily("market_data_audit_open_differences", "Differences found by the audit that are not repaired.")
    candles = GaugeMetricFamily("market_data_audit_candles", "Candles that the audit has compared, each counted once.")
    commits = GaugeMetricFamily("market_data_audit_commits", "Commits that the audit has compared, each counted once.")
    since = GaugeMetricFamily(
        "market_data_audit_verified_since_seconds", "Unix time from which on all candles have been compared."
    )
    age = GaugeMetricFamily("market_data_audit_age_seconds", "Time since the comparison that was made longest ago.")
    if audit:
        differences.add_metric([], audit.differences)
        still.add_metric([], audit.open_differences)
        candles.add_metric([], audit.candles)
        commits.add_metric([], audit.commits)
        if audit.verified_since:
            since.add_metric([], audit.verified_since.timestamp())
        if audit.candles_verified_at:
            age.add_metric([], max((datetime.now(UTC) - audit.candles_verified_at).total_seconds(), 0))
    return differences, still, candles, commits, since, age


def _failed(read: "asyncio.Future[NewestTrade]") -> bool:
    """True if a read failed. The call also keeps asyncio from logging an exception that was never retrieved."""
    return read.cancelled() or isinstance(read.exception(), DatabaseUnavailable | psycopg.Error)
