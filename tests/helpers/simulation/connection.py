"""Connections to a simulated database: each statement travels for a random time, and the network can be lost or stall."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Any, Protocol, Self

import psycopg

from market_data.errors import DatabaseUnavailable

STALL_CHECK_SECONDS = 0.2


class Answers(Protocol):
    """A simulated database server."""

    def execute(self, connection: "SimulatedConnection", query: str, parameters: Any) -> list[Any] | None:
        """Execute a statement at once and return its rows; None while another transaction has locked a row of it."""
        ...

    def end_transaction(self, connection: "SimulatedConnection", *, commit: bool) -> None: ...


class Network:
    """The path between clients and the database."""

    def __init__(self, random: Random, max_delay: float = 0.2) -> None:
        self.random = random
        self.max_delay = max_delay
        self.reachable = True
        self.stalled = False
        self.connections: list[SimulatedConnection] = []

    def cut(self) -> None:
        """Lose all connections; new ones can be opened."""
        for connection in list(self.connections):
            connection.abort()

    async def pass_through(self, connection: "SimulatedConnection") -> None:
        """Wait until a message has arrived.

        Raises:
            psycopg.OperationalError: The connection was lost before.
        """
        await asyncio.sleep(self.random.choice([0, 0.001, self.random.uniform(0, self.max_delay)]))
        while self.stalled and not connection.closed:  # noqa: ASYNC110 - in virtual time
            await asyncio.sleep(STALL_CHECK_SECONDS)
        if connection.closed:
            raise psycopg.OperationalError("the connection is lost")


class SimulatedConnection:
    """The part of psycopg's connection that streams and leases use, in autocommit mode."""

    def __init__(self, network: Network, server: Answers) -> None:
        self.network = network
        self.server = server
        self.closed = False
        self.in_transaction = False
        self._notified = asyncio.Event()
        network.connections.append(self)

    @classmethod
    async def open(cls, network: Network, server: Answers) -> Self:
        await asyncio.sleep(network.random.uniform(0, network.max_delay))
        if not network.reachable:
            raise psycopg.OperationalError("connection refused")
        connection = cls(network, server)
        try:
            await network.pass_through(connection)
        except BaseException:
            connection.abort()
            raise
        return connection

    def abort(self) -> None:
        """Lose the connection; the server rolls its transaction back."""
        if not self.closed:
            self.closed = True
            self.network.connections.remove(self)
            self.server.end_transaction(self, commit=False)
            self._notified.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.abort()

    def notify(self) -> None:
        self._notified.set()

    async def notifies(self, *, timeout: float, stop_after: int) -> AsyncGenerator[None]:  # noqa: ASYNC109 - psycopg's
        assert stop_after == 1
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._notified.wait()
        if self.closed:
            raise psycopg.OperationalError("the connection is lost")
        if self._notified.is_set():
            self._notified.clear()
            yield None

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[None]:
        self.in_transaction = True
        try:
            yield
        except BaseException:
            self.in_transaction = False
            self.server.end_transaction(self, commit=False)
            raise
        self.in_transaction = False
        await self.network.pass_through(self)
        self.server.end_transaction(self, commit=True)
        await self.network.pass_through(self)

    async def execute(self, query: str, parameters: Any = None, **_: object) -> "SimulatedCursor":
        return await self.cursor().execute(query, parameters)

    def cursor(self, **_: object) -> "SimulatedCursor":
        return SimulatedCursor(self)


class SimulatedCursor:
    def __init__(self, connection: SimulatedConnection) -> None:
        self._connection = connection
        self._rows: list[Any] = []

    async def execute(self, query: str, parameters: Any = None, **_: object) -> Self:
        connection = self._connection
        await connection.network.pass_through(connection)
        while (rows := connection.server.execute(connection, query, parameters)) is None:
            await connection.network.pass_through(connection)
        self._rows = rows
        await connection.network.pass_through(connection)
        return self

    async def fetchall(self) -> list[Any]:
        return self._rows

    async def fetchone(self) -> Any:
        return self._rows[0] if self._rows else None


class SimulatedPool:
    """The part of the pool that streams use."""

    def __init__(self, network: Network, server: Answers) -> None:
        self._network = network
        self._server = server

    async def read(self, query: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        try:
            async with await SimulatedConnection.open(self._network, self._server) as connection:
                return await query(connection, *args, **kwargs)
        except psycopg.OperationalError as error:
            raise DatabaseUnavailable(str(error)) from error
