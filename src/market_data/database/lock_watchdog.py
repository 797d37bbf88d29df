"""End sessions of other roles that block jobs of the database for too long.

A job gives way after `lock_timeout` (see `limit_roles()`), but as long as a session keeps its locks, no job that needs them
succeeds. Time-outs of roles do not help: a user may lift his own.
"""

import asyncio
import logging
import time
from contextlib import suppress

import psycopg

from market_data.database.connection import Connection, Deadline, application_name_is_visible, connect
from market_data.queries.blockers import Blocker, end_session, read_blockers, read_open
from market_data.settings import Settings

logger = logging.getLogger(__name__)

CHECK_SECONDS = 1.0
"""Less than the time that a job waits, so that each wait is seen."""


class LockWatchdog:
    """Run `run()` as a task. Any number of processes may do so."""

    def __init__(self, settings: Settings) -> None:
        self._database_url = str(settings.direct_url)
        self._query_timeout = settings.query_timeout_seconds
        self._seconds = settings.max_blocking_seconds
        self._since: dict[Blocker, float] = {}
        """Transactions that have not ended since they blocked a session, and when they were first seen."""
        self._refused = set[str]()
        """Roles whose sessions this role may not end."""

    async def run(self) -> None:
        """Check until cancelled. The embedded engine needs no checks: in its one session nothing waits for a lock."""
        while self._seconds:
            with suppress(psycopg.Error):  # the pool logs a lost database
                # A connection of its own: those of the pool may all wait for the locks of the session to be ended.
                async with await connect(self._database_url, self._query_timeout) as connection:
                    if not await application_name_is_visible(connection):
                        return
                    while True:
                        with Deadline(connection, self._query_timeout):
                            await self._check(connection)
                        await asyncio.sleep(CHECK_SECONDS)
            await asyncio.sleep(CHECK_SECONDS)

    async def _check(self, connection: Connection) -> None:
        now = time.monotonic()
        for blocker in await read_blockers(connection):
            self._since.setdefault(blocker, now)
        if not self._since:
            return
        still_open = await read_open(connection, [blocker.transaction for blocker in self._since])
        self._since = {blocker: since for blocker, since in self._since.items() if blocker.transaction in still_open}
        for blocker, since in self._since.items():
            if now - since >= self._seconds:
                await self._end(connection, blocker, now - since)

    async def _end(self, connection: Connection, blocker: Blocker, seconds: float) -> None:
        try:
            ended = await end_session(connection, blocker)
        except psycopg.errors.InsufficientPrivilege:
            if blocker.role not in self._refused:
                self._refused.add(blocker.role)
                logger.warning(
                    "a session of %s (pid %d) blocks jobs of the database, and may not be ended: "
                    "GRANT pg_signal_backend to the role of the service",
                    blocker.role,
                    blocker.pid,
                )
        else:
            if ended:
                logger.warning(
                    "ended a session of %s (pid %d), which blocked jobs of the database for %.0f s",
                    blocker.role,
                    blocker.pid,
                    seconds,
                )
