"""The pool that the reads of requests take their connections from.

A server that restarts leaves dead connections behind, so a read that loses its connection is tried once more on a new one.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests

from market_data.database.coalescing import RequestCoalescer
from market_data.database.connection import (
    NAME_BYTES,
    Connection,
    Deadline,
    connection_parameters,
    shows_names,
    take_utc,
    time_limit,
)
from market_data.errors import DatabaseUnavailable, first_line
from market_data.queries.wal import read_lsn
from market_data.settings import Settings
from market_data.telemetry.logging import REQUEST_ID, ThrottledWarning

K = TypeVar("K")
P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)

UNAVAILABLE = "The database can't be reached or is too busy; try again in a moment."
STOPPING = "The service is stopping; try again in a moment."
UNKNOWN_END = "The connection to the database was lost, so this may have been stored or not: repeat the same request."

WRITE_ATTEMPTS = 3
"""How often a transaction is run that the database has undone in favour of another one."""

LONGEST_QUEUE = 0.25
"""How much of the time that a request may wait for a connection it may have to expect; beyond that it is refused at once."""

CLOSE_SECONDS = 1.0
"""How long the pool may take to close."""


class Database:
    """The pool, with what a request may expect of it. Opened by `async with`, which does not wait for the server."""

    written: int = 0
    """The position of the log at which the newest `write` was committed, or a later one; kept where there is a replica."""

    def __init__(self, database_url: str, settings: Settings) -> None:
        self._has_replica = settings.database_read_url is not None
        self._query_timeout = settings.query_timeout_seconds
        self._shared = settings.database_direct_url is not None  # with others, by PgBouncer
        parameters = connection_parameters(database_url, self._query_timeout, shared=self._shared)
        self._name = str(parameters["application_name"])
        self._shows_names = False
        self._pool = AsyncConnectionPool(
            database_url,
            connection_class=Connection,
            kwargs=parameters,
            configure=take_utc if self._shared else self._look_for_names,
            min_size=settings.pool_size,
            max_size=settings.pool_size,
            timeout=settings.pool_timeout_seconds,
            max_waiting=settings.pool_max_waiting,
            reconnect_timeout=5,  # after this it starts over: with the default, 300 s, recovery lags by its backing off
            open=False,
            name="requests",
        )
        self._lost = False
        self._drains = 0
        self._in_use = 0
        self._size = settings.pool_size
        self._longest_queue = settings.pool_timeout_seconds * LONGEST_QUEUE
        self._waiting = 0
        self._held_seconds = 0.0
        self._refusals = ThrottledWarning(logger)
        self._flights = RequestCoalescer(self._find)

    async def __aenter__(self) -> Self:
        await self._pool.open(wait=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._flights.stop()
        await self._pool.close(CLOSE_SECONDS)

    async def read(self, query: Callable[Concatenate[Connection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """What a function of `queries` finds. It may be run twice, so it must only read.

        Raises:
            DatabaseUnavailable: No connection in time, too many requests waiting for one, or no answer in time.
                Also where the service stops and can't wait for the answer: nothing else cancels a request.
        """
        return await self._read(self._request_name(), query, *args, **kwargs)

    async def _read(
        self, name: str, query: Callable[Concatenate[Connection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        with self._told():
            try:
                return await self._run(name, query, *args, **kwargs)
            except _ConnectionLost:
                return await self._run(name, query, *args, **kwargs)

    async def write(
        self, statement: Callable[Concatenate[Connection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """What a function of `queries` answers that stores something, in one transaction.

        It is run again where the database has undone it in favour of another transaction, but not where the connection is
        lost on the way, for then nobody knows whether it has been committed.

        Raises:
            DatabaseUnavailable: As `read`; its message says where the same may have been stored all the same.
        """
        with self._told():
            answer = await self._attempt(statement, *args, **kwargs)
        if self._has_replica:
            with suppress(DatabaseUnavailable):  # what has been committed is not to be answered as if it were not
                self.written = await self._read(self._name, read_lsn)
        return answer

    async def _attempt(
        self, statement: Callable[Concatenate[Connection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        for _ in range(WRITE_ATTEMPTS - 1):
            with suppress(psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure):
                return await self._write(statement, *args, **kwargs)
        return await self._write(statement, *args, **kwargs)

    async def _write(
        self, statement: Callable[Concatenate[Connection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        try:
            return await self._run(self._request_name(), statement, *args, **kwargs)
        except (PoolTimeout, TooManyRequests):
            raise
        except (psycopg.OperationalError, psycopg.InterfaceError, _ConnectionLost) as error:
            if isinstance(error, psycopg.Error) and error.sqlstate:
                raise  # the server says so itself, and has undone it
            raise DatabaseUnavailable(UNKNOWN_END) from error

    def _request_name(self) -> str:
        request = REQUEST_ID.get()
        return self._name if request is None else f"{self._name}/{request}"[:NAME_BYTES]

    @contextmanager
    def _told(self) -> Generator[None]:
        """Have what the database fails with told as DatabaseUnavailable, and its coming and going logged."""
        try:
            yield
        except psycopg.errors.QueryCanceled as error:
            logger.warning("a request is answered 503: %s", first_line(error))
            raise DatabaseUnavailable(UNAVAILABLE) from error
        except TooManyRequests as error:
            self._refusals.count(str(error))
            raise DatabaseUnavailable(UNAVAILABLE) from error
        except (
            psycopg.OperationalError,
            psycopg.InterfaceError,
            psycopg.errors.ReadOnlySqlTransaction,  # of a server that is no longer the primary one
            _ConnectionLost,
        ) as error:
            self._note(lost=True, reason=error)
            raise DatabaseUnavailable(UNAVAILABLE) from error
        except asyncio.CancelledError as error:
            raise DatabaseUnavailable(STOPPING) from error
        if self._lost:
            self._note(lost=False)

    async def share(self, query: Callable[[Connection, K], Awaitable[T]], key: K) -> T:
        """Like `read`, for what many ask for at once: those who come while one read runs share the next one.

        So the database is asked by one at a time, and no answer is older than its request. It is nobody's in particular, so
        the database does not see for whom it runs.
        """
        try:
            return await self._flights.join((query, key))
        except asyncio.CancelledError as error:
            raise DatabaseUnavailable(STOPPING) from error

    async def _find(self, flight: tuple[Callable[[Connection, Any], Awaitable[Any]], Any]) -> Any:
        query, key = flight
        return await self._read(self._name, query, key)

    async def _run(
        self, name: str, query: Callable[Concatenate[Connection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        # Not `async with pool.connection()`: its transaction block costs a tenth of a small read, and does nothing here.
        connection = await self._wait_for_connection()
        self._in_use += 1
        since = time.monotonic()
        drains = self._drains
        deadline = Deadline(connection, self._query_timeout)
        try:
            with deadline:
                if self._shows_names:
                    await connection.take_name(name)
                if self._shared:
                    async with time_limit(connection, self._query_timeout):
                        return await query(connection, *args, **kwargs)
                return await query(connection, *args, **kwargs)
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            if not connection.closed or deadline.passed:
                raise
            if drains == self._drains:  # the first to notice: the other connections of the pool will be dead as well
                self._drains += 1
                await self._pool.drain()
            raise _ConnectionLost(str(error)) from error
        finally:
            self._in_use -= 1
            self._held_seconds += (time.monotonic() - since - self._held_seconds) / 16
            await self._pool.putconn(connection)

    async def _wait_for_connection(self) -> Connection:
        """A connection of the pool, unless so many wait for one already that it would take too long.

        Without that, each of too many requests waits for as long as it may, and only then learns that it was in vain.
        """
        if self._waiting * self._held_seconds / self._size > self._longest_queue:
            raise TooManyRequests(f"{self._waiting} requests wait, each for {self._held_seconds:.3f} s of a connection")
        self._waiting += 1
        try:
            return await self._pool.getconn()
        finally:
            self._waiting -= 1

    async def _look_for_names(self, connection: Connection) -> None:
        self._shows_names = await shows_names(connection)
        connection.name = self._name

    def occupancy(self) -> tuple[int, int, int]:
        """How many connections are in use, how many are idle, and how many requests wait for one."""
        numbers = self._pool.get_stats()
        return self._in_use, numbers.get("pool_available", 0), numbers.get("requests_waiting", 0)

    def _note(self, *, lost: bool, reason: Exception | None = None) -> None:
        """Log that the database went away or came back, once."""
        if lost and not self._lost:
            logger.warning("requests are answered 503: %s", first_line(reason))
        elif self._lost and not lost:
            logger.info("the database answers requests again")
        self._lost = lost


class _ConnectionLost(Exception):
    """The connection died under a read; another one may do."""
