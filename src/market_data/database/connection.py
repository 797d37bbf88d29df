"""A connection to the database that is never waited for without end.

A server that is cut off from us leaves silent connections, and the embedded engine can't stop a query. The server is told
to give up after the query time-out; where no answer comes even so, the connection is cut, at its socket.
"""

import asyncio
import os
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict

CONNECT_SECONDS = 5
"""How long a connection may take to be made."""

GRACE_SECONDS = 0.5
"""How much longer than the server we wait before cutting a connection that does not answer."""


SET_NAME = "SELECT set_config('application_name', %s, false)"

NAME_BYTES = 63
"""What PostgreSQL keeps of an `application_name`."""


class Connection(AsyncConnection[Any]):
    """Psycopg's connection, which a cancelled task leaves at once."""

    name: str | None = None
    """The `application_name` that the server has, where that is known."""

    async def take_name(self, name: str) -> None:
        """Have the server show for whom the next statements run.

        A statement of its own, not in one batch with the next: an error in psycopg's pipeline can leave the connection
        believing in prepared statements that the server does not have.
        """
        if name != self.name:
            self.name = None
            await self.execute(SET_NAME, (name,))
            self.name = name

    async def cancel_safe(self, *, timeout: float = 30.0) -> None:  # noqa: ASYNC109 - psycopg's signature
        """Cut the connection: to ask the server to cancel, and to wait for it, can take ten seconds in a stalled network."""
        self.cut()

    def cut(self) -> None:
        """Have whoever waits for an answer get an OperationalError."""
        if not self.closed:
            with socket.socket(fileno=os.dup(self.fileno())) as duplicate:
                duplicate.shutdown(socket.SHUT_RDWR)


async def shows_names(connection: Connection) -> bool:
    """Whether anybody can see the name of a connection: on the embedded engine, where a new one is dear, nobody can."""
    cursor = await connection.execute("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = pg_backend_pid())")
    row = await cursor.fetchone()
    return bool(row and row[0])


def connection_parameters(database_url: str, query_timeout: float, *, shared: bool = False) -> dict[str, Any]:
    """What every connection of the service is opened with, besides the URL: autocommit, a statement time-out, UTC.

    The URL's own options come after these, and win. `shared` is one through PgBouncer, which takes no options and gives each
    transaction another connection of the server, where statements prepared before are not: see `take_utc` and `time_limit`.
    """
    given = conninfo_to_dict(database_url)
    parameters = {
        "autocommit": True,
        "connect_timeout": CONNECT_SECONDS,
        "application_name": given.get("application_name") or "market-data",
    }
    if shared:
        return parameters | {"prepare_threshold": None}
    own_options = f"-c statement_timeout={round(query_timeout * 1000)} -c timezone=UTC"
    return parameters | {"options": f"{own_options} {given.get('options') or ''}".strip()}


async def take_utc(connection: Connection) -> None:
    """Give a connection through PgBouncer the time zone that others have from the start.

    It is one of the few settings that PgBouncer knows the client by, and carries over to each connection of the server.
    """
    await connection.execute("SET timezone = 'UTC'")


@asynccontextmanager
async def time_limit(connection: Connection, query_timeout: float) -> AsyncGenerator[None]:
    """A transaction with a statement time-out, which PgBouncer would not keep for longer.

    Begun in one message: through a PgBouncer on loopback it costs a read of a price 0.6 ms, begun in two 0.7 ms.
    """
    await connection.execute(f"BEGIN; SET LOCAL statement_timeout = {round(query_timeout * 1000)}".encode())
    try:
        yield
    except BaseException:
        if not connection.closed:
            await connection.rollback()
        raise
    await connection.commit()


async def connect(database_url: str, query_timeout: float) -> Connection:
    """A connection outside the pool, for a task that must not wait for requests."""
    return await Connection.connect(database_url, **connection_parameters(database_url, query_timeout))


class Deadline:
    """Within it, a connection must answer: one that has not after the server's time-out and half a second is cut."""

    def __init__(self, connection: Connection, query_timeout: float) -> None:
        self.passed = False
        self._connection = connection
        self._seconds = query_timeout + GRACE_SECONDS

    def __enter__(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._pass)

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._timer.cancel()
        if self.passed and isinstance(error, psycopg.OperationalError):
            raise psycopg.OperationalError(f"the database gave no answer within {self._seconds:g} s") from error

    def _pass(self) -> None:
        self.passed = True
        self._connection.cut()
