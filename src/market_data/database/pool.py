"""The connection pool that requests use.

A server that restarts leaves dead connections in the pool, so a read that loses its connection runs again on a new one.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Generator, Hashable, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, TypeVarTuple

import psycopg
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests

from market_data.database.coalescing import RequestBatcher, RequestCoalescer
from market_data.database.connection import (
    MAX_NAME_BYTES,
    Connection,
    Deadline,
    application_name_is_visible,
    connection_parameters,
    set_utc,
    transaction_with_timeout,
)
from market_data.errors import DatabaseUnavailable, first_line
from market_data.queries.past import translate_error
from market_data.queries.wal import read_lsn
from market_data.settings import Settings
from market_data.telemetry.logging import REQUEST_ID, ThrottledWarning

K = TypeVar("K", bound=Hashable)
P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

Query = Callable[[Connection], Awaitable[T]]

logger = logging.getLogger(__name__)

UNAVAILABLE = "The database can't be reached or is too busy; try again in a moment."
OUTCOME_UNKNOWN = (
    "The connection to the database was lost, so the data may or may not have been stored; repeat the same request."
)

WRITE_ATTEMPTS = 3
"""Runs of a transaction that the database rolls back because of a deadlock or a serialization failure."""

MAX_QUEUE_SHARE = 0.25
"""Share of POOL_TIMEOUT_SECONDS: a request whose expected wait for a connection is longer is rejected at once."""

CLOSE_SECONDS = 0.5

KEPT_SECONDS = 60.0
"""Time after which a connection goes back to psycopg's pool, which replaces it at the end of its lifetime."""


class Database:
    """The pool with retries, deadlines and error translation. `async with` opens it without waiting for the server."""

    last_write_lsn: int = 0
    """WAL position at or after the commit of the newest `write`; 0 without a replica."""

    def __init__(self, database_url: str, settings: Settings, *, log_availability: bool = True) -> None:
        self._logs_availability = log_availability
        self._has_replica = settings.database_read_url is not None
        self._query_timeout = settings.query_timeout_seconds
        self._pgbouncer = settings.database_direct_url is not None
        parameters = connection_parameters(database_url, self._query_timeout, pgbouncer=self._pgbouncer)
        self._name = str(parameters["application_name"])
        self._name_is_visible = False
        self._pool = AsyncConnectionPool(
            database_url,
            connection_class=Connection,
            kwargs=parameters | {"on_failure": self._remember_failure},
            configure=self._configure,
            min_size=settings.pool_size,
            max_size=settings.pool_size,
            timeout=settings.pool_timeout_seconds,
            max_waiting=settings.pool_max_waiting,
            reconnect_timeout=5,  # restarts the back-off: with psycopg's default, 300 s, recovery takes much longer
            open=False,
            name="requests",
        )
        self._lost = False
        self._connect_failure: str | None = None
        """Reason why the newest attempt to connect failed; None if it did not."""
        self._drains = 0
        self._in_use = 0
        self._kept: list[Connection] = []
        """Idle connections that were taken from psycopg's pool. The one used last is lent first: its caches are warm, on the
        server as well. Lending it takes no lock of psycopg's pool."""
        self._size = settings.pool_size
        self._max_queue_seconds = settings.pool_timeout_seconds * MAX_QUEUE_SHARE
        self._waiting = 0
        self._average_use_seconds = 0.0
        self._rejections = ThrottledWarning(logger)
        self._coalescer = RequestCoalescer(self._read_for_all)
        self._batcher = RequestBatcher(self._read_items)

    async def __aenter__(self) -> Self:
        await self._pool.open(wait=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._coalescer.stop()
        await self._batcher.stop()
        await self._pool.close(CLOSE_SECONDS)
        for connection in self._take_kept():
            await self._pool.putconn(connection)  # closes it

    async def read(self, query: Callable[Concatenate[Connection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the result of a function of `queries`. It may run twice, so it must not write.

        Raises:
            DatabaseUnavailable: No connection in time, too many requests waiting for one, or no result in time.
        """
        return await self._read(self._request_name(), lambda connection: query(connection, *args, **kwargs))

    async def _read(self, name: str, query: Query[T]) -> T:
        with self._translating_errors():
            try:
                return await self._run(name, query)
            except _ConnectionLost:
                return await self._run(name, query)

    async def read_coalesced(self, query: Callable[[Connection, *Ts], Awaitable[T]], *args: *Ts) -> T:
        """Run `read` once for all concurrent calls with the same arguments; no result is older than its call.

        The statement runs under the service's name, not a request's, because it belongs to several requests.
        """
        return await self._coalescer.get((query, *args))

    async def _read_for_all(self, call: tuple[Any, ...]) -> Any:
        query, *args = call
        return await self._read(self._name, lambda connection: query(connection, *args))

    async def read_batched(self, query: Callable[[Connection, Sequence[K]], Awaitable[Mapping[K, T]]], item: K) -> T:
        """Run `read` once for the items of all concurrent calls, as `read_coalesced`. The query returns results by item."""
        return await self._batcher.get(query, item)

    async def _read_items(self, query: Callable[..., Any], items: tuple[Any, ...]) -> Mapping[Any, Any]:
        return await self._read(self._name, lambda connection: query(connection, items))

    async def write(
        self, statement: Callable[Concatenate[Connection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return the result of a function of `queries` that stores something in one transaction.

        It runs again after a deadlock or a serialization failure, but not after a lost connection, because then the
        transaction may have been committed.

        Raises:
            DatabaseUnavailable: As `read`; the message says if the data may have been stored.
        """
        with self._translating_errors():
            result = await self._write_with_retry(lambda connection: statement(connection, *args, **kwargs))
        if self._has_replica:
            with suppress(DatabaseUnavailable):  # the write is committed: report it as stored
                self.last_write_lsn = await self._read(self._name, read_lsn)
        return result

    async def _write_with_retry(self, statement: Query[T]) -> T:
        for _ in range(WRITE_ATTEMPTS - 1):
            with suppress(psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure):
                return await self._write(statement)
        return await self._write(statement)

    async def _write(self, statement: Query[T]) -> T:
        try:
            return await self._run(self._request_name(), statement)
        except (PoolTimeout, TooManyRequests):
            raise
        except (psycopg.OperationalError, psycopg.InterfaceError, _ConnectionLost) as error:
            if isinstance(error, psycopg.Error) and error.sqlstate:
                raise  # the server reported the error, so it has rolled back
            raise DatabaseUnavailable(OUTCOME_UNKNOWN) from error

    def _request_name(self) -> str:
        request = REQUEST_ID.get()
        return self._name if request is None else f"{self._name}/{request}"[:MAX_NAME_BYTES]

    @contextmanager
    def _translating_errors(self) -> Generator[None]:
        """Translate database errors to `DatabaseUnavailable`, and log when the database becomes unavailable or available."""
        try:
            yield
        except psycopg.errors.QueryCanceled as error:
            logger.warning("query timed out: %s", first_line(error))
            raise DatabaseUnavailable(UNAVAILABLE) from error
        except TooManyRequests as error:
            self._rejections.count(str(error))
            raise DatabaseUnavailable(UNAVAILABLE) from error
        except (
            psycopg.OperationalError,
            psycopg.InterfaceError,
            psycopg.errors.ReadOnlySqlTransaction,  # from a server that is no longer the primary
            _ConnectionLost,
        ) as error:
            self._log_availability(lost=True, reason=error)
            raise DatabaseUnavailable(UNAVAILABLE) from error
        except psycopg.DatabaseError as error:
            raise translate_error(error) from error
        if self._lost:
            self._log_availability(lost=False)

    async def _run(self, name: str, query: Query[T]) -> T:
        # Not `async with pool.connection()`: its transaction block takes a tenth of a small read's time, for nothing here.
        connection = self._kept.pop() if self._kept else await self._wait_for_connection()
        self._in_use += 1
        since = time.monotonic()
        drains = self._drains
        deadline = Deadline(connection, self._query_timeout)
        try:
            with deadline:
                if self._name_is_visible:
                    connection.wanted_name = name
                if self._pgbouncer:
                    async with transaction_with_timeout(connection, self._query_timeout):
                        return await query(connection)
                return await query(connection)
        except psycopg.Error as error:  # of any class: the server may end a session with one of a transaction's errors
            if not connection.closed or deadline.expired:
                raise
            if drains == self._drains:  # the first failure since the last drain: the pool's other connections are dead, too
                self._drains += 1
                kept = self._take_kept()
                await self._pool.drain()
                for each in kept:
                    await self._pool.putconn(each)
            raise _ConnectionLost(str(error)) from error
        finally:
            self._in_use -= 1
            now = time.monotonic()
            self._average_use_seconds += (now - since - self._average_use_seconds) / 16
            is_idle = connection.pgconn.transaction_status == TransactionStatus.IDLE
            is_current = drains == self._drains and now < connection.kept_until and not self._pool.closed
            if is_idle and is_current and not self._waiting:
                self._kept.append(connection)
            else:
                await self._pool.putconn(connection)

    async def _wait_for_connection(self) -> Connection:
        """Return a connection of the pool, or reject the request if the expected wait is too long.

        Otherwise each of too many requests would wait for the whole pool time-out and then fail.
        """
        if self._waiting * self._average_use_seconds / self._size > self._max_queue_seconds:
            raise TooManyRequests(
                f"{self._waiting} requests wait for a connection, each needs one for {self._average_use_seconds:.3f} s"
            )
        self._waiting += 1
        try:
            connection = await self._pool.getconn()
            connection.kept_until = time.monotonic() + KEPT_SECONDS
            return connection
        except PoolTimeout as error:
            raise PoolTimeout(self._connect_failure or str(error)) from error
        finally:
            self._waiting -= 1

    def _take_kept(self) -> list[Connection]:
        kept, self._kept = self._kept, []
        return kept

    async def _configure(self, connection: Connection) -> None:
        """Prepare a new connection for the pool."""
        self._connect_failure = None
        if self._pgbouncer:
            await set_utc(connection)
        else:
            self._name_is_visible = await application_name_is_visible(connection)
            connection.name = self._name

    def _remember_failure(self, error: psycopg.Error) -> None:
        self._connect_failure = first_line(error)

    def occupancy(self) -> tuple[int, int, int]:
        """Return the numbers of connections in use, of idle connections and of requests waiting for one."""
        statistics = self._pool.get_stats()
        return self._in_use, len(self._kept) + statistics.get("pool_available", 0), statistics.get("requests_waiting", 0)

    def _log_availability(self, *, lost: bool, reason: Exception | None = None) -> None:
        """Log a change of the availability once."""
        if lost and not self._lost and self._logs_availability:
            logger.warning("database unavailable: %s", first_line(reason))
        elif self._lost and not lost and self._logs_availability:
            logger.info("database available again")
        self._lost = lost


class _ConnectionLost(Exception):
    """The connection was lost during a statement; another one may work."""
