"""A lease that only one process holds at a time, extended for as long as a block runs."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import psycopg

from market_data.database.connection import Connection, connect
from market_data.errors import CommandFailed
from market_data.queries.leases import acquire_lease, new_holder, release_lease

LEASE_SECONDS = 5.0
"""Time after which another process may take over, such as the same command after a kill."""

EXTEND_SECONDS = 1.0


class Lease:
    """A named lease of this process. A transaction that calls `confirm` last only commits if this process holds it."""

    def __init__(self, name: str, held_message: str) -> None:
        self._name = name
        self._held_message = held_message
        self._holder = new_holder()

    async def _acquire_or_extend(self, connection: Connection) -> bool:
        return await acquire_lease(connection, self._name, self._holder, LEASE_SECONDS)

    async def confirm(self, connection: Connection) -> None:
        """Extend the lease.

        Raises:
            CommandFailed: Another process has acquired it, because this one did not extend it in time.
        """
        if not await self._acquire_or_extend(connection):
            raise CommandFailed(self._held_message)

    @contextlib.asynccontextmanager
    async def held(self, database_url: str) -> AsyncGenerator[None]:
        """Hold the lease for the block, on a separate connection.

        Raises:
            CommandFailed: Another process holds and extends it.
        """
        async with await connect(database_url, 0) as connection:
            await self._wait(connection)
            done = asyncio.Event()
            extending = asyncio.create_task(self._extend(connection, done))
            try:
                yield
            finally:
                done.set()
                # If the connection is lost, the lease expires by itself.
                with contextlib.suppress(psycopg.Error):
                    await extending
                    await release_lease(connection, self._name, self._holder)

    async def _wait(self, connection: Connection) -> None:
        """Acquire the lease, after waiting for that of a killed process to expire."""
        deadline = asyncio.get_running_loop().time() + LEASE_SECONDS + EXTEND_SECONDS
        while not await self._acquire_or_extend(connection):
            if asyncio.get_running_loop().time() > deadline:
                raise CommandFailed(self._held_message)
            await asyncio.sleep(EXTEND_SECONDS / 4)

    async def _extend(self, connection: Connection, done: asyncio.Event) -> None:
        while not done.is_set():
            await self._acquire_or_extend(connection)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(done.wait(), EXTEND_SECONDS)
