"""Routing of reads to a streaming replica, as long as it keeps up with the primary server.

Once a second each worker compares the replica's WAL position with the primary's. While the replica can't be reached, or is
more than `MAX_LAG_SECONDS` behind, its reads go to the primary.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from math import nan
from typing import Concatenate, ParamSpec, Self, TypeVar, TypeVarTuple

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import TooManyRequests

from market_data.database.connection import Connection
from market_data.database.pool import Database
from market_data.errors import DatabaseUnavailable, first_line
from market_data.queries.wal import read_lsn, read_wal_position
from market_data.settings import Settings
from market_data.tasks import cancel_and_wait
from market_data.telemetry import metrics

K = TypeVar("K", bound=Hashable)
P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

logger = logging.getLogger(__name__)

CHECK_SECONDS = 1.0
MAX_LAG_SECONDS = 5

OVERLOAD = (psycopg.errors.QueryCanceled, TooManyRequests)
"""Causes of a failed read from a replica that can be reached."""


class Replica:
    """A replica and its primary. `async with` opens it without waiting for the replica."""

    def __init__(self, read_url: str, settings: Settings, primary: Database) -> None:
        self._primary = primary
        self._replica = Database(read_url, settings, log_availability=False)  # `_set_usability` logs it
        self._usable: bool | None = None
        """None until the first check."""
        replica = conninfo_to_dict(read_url)
        address = f"{replica.get('host') or 'local'}:{replica.get('port') or 5432}"
        self._used, self._lag = metrics.REPLICA_USED.labels(address), metrics.REPLICA_LAG.labels(address)
        self._used.set(0)
        self._lag.set(nan)
        self._primary_positions: deque[int] = deque(maxlen=MAX_LAG_SECONDS)

    async def __aenter__(self) -> Self:
        await self._replica.__aenter__()
        self._task = asyncio.create_task(self._watch(), name="replica")
        return self

    async def __aexit__(self, *_: object) -> None:
        await cancel_and_wait(self._task)
        await self._replica.__aexit__()

    def at_least(self, lsn: int) -> "ReplicaReads":
        """Return reads that see every write up to a WAL position of the primary (read-your-writes)."""
        return ReplicaReads(self, lsn)

    async def choose(self, lsn: int) -> Database:
        """Return the database for a read that must see a WAL position."""
        if self._usable and (not lsn or await self._replica.read(read_lsn) >= lsn):
            return self._replica
        return self._primary

    async def read_with_fallback(self, lsn: int, read: Callable[[Database], Awaitable[T]]) -> T:
        """Read from the chosen database; from the primary if the replica is lost meanwhile."""
        try:
            database = await self.choose(lsn)
            if database is self._replica:
                return await read(database)
        except DatabaseUnavailable as error:
            if isinstance(error.__cause__, OVERLOAD):
                raise  # the primary would be overloaded, too
            self._set_usability(first_line(error.__cause__))
        return await read(self._primary)

    async def _watch(self) -> None:
        while True:
            try:
                primary = await self._primary.read(read_wal_position)
                self._set_usability(await self._find_problem(*primary))
            except DatabaseUnavailable:
                pass  # without the primary, or while the replica is overloaded, the replica is read as before
            except Exception:
                logger.exception("replica check failed")
            await asyncio.sleep(CHECK_SECONDS)

    async def _find_problem(self, server: int, lsn: int) -> str | None:
        """Compare the replica with the primary's system identifier and WAL position; return why it is unusable, or None.

        Raises:
            DatabaseUnavailable: The replica is overloaded.
        """
        self._primary_positions.append(lsn)
        try:
            replica_server, replica_lsn = await self._replica.read(read_wal_position)
        except DatabaseUnavailable as error:
            if isinstance(error.__cause__, OVERLOAD):
                raise
            self._lag.set(nan)
            return first_line(error.__cause__)
        self._lag.set(max(lsn - replica_lsn, 0))
        if server != replica_server:
            return "DATABASE_READ_URL is not a replica of DATABASE_URL but another server"
        if replica_lsn < self._primary_positions[0]:
            return f"more than {MAX_LAG_SECONDS} s behind the primary"
        return None

    def _set_usability(self, problem: str | None) -> None:
        usable = problem is None
        if usable and not self._usable:
            logger.info("replica used for reads")
        elif problem and self._usable is not False:
            logger.warning("replica not used, reads go to the primary: %s", problem)
        self._usable = usable
        self._used.set(usable)


class ReplicaReads:
    """The reads of one request, which see every write up to one WAL position."""

    def __init__(self, replica: Replica, lsn: int) -> None:
        self._replica = replica
        self._lsn = lsn

    async def read(self, query: Callable[Concatenate[Connection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Read as `Database.read`."""
        return await self._replica.read_with_fallback(self._lsn, lambda database: database.read(query, *args, **kwargs))

    async def read_coalesced(self, query: Callable[[Connection, *Ts], Awaitable[T]], *args: *Ts) -> T:
        """Read as `Database.read_coalesced`."""
        return await self._replica.read_with_fallback(self._lsn, lambda database: database.read_coalesced(query, *args))

    async def read_batched(self, query: Callable[[Connection, Sequence[K]], Awaitable[Mapping[K, T]]], item: K) -> T:
        """Read as `Database.read_batched`."""
        return await self._replica.read_with_fallback(self._lsn, lambda database: database.read_batched(query, item))
