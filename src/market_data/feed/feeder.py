"""Background task that stores the feed's trades: random walk → batches → trades.

Of all processes on one database only the holder of the lease `feed` stores trades; each batch extends the lease in its own
transaction. The others try to acquire the lease every second, and get it after its holder releases it or when it expires.
A new holder continues from the last prices in the database. A batch interrupted by a lost connection is not stored again:
if it was committed after all, the walk continues from it.
"""

import asyncio
import logging
from datetime import UTC, datetime
from typing import Literal

import psycopg

from market_data.database.connection import Connection, Deadline, connect
from market_data.errors import first_line
from market_data.feed.random_walk import LISTINGS, RandomWalk
from market_data.queries.latest_prices import read_last_prices
from market_data.queries.leases import FEED_LEASE, acquire_lease, new_holder, release_lease
from market_data.queries.symbols import insert_symbols
from market_data.queries.trade_writes import store_feed_trades
from market_data.settings import Settings
from market_data.telemetry.metrics import FEED_ERRORS, TRADES_INGESTED

logger = logging.getLogger(__name__)

MIN_BACKOFF, MAX_BACKOFF = 0.25, 5.0
"""Seconds between two attempts after an error, doubled each time."""

State = Literal["starting", "feeding", "waiting", "lost", "refused", "failed", "dead"]
"""Storing trades, waiting for the lease, retrying (no connection, statement rejected, or a bug), or ended by an error."""

ACQUIRE_SECONDS = 1.0
"""Seconds between two attempts to acquire the lease."""


class Feeder:
    """The feed of one process. Run `run()` as a task; `stop()` ends it after its current batch."""

    def __init__(self, database_url: str, settings: Settings) -> None:
        self._database_url = database_url
        self._query_timeout = settings.query_timeout_seconds
        self._interval = settings.ingestion_interval_seconds
        self._lease_seconds = settings.feed_lease_seconds
        self._walk = RandomWalk(LISTINGS, step_seconds=self._interval, seed=settings.feed_seed)
        self._holder = new_holder()
        self._stopping = asyncio.Event()
        self.state: State = "starting"
        self._backoff = MIN_BACKOFF

    def stop(self) -> None:
        """End `run()` after its current statement."""
        self._stopping.set()

    async def run(self) -> None:
        """Feed until stopped; wait while the database is unavailable or another process holds the lease."""
        try:
            await self._run_with_retry()
        finally:
            if not self._stopping.is_set():
                self._enter("dead", logging.ERROR, "feed ended: no more trades are stored")

    async def _run_with_retry(self) -> None:
        while not self._stopping.is_set():
            try:
                async with await connect(self._database_url, self._query_timeout) as connection:
                    await self._feed_or_wait(connection)
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                self._enter("lost", logging.WARNING, f"feed lost the database, retrying: {first_line(error)}")
            except psycopg.Error as error:
                self._enter("refused", logging.ERROR, f"feed can't store trades, retrying: {first_line(error)}")
            except Exception:  # a bug must not end the feed, and must be logged
                self._enter("failed", logging.ERROR, "feed failed, retrying", exc_info=True)
            else:
                continue
            FEED_ERRORS.inc()
            await self._sleep(self._backoff)
            self._backoff = min(self._backoff * 2, MAX_BACKOFF)

    async def _feed_or_wait(self, connection: Connection) -> None:
        """Feed while this process holds the lease; otherwise try to acquire it."""
        while not self._stopping.is_set():
            if await self._extend_lease(connection):
                await self._feed(connection)
            else:
                self._enter("waiting", logging.INFO, "another process feeds; waiting for its lease")
                await self._sleep(ACQUIRE_SECONDS)

    async def _feed(self, connection: Connection) -> None:
        """Store one trade a symbol at each interval, until stopped or until another process holds the lease."""
        with self._deadline(connection):
            await insert_symbols(connection, LISTINGS)
        with self._deadline(connection):
            self._walk.resume(await read_last_prices(connection, LISTINGS))
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not self._stopping.is_set():
            batch = list(self._walk.tick(datetime.now(UTC)))
            with self._deadline(connection):
                if not await store_feed_trades(connection, self._holder, self._lease_seconds, batch):
                    return
            TRADES_INGESTED.inc(len(batch))
            self._enter("feeding", logging.INFO, f"feeding {len(LISTINGS)} symbols every {self._interval:g} s")
            due = max(due + self._interval, loop.time())
            while due > loop.time() and not self._stopping.is_set():
                await self._sleep(min(due - loop.time(), self._lease_seconds / 3))
                if due > loop.time() and not await self._extend_lease(connection):
                    return
        with self._deadline(connection):
            await release_lease(connection, FEED_LEASE, self._holder)

    async def _extend_lease(self, connection: Connection) -> bool:
        with self._deadline(connection):
            return await acquire_lease(connection, FEED_LEASE, self._holder, self._lease_seconds)

    def _deadline(self, connection: Connection) -> Deadline:
        return Deadline(connection, self._query_timeout)

    async def _sleep(self, seconds: float) -> None:
        """Sleep until the time is over or `stop()` is called."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass

    def _enter(self, state: State, level: int, message: str, *, exc_info: bool = False) -> None:
        """Log a change of state once. A working state resets the back-off."""
        if state in ("feeding", "waiting"):
            self._backoff = MIN_BACKOFF
        if state != self.state:
            logger.log(level, message, exc_info=exc_info)
        self.state = state
