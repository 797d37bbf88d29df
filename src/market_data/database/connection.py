"""Database connections with a deadline.

A server behind a broken network leaves silent connections, and the embedded engine can't cancel a query. The server gets a
`statement_timeout`; if no result arrives even so, `Deadline` shuts the connection's socket down.
"""

import asyncio
import os
import socket
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Self

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict

from market_data.queries.prepared import PreparingConnection

CONNECT_SECONDS = 5
CANCEL_SECONDS = 1.0

NO_REPLY = f"no reply to a statement within {CONNECT_SECONDS} s; if this is PgBouncer, it may be paused (RESUME ends that)"

GRACE_SECONDS = 0.5
"""Seconds after the server's own time-out until a silent connection is aborted."""

MAX_NAME_BYTES = 63
"""Bytes of an `application_name` that PostgreSQL keeps."""


class Connection(PreparingConnection):
    """A psycopg connection that a cancelled task leaves at once."""

    kept_until = 0.0
    """Time of the monotonic clock at which it goes back to psycopg's pool."""

    @classmethod
    async def connect(  # pyright: ignore[reportIncompatibleMethodOverride]  # libpq has no parameter `on_failure`
        cls, conninfo: str = "", *, on_failure: Callable[[psycopg.Error], None] | None = None, **parameters: Any
    ) -> Self:
        """Connect; on an error, call `on_failure` before raising it, because a pool drops the error."""
        try:
            return await super().connect(conninfo, **parameters)
        except psycopg.Error as error:
            if on_failure:
                on_failure(error)
            raise

    async def cancel_safe(self, *, timeout: float = 30.0) -> None:  # noqa: ASYNC109 - psycopg's signature
        """Abort the connection: a cancel request to the server can take ten seconds in a stalled network."""
        self.abort()

    def abort(self) -> None:
        """Shut the socket down, so that a pending statement raises OperationalError."""
        _shut_down(self)


class BlockingConnection(psycopg.Connection[Any]):
    """A blocking psycopg connection that a signal ends within seconds, even in a stalled network."""

    def cancel_safe(self, *, timeout: float = 30.0) -> None:
        """Cancel the statement, so that the server does not complete a long one; abort the connection if that fails."""
        try:
            super().cancel_safe(timeout=CANCEL_SECONDS)
        except psycopg.Error:
            _shut_down(self)

    @contextmanager
    def first_reply(self) -> Generator[None]:
        """Abort the connection if the block runs longer than `CONNECT_SECONDS`, libpq's limit for the login before it.

        PgBouncer completes a login while it is paused or has no server, and lets the first statement wait without a limit.

        Raises:
            psycopg.OperationalError: The time is over.
        """
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            _shut_down(self)

        timer = threading.Timer(CONNECT_SECONDS, expire)
        timer.start()
        try:
            yield
        except psycopg.OperationalError:
            if expired.is_set():
                raise psycopg.OperationalError(NO_REPLY) from None
            raise
        finally:
            timer.cancel()


def _shut_down(connection: psycopg.Connection[Any] | AsyncConnection[Any]) -> None:
    if not connection.closed:
        with socket.socket(fileno=os.dup(connection.fileno())) as duplicate:
            duplicate.shutdown(socket.SHUT_RDWR)


async def application_name_is_visible(connection: Connection) -> bool:
    """True if `pg_stat_activity` lists the connection; the embedded engine's is empty, and setting a name is slow there."""
    cursor = await connection.execute("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = pg_backend_pid())")
    row = await cursor.fetchone()
    return bool(row and row[0])


def connection_parameters(database_url: str, query_timeout: float, *, pgbouncer: bool = False) -> dict[str, Any]:
    """Return psycopg's parameters besides the URL: autocommit, a statement time-out, UTC.

    The URL's own options come after these and win. PgBouncer accepts no options, and each transaction may run on another
    server connection without the prepared statements: see `set_utc` and `transaction_with_timeout`.
    """
    url_parameters = conninfo_to_dict(database_url)
    parameters = {
        "autocommit": True,
        "connect_timeout": CONNECT_SECONDS,
        "application_name": url_parameters.get("application_name") or "market-data",
    }
    if pgbouncer:
        return parameters | {"prepare_threshold": None}
    # The owner's sessions have a lock time-out, which is for jobs.
    options = f"-c statement_timeout={round(query_timeout * 1000)} -c lock_timeout=0 -c timezone=UTC"
    return parameters | {"options": f"{options} {url_parameters.get('options') or ''}".strip()}


async def set_utc(connection: Connection) -> None:
    """Set the time zone through PgBouncer, which tracks this setting and applies it to each server connection."""
    await connection.execute("SET timezone = 'UTC'")


@asynccontextmanager
async def transaction_with_timeout(connection: Connection, query_timeout: float) -> AsyncGenerator[None]:
    """Run a transaction with a statement time-out, because PgBouncer does not keep one beyond the transaction.

    BEGIN and SET are one message: this costs a read of a price 0.6 ms through a PgBouncer on loopback; two cost 0.7 ms.
    """
    settings = f"SET LOCAL statement_timeout = {round(query_timeout * 1000)}; SET LOCAL lock_timeout = 0"
    await connection.execute(f"BEGIN; {settings}".encode())
    try:
        yield
    except BaseException:
        with suppress(psycopg.Error):  # the first error, or the cancellation, says more
            await connection.rollback()
        raise
    await connection.commit()


async def connect(database_url: str, query_timeout: float) -> Connection:
    """Open a connection outside the pool, for background tasks that must not compete with requests."""
    return await Connection.connect(database_url, **connection_parameters(database_url, query_timeout))


class Deadline:
    """Abort the connection if the block runs longer than the server's time-out and `GRACE_SECONDS`."""

    def __init__(self, connection: Connection, query_timeout: float) -> None:
        self.expired = False
        self._connection = connection
        self._seconds = query_timeout + GRACE_SECONDS

    def __enter__(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._expire)

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._timer.cancel()
        if self.expired and isinstance(error, psycopg.OperationalError):
            raise psycopg.OperationalError(f"the database did not respond within {self._seconds:g} s") from error

    def _expire(self) -> None:
        self.expired = True
        self._connection.abort()
