"""A lease that only one process holds at a time, extended for as long as a block runs."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncGenerator
from secrets import token_hex

import psycopg

from market_data.database.connection import Connection, connect
from market_data.errors import CommandFailed
from market_data.queries.leases import acquire_lease, release_lease

LEASE_SECONDS = 5.0
"""Time after which another process may take over, such as the same command after a kill."""

EXTEND_SECONDS = 1.0


class Lease:
    """A named lease of this process. A transaction that calls `confirm` last only commits if this process holds it."""

    def __init__(self, name: str, held_message: str) -> None:
        self.name = name
        self.held_message = held_message
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{token_hex(4)}"

    async def acquire(self, connection: Connection) -> bool:
        """Acquire or extend the lease. Returns False if another process holds it."""
        return await acquire_lease(connection, self.name, self._holder, LEASE_SECONDS)

    async def confirm(self, connection: Connection) -> None:
        """Extend the lease.

        Raises:
            CommandFailed: Another process has acquired it, because this one did not extend it in time.
        """
        if not await self.acquire(connection):
            raise CommandFailed(self.held_message)

    async def release(self, connection: Connection) -> None:
        """Release the lease."""
        await release_lease(connection, self.name, self._holder)


@contextlib.asynccontextmanager
async def held(database_url: str, lease: Lease) -> AsyncGenerator[None]:
    """Hold the lease for the block, on a separate connection.

    Raises:
        CommandFailed: Another process holds and extends it.
    """
    async with await connect(database_url, 0) as connection:
        await _acquire(connection, lease)
        done = asyncio.Event()
        extending = asyncio.create_task(_extend(connection, lease, done))
        try:
            yield
        finally:
            done.set()
            # If the connection is lost, the lease expires by itself.
            with contextlib.suppress(psycopg.Error):
                await extending
                await lease.release(connection)


async def _acquire(connection: Connection, lease: Lease) -> None:
    """Acquire the lease, after waiting for that of a killed process to expire."""
    deadline = asyncio.get_running_loop().time() + LEASE_SECONDS + EXTEND_SECONDS
    while not await lease.acquire(connection):
        if asyncio.get_running_loop().time() > deadline:
            raise CommandFailed(lease.held_message)
        await asyncio.sleep(EXTEND_SECONDS / 4)


async def _extend(connection: Connection, lease: Lease, done: asyncio.Event) -> None:
    while not done.is_set():
        await lease.acquire(connection)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), EXTEND_SECONDS)
