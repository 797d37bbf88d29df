"""Reads from a streaming replica, as long as it keeps up with the primary server.

Once a second each worker looks how far the replica is. One that can't be reached, or lies more than LAG_SECONDS behind, is
left alone until it has caught up: its reads go to the primary meanwhile.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Concatenate, ParamSpec, Self, TypeVar

import psycopg
from psycopg_pool import TooManyRequests

from market_data.database.connection import Connection
from market_data.database.pool import Database
from market_data.errors import DatabaseUnavailable, first_line
from market_data.queries.wal import read_lsn, read_wal_position
from market_data.settings import Settings

K = TypeVar("K")
P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)

EVERY_SECONDS = 1.0
LAG_SECONDS = 5


class Replica:
    """A replica beside the primary. Opened by `async with`, which does not wait for it."""

    def __init__(self, read_url: str, settings: Settings, primary: Database) -> None:
        self._primary = primary
        self._replica = Database(read_url, settings)
        self._behind: str | None = "it has not been looked at yet"
        self._passed: deque[int] = deque(maxlen=LAG_SECONDS)

    async def __aenter__(self) -> Self:
        await self._replica.__aenter__()
        self._task = asyncio.create_task(self._watch(), name="replica")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        await self._replica.__aexit__()

    def after(self, position: int) -> "Reads":
        """Reads that see everything that was written up to a position of the primary's log."""
        return Reads(self, position)

    async def fit(self, position: int) -> Database:
        """Where a read that must see this position is to go."""
        if self._behind is None and (not position or await self._replica.read(read_lsn) >= position):
            return self._replica
        return self._primary

    async def attempt(self, position: int, read: Callable[[Database], Awaitable[T]]) -> T:
        """Read where it fits; once more from the primary where the replica was lost on the way."""
        try:
            source = await self.fit(position)
            if source is self._replica:
                return await read(source)
        except DatabaseUnavailable as error:
            if isinstance(error.__cause__, psycopg.errors.QueryCanceled | TooManyRequests):
                raise  # too much for the one would be too much for the other
            self._note(first_line(error.__cause__))
        return await read(self._primary)

    async def _watch(self) -> None:
        while True:
            try:
                primary = await self._primary.read(read_wal_position)
                self._note(await self._find_behind(*primary))
            except DatabaseUnavailable:
                pass  # without the primary, the replica is read as before
            except Exception:
                logger.exception("the replica could not be looked at")
            await asyncio.sleep(EVERY_SECONDS)

    async def _find_behind(self, server: int, position: int) -> str | None:
        """Why reads must not go there; None where they may. Takes which server the primary is, and how far it is."""
        self._passed.append(position)
        try:
            replica_server, replica_position = await self._replica.read(read_wal_position)
        except DatabaseUnavailable as error:
            return first_line(error.__cause__)
        if server != replica_server:
            return "DATABASE_READ_URL is no replica of DATABASE_URL, but another server"
        if replica_position < self._passed[0]:
            return f"it is more than {LAG_SECONDS} s behind"
        return None

    def _note(self, behind: str | None) -> None:
        if behind and self._behind is None:
            logger.warning("the replica is not read: %s", behind)
        elif behind is None and self._behind:
            logger.info("the replica is read")
        self._behind = behind


class Reads:
    """The reads of one request."""

    def __init__(self, replica: Replica, position: int) -> None:
        self._replica = replica
        self._position = position

    async def read(self, query: Callable[Concatenate[Connection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `Database.read`."""
        return await self._replica.attempt(self._position, lambda database: database.read(query, *args, **kwargs))

    async def share(self, query: Callable[[Connection, K], Awaitable[T]], key: K) -> T:
        """As `Database.share`."""
        return await self._replica.attempt(self._position, lambda database: database.share(query, key))
