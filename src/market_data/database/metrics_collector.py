"""What the metrics tell of the database: read now and then, by each worker for itself, not at each scrape.

What can't be read any more is left out after a while, so that nobody takes it for the present state. Whoever looks also sees
to it that the jobs go on.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import psycopg
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from market_data.database.connection import Connection, Deadline, connect
from market_data.database.pool import Database
from market_data.errors import DatabaseUnavailable, first_line
from market_data.queries.status import (
    TABLES,
    CandleLevel,
    Size,
    read_candle_levels,
    read_newest_trade_time,
    read_sizes,
    start_scheduler,
)
from market_data.settings import Settings
from market_data.telemetry import metrics

logger = logging.getLogger(__name__)

EVERY_SECONDS = 15.0
"""Between two looks at the candles."""

SIZE_ROUNDS = 4
"""Sizes are asked for once in so many of them: with many chunks they take the longest."""

KEPT_ROUNDS = 4
"""How many looks may fail before what the last one saw is left out."""

NOTED_SECONDS = 1.0
"""How old another worker's figures of its pool and of its running requests may be."""

NEWEST_SECONDS = 0.5
"""How long a scrape waits for the time of the newest trade."""


class DatabaseMetrics(Collector):
    """The samples of one worker, as metrics."""

    def __init__(self, database_url: str, settings: Settings, database: Database) -> None:
        self._database_url = database_url
        self._query_timeout = settings.query_timeout_seconds
        self._database = database
        self._newest: datetime | None = None
        self._levels: Sequence[CandleLevel] = ()
        self._levels_at = 0.0
        self._sizes: dict[str, Size] = {}
        self._sizes_at = 0.0

    async def run(self) -> None:
        """Look at the database until cancelled. One that can't be reached is asked again the next time."""
        turn = 0
        while True:
            try:
                # A connection for each look: it takes none from the requests, and holds none in between.
                async with await connect(self._database_url, self._query_timeout) as connection:
                    await self._see_to_jobs(connection)
                    await self._look(connection, sizes=turn % SIZE_ROUNDS == 0)
                turn += 1
            except psycopg.Error as error:  # of a lost database `database` and `ingest` tell
                logger.debug("no samples for the metrics: %s", first_line(error))
            except Exception:
                logger.exception("no samples for the metrics")
            await asyncio.sleep(EVERY_SECONDS)

    async def _see_to_jobs(self, connection: Connection) -> None:
        with Deadline(connection, self._query_timeout):
            if await start_scheduler(connection):
                logger.warning("TimescaleDB's scheduler of jobs had ended, and was started again")

    async def _look(self, connection: Connection, *, sizes: bool) -> None:
        with Deadline(connection, self._query_timeout):
            self._levels = await read_candle_levels(connection)
        self._levels_at = time.monotonic()
        if sizes:
            for table in TABLES:  # one at a time, between which others have their turn
                with Deadline(connection, self._query_timeout):
                    self._sizes[table] = await read_sizes(connection, table)
            self._sizes_at = time.monotonic()

    async def keep_noted(self, flush: Callable[[], None]) -> None:
        """Note every second what may be asked of another worker; of a single one it is noted when it is asked."""
        while metrics.shared():
            self.note_pool()
            flush()
            await asyncio.sleep(NOTED_SECONDS)

    def note_pool(self) -> None:
        """Note how the pool is now."""
        in_use, idle, waiting = self._database.occupancy()
        metrics.POOL_CONNECTIONS.labels("in_use").set(in_use)
        metrics.POOL_CONNECTIONS.labels("idle").set(idle)
        metrics.POOL_WAITING.set(waiting)

    async def find_newest(self) -> None:
        """Ask for the newest trade, but not for long: without an answer the one that is known goes on to age."""
        asked = asyncio.ensure_future(self._database.share(read_newest_trade_time, None))
        await asyncio.wait([asked], timeout=NEWEST_SECONDS)
        if not asked.done():
            asked.add_done_callback(_take_note)
        elif not _take_note(asked):
            self._newest = asked.result()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The samples that are not too old, and the age of the newest trade at this moment."""
        age = GaugeMetricFamily(
            "market_data_last_trade_age_seconds", "Time since the newest trade, as far as this service knows."
        )
        if self._newest:
            age.add_metric([], max((datetime.now(UTC) - self._newest).total_seconds(), 0))
        lag = GaugeMetricFamily(
            "market_data_watermark_lag_seconds",
            "How far the candles are materialized behind the newest trade.",
            labels=["interval"],
        )
        chunks = GaugeMetricFamily("market_data_table_chunks", "Chunks of a table.", labels=["table"])
        size = GaugeMetricFamily("market_data_table_bytes", "Bytes of a table on disk, indexes included.", labels=["table"])
        if time.monotonic() - self._levels_at < EVERY_SECONDS * KEPT_ROUNDS:
            for level in self._levels:
                if level.lag_seconds is not None:
                    lag.add_metric([level.interval], level.lag_seconds)
        if time.monotonic() - self._sizes_at < EVERY_SECONDS * SIZE_ROUNDS * KEPT_ROUNDS:
            for table, found in self._sizes.items():
                chunks.add_metric([table], found.chunks)
                size.add_metric([table], found.bytes)
        yield from (age, lag, chunks, size)


def _take_note(asked: "asyncio.Future[datetime | None]") -> bool:
    """Whether a question failed."""
    return asked.cancelled() or isinstance(asked.exception(), DatabaseUnavailable | psycopg.Error)
