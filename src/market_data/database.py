"""The connections of a worker: a pool for the reads of requests, single ones for tasks of their own.

A server that restarts leaves dead connections behind, and one that is cut off from us leaves silent ones. So a read that
loses its connection is tried once more on a new one, and no read waits longer than the query time-out: the server is told
to give up after it, and where no answer comes even so (a stalled network; the embedded engine, which can't stop a query)
the connection is cut.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool

from market_data.errors import DatabaseUnavailable
from market_data.settings import Settings

Connection = AsyncConnection[Any]
P = ParamSpec("P")
K = TypeVar("K")
T = TypeVar("T")

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 5
"""How long a connection may take to be made."""

GRACE_SECONDS = 0.5
"""How much longer than the server we wait before cutting a connection that does not answer."""


def connection_parameters(database_url: str, query_timeout: float) -> dict[str, Any]:
    """What every connection of the service is opened with, besides the URL: UTC, autocommit, a statement time-out.

    Options that the URL brings are kept, and win.
    """
    own_options = f"-c statement_timeout={round(query_timeout * 1000)} -c timezone=UTC"
    given = conninfo_to_dict(database_url)
    return {
        "autocommit": True,
        "connect_timeout": CONNECT_SECONDS,
        "application_name": given.get("application_name") or "market-data",
        "options": f"{own_options} {given.get('options') or ''}".strip(),
    }


async def connect(database_url: str, query_timeout: float) -> Connection:
    """A connection outside the pool, for a task that must not wait for requests."""
    return await AsyncConnection.connect(database_url, **connection_parameters(database_url, query_timeout))


class Database:
    """The pool, with what a request may expect of it. Opened by `async with`, which does not wait for the server."""

    def __init__(self, database_url: str, settings: Settings) -> None:
        self._query_timeout = settings.query_timeout_seconds
        self._pool = AsyncConnectionPool(
            database_url,
            kwargs=connection_parameters(database_url, self._query_timeout),
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
        self._flights: dict[tuple[object, object], _Flights] = {}

    async def __aenter__(self) -> Self:
        await self._pool.open(wait=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.close()

    async def read(self, query: Callable[Concatenate[Connection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """What a function of `queries` finds. It may be run twice, so it must only read.

        Raises:
            DatabaseUnavailable: No connection in time, too many requests waiting for one, or no answer in time.
        """
        try:
            try:
                answer = await self._run(query, *args, **kwargs)
            except _ConnectionLost:
                answer = await self._run(query, *args, **kwargs)
        except (psycopg.OperationalError, psycopg.InterfaceError, _ConnectionLost) as error:
            self._note(lost=True, reason=error)
            raise DatabaseUnavailable("The database can't be reached or is too busy; try again in a moment.") from error
        if self._lost:
            self._note(lost=False)
        return answer

    async def share(self, query: Callable[[Connection, K], Awaitable[T]], key: K) -> T:
        """Like `read`, for what many ask for at once: those who come while one read runs share the next one.

        So the database is asked by one at a time, and no answer is older than its request.
        """
        flights = self._flights.setdefault((query, key), _Flights())
        if flights.next is None:
            flights.next = asyncio.create_task(self._fly(flights, query, key))
        return await asyncio.shield(flights.next)

    async def _fly(self, flights: "_Flights", query: Callable[[Connection, K], Awaitable[T]], key: K) -> T:
        if flights.running:
            await asyncio.wait([flights.running])
        ahead, flights.running, flights.next = flights.running, flights.next, None
        try:
            if ahead and (error := ahead.exception()):
                raise error  # rather than have those who waited for it wait as long again
            return await self.read(query, key)
        finally:
            if flights.next is None:
                del self._flights[query, key]

    async def _run(self, query: Callable[Concatenate[Connection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        # Not `async with pool.connection()`: its transaction block costs a tenth of a small read, and does nothing here.
        connection = await self._pool.getconn()
        drains = self._drains
        deadline = Deadline(connection, self._query_timeout)
        try:
            with deadline:
                return await query(connection, *args, **kwargs)
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            if not connection.closed or deadline.passed:
                raise
            if drains == self._drains:  # the first to notice: the other connections of the pool will be dead as well
                self._drains += 1
                await self._pool.drain()
            raise _ConnectionLost(str(error)) from error
        finally:
            await self._pool.putconn(connection)

    def _note(self, *, lost: bool, reason: Exception | None = None) -> None:
        """Log that the database went away or came back, once."""
        if lost and not self._lost:
            logger.warning("requests are answered 503: %s", _first_line(reason))
        elif self._lost and not lost:
            logger.info("the database answers requests again")
        self._lost = lost


class _Flights:
    """The read of one answer that runs, and the one that is to follow it."""

    running: asyncio.Task[Any] | None = None
    next: asyncio.Task[Any] | None = None


class _ConnectionLost(Exception):
    """The connection died under a read; another one may do."""


class Deadline:
    """Within it, a connection must answer: one that has not after the server's time-out and half a second is cut.

    It is cut at its socket, so that whoever waits for it gets an OperationalError. Cancelling the waiting task instead
    would have psycopg ask the server to cancel the query and wait for that, up to ten seconds where the network stalls.
    """

    def __init__(self, connection: Connection, query_timeout: float) -> None:
        self.passed = False
        self._connection = connection
        self._seconds = query_timeout + GRACE_SECONDS

    def __enter__(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._cut)

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def _cut(self) -> None:
        self.passed = True
        if not self._connection.closed:
            with socket.socket(fileno=os.dup(self._connection.fileno())) as duplicate:
                duplicate.shutdown(socket.SHUT_RDWR)


def _first_line(error: Exception | None) -> str:
    return str(error).strip().partition("\n")[0]
