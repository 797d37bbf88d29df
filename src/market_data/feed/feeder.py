"""The supervised task: feed → batches → trades.

Of all the processes on one database exactly one feeds: the holder of the lease `feed`, which each batch extends in its
own transaction. The others ask for the lease every second, and get it when its holder gives it back or has been silent
for as long as a lease lasts. Who gets it goes on from the last prices in the database. A batch that a lost connection
interrupts is given up, for nobody was told of it: if it was stored after all, the walk goes on from it.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from secrets import token_hex
from typing import Literal

import psycopg

from market_data.database.connection import Connection, Deadline, connect
from market_data.errors import first_line
from market_data.feed.random_walk import LISTINGS, Listing, RandomWalk
from market_data.queries.leases import (
    FEED_LEASE,
    acquire_lease,
    insert_symbols,
    read_last_prices,
    release_lease,
    store_feed_trades,
)
from market_data.settings import Settings
from market_data.telemetry.metrics import FEED_ERRORS, TRADES_INGESTED

logger = logging.getLogger(__name__)

FIRST_WAIT, LONGEST_WAIT = 0.25, 5.0
"""Seconds between two attempts to reach a lost database: doubled each time, up to the second figure."""

State = Literal["starting", "feeding", "waiting", "lost", "refused", "failed", "dead"]
"""What a feed is at: storing trades, waiting for the lease, trying again after an error of some kind, or ended by one."""

ASK_SECONDS = 1.0
"""How often a process that does not feed asks for the lease."""


def now() -> datetime:
    """The time of this machine, in UTC."""
    return datetime.now(UTC)


class Feeder:
    """The feed of one process: `run()` it as a task; `stop()` lets what it is storing be stored, and ends it."""

    def __init__(
        self,
        database_url: str,
        settings: Settings,
        *,
        listings: tuple[Listing, ...] = LISTINGS,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._database_url = database_url
        self._query_timeout = settings.query_timeout_seconds
        self._interval = settings.ingestion_interval_seconds
        self._lease_seconds = settings.feed_lease_seconds
        self._listings = listings
        self._walk = RandomWalk(listings, step_seconds=self._interval, seed=settings.feed_seed)
        self._clock = clock
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{token_hex(4)}"
        self._stopping = asyncio.Event()
        self.state: State = "starting"
        self._wait = FIRST_WAIT

    def stop(self) -> None:
        """Let `run()` end after the statement that it is at."""
        self._stopping.set()

    async def run(self) -> None:
        """Feed until stopped. A lost database is waited for, and so is the lease while another process has it."""
        try:
            await self._keep_trying()
        finally:
            if not self._stopping.is_set():
                self._enter("dead", logging.ERROR, "the feed has ended and stores no more trades")

    async def _keep_trying(self) -> None:
        while not self._stopping.is_set():
            try:
                async with await connect(self._database_url, self._query_timeout) as connection:
                    await self._take_turns(connection)
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                self._enter("lost", logging.WARNING, f"the feed lost the database and keeps trying: {first_line(error)}")
            except psycopg.Error as error:
                self._enter("refused", logging.ERROR, f"the feed can't store trades and keeps trying: {first_line(error)}")
            except Exception:  # a bug must not silence the feed for good, nor be hidden
                self._enter("failed", logging.ERROR, "the feed failed and keeps trying", exc_info=True)
            else:
                continue
            FEED_ERRORS.inc()
            await self._sleep(self._wait)
            self._wait = min(self._wait * 2, LONGEST_WAIT)

    async def _take_turns(self, connection: Connection) -> None:
        """Feed whenever the lease can be had; ask for it otherwise."""
        while not self._stopping.is_set():
            if await self._extend_lease(connection):
                await self._feed(connection)
            else:
                self._enter("waiting", logging.INFO, "another process feeds; this one takes over when it stops")
                await self._sleep(ASK_SECONDS)

    async def _feed(self, connection: Connection) -> None:
        """One trade a symbol at each interval, until stopped or until another process has the lease."""
        with self._deadline(connection):
            await insert_symbols(connection, self._listings)
        with self._deadline(connection):
            self._walk.resume(await read_last_prices(connection, self._listings))
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not self._stopping.is_set():
            batch = list(self._walk.tick(self._clock()))
            with self._deadline(connection):
                if not await store_feed_trades(connection, self._holder, self._lease_seconds, batch):
                    return
            TRADES_INGESTED.inc(len(batch))
            self._enter("feeding", logging.INFO, f"feeding {len(self._listings)} symbols every {self._interval:g} s")
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
        """Sleep, but not past `stop()`."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass

    def _enter(self, state: State, level: int, message: str, *, exc_info: bool = False) -> None:
        """Log a change of state, once. One for the better makes the next wait a short one."""
        if state in ("feeding", "waiting"):
            self._wait = FIRST_WAIT
        if state != self.state:
            logger.log(level, message, exc_info=exc_info)
        self.state = state
