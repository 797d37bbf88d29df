"""A connection to the database that is never waited for without end.

A server that is cut off from us leaves silent connections, and the embedded engine can't stop a query. The server is told
to give up after the query time-out; where no answer comes even so, the connection is cut, at its socket.
"""

import asyncio
import os
import socket
from typing import Any, Self, cast

import psycopg
from psycopg import AsyncConnection, AsyncCursor
from psycopg.abc import Params
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
    wanted_name: str | None = None
    """The one that it is to have while it runs the next statement; None to leave it as it is."""

    async def cancel_safe(self, *, timeout: float = 30.0) -> None:  # noqa: ASYNC109 - psycopg's signature
        """Cut the connection: to ask the server to cancel, and to wait for it, can take ten seconds in a stalled network."""
        self.cut()

    def cut(self) -> None:
        """Have whoever waits for an answer get an OperationalError."""
        if not self.closed:
            with socket.socket(fileno=os.dup(self.fileno())) as duplicate:
                duplicate.shutdown(socket.SHUT_RDWR)


class Cursor(AsyncCursor[Any]):
    """Psycopg's cursor, which tells the server for whom it runs a statement: in one batch with that, so at no round trip."""

    async def execute(
        self, query: Any, params: Params | None = None, *, prepare: bool | None = None, binary: bool | None = None
    ) -> Self:
        """Run a statement under the name that the connection is to have."""
        connection = cast("Connection", self.connection)
        name = connection.wanted_name
        if name is None or name == connection.name:
            return await super().execute(query, params, prepare=prepare, binary=binary)
        connection.name = None  # a statement that fails takes the name back
        async with connection.pipeline():
            await AsyncCursor(connection).execute(SET_NAME, (name,), prepare=True)
            await super().execute(query, params, prepare=prepare, binary=binary)
        connection.name = name
        return self


async def shows_names(connection: Connection) -> bool:
    """Whether anybody can see the name of a connection: on the embedded engine, where a new one is dear, nobody can."""
    cursor = await connection.execute("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = pg_backend_pid())")
    row = await cursor.fetchone()
    return bool(row and row[0])


def connection_parameters(database_url: str, query_timeout: float) -> dict[str, Any]:
    """What every connection of the service is opened with, besides the URL: autocommit, a statement time-out, UTC.

    The URL's own options come after these, and win.
    """
    given = conninfo_to_dict(database_url)
    own_options = f"-c statement_timeout={round(query_timeout * 1000)} -c timezone=UTC"
    return {
        "cursor_factory": Cursor,
        "autocommit": True,
        "connect_timeout": CONNECT_SECONDS,
        "application_name": given.get("application_name") or "market-data",
        "options": f"{own_options} {given.get('options') or ''}".strip(),
    }


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
