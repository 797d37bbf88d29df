"""Refresh of candles by the service while the database's own job does not do it.

After a crash of the server, TimescaleDB starts a job that was running then only five minutes later. It starts none if its
scheduler has ended, and on some servers every job fails.
"""

import asyncio
import logging
import time

import psycopg

from market_data.database.connection import Deadline, connect
from market_data.database.pool import Database
from market_data.errors import DatabaseUnavailable, first_line
from market_data.queries.candle_refresh import read_refresh_is_overdue, refresh_candles
from market_data.settings import Settings

logger = logging.getLogger(__name__)

CHECK_SECONDS = 1.0

MIN_CHECKS = 3
"""Checks in a row that find the refresh overdue before the first run: after a start, the database's jobs need a moment."""

COVER_SECONDS = 30.0
"""For this long after a run, one check that finds the refresh overdue starts the next run."""

MAX_SECONDS = 600.0
"""Time after which the connection of a run is aborted. One step may take minutes, and would begin again if cancelled."""

PAUSE_SECONDS = 0.25
"""Pause between two runs of a second, in which clients of the embedded engine get turns."""

MAX_RUNS = 60
"""Runs after which it checks whether the job runs again."""


class CandleRefresher:
    """Run `run()` as a task. Any number of processes may do so: one at a time refreshes."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._database_url = str(settings.direct_url)
        self._database = database
        self._checks = 0
        """Checks in a row that found the refresh overdue."""
        self._covers_until = 0.0
        self._failure = ""
        """Last error that was logged, until a run succeeds."""

    async def run(self) -> None:
        """Check until cancelled; try again at the next turn if the database can't be reached."""
        while True:
            try:
                overdue = await self._database.read(read_refresh_is_overdue)
                self._checks = self._checks + 1 if overdue else 0
                if self._checks >= MIN_CHECKS or (overdue and self._covers):
                    await self._refresh()
            except DatabaseUnavailable:
                pass  # the pool logs it
            except psycopg.Error as error:
                if first_line(error) != self._failure:
                    self._failure = first_line(error)
                    logger.warning("candles not refreshed: %s", self._failure)
            await asyncio.sleep(CHECK_SECONDS)

    @property
    def _covers(self) -> bool:
        return time.monotonic() < self._covers_until

    async def _refresh(self) -> None:
        if not self._covers:
            logger.warning("the job refresh_candles does not run: the service refreshes candles; see market-data doctor")
        async with await connect(self._database_url, query_timeout=0) as connection:
            for _ in range(MAX_RUNS):
                self._covers_until = time.monotonic() + COVER_SECONDS
                with Deadline(connection, MAX_SECONDS):
                    remain = await refresh_candles(connection)
                self._failure = ""
                if not remain:
                    return
                await asyncio.sleep(PAUSE_SECONDS)
