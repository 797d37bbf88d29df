"""Refresh of candles by the service while the database's own job does not do it.

After a crash of the server, TimescaleDB starts a job that was running then only five minutes later. It starts none if its
scheduler has ended, and on some servers every job fails.
"""

import asyncio
import logging

import psycopg

from market_data.database.connection import connect
from market_data.database.pool import Database
from market_data.errors import DatabaseUnavailable, first_line
from market_data.queries.candle_refresh import read_refresh_is_overdue, refresh_candles
from market_data.settings import Settings

logger = logging.getLogger(__name__)

CHECK_SECONDS = 1.0

PAUSE_SECONDS = 0.25
"""Pause between two runs of a second, in which clients of the embedded engine get turns."""

MAX_RUNS = 60
"""Runs after which it checks whether the job runs again."""


class CandleRefresher:
    """Run `run()` as a task. Any number of processes may do so: one at a time refreshes."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._database_url = str(settings.direct_url)
        self._query_timeout = settings.query_timeout_seconds
        self._database = database
        self._covering = False

    async def run(self) -> None:
        """Check until cancelled; try again at the next turn if the database can't be reached."""
        while True:
            try:
                if await self._database.read(read_refresh_is_overdue):
                    self._report()
                    await self._refresh()
                else:
                    self._covering = False
            except DatabaseUnavailable:
                pass  # the pool logs it
            except psycopg.Error as error:
                logger.warning("candles not refreshed: %s", first_line(error))
            await asyncio.sleep(CHECK_SECONDS)

    def _report(self) -> None:
        if not self._covering:
            logger.warning("the job refresh_candles does not run, so the service refreshes candles; see market-data doctor")
        self._covering = True

    async def _refresh(self) -> None:
        async with await connect(self._database_url, self._query_timeout) as connection:
            for _ in range(MAX_RUNS):
                if not await refresh_candles(connection):
                    return
                await asyncio.sleep(PAUSE_SECONDS)
