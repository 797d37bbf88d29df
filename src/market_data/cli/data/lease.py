"""A duty that only one process has at a time, kept for as long as a block runs."""

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
"""After so long without a sign of life the next one may take over: the same command after a kill."""

EXTEND_SECONDS = 1.0


class Lease:
    """One's own lease. A transaction that calls `confirm` last is committed by the one who has it, or not at all."""

    def __init__(self, name: str, complaint: str) -> None:
        self.name = name
        self.complaint = complaint
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{token_hex(4)}"

    async def take(self, connection: Connection) -> bool:
        """Take or extend it; false where another has it."""
        return await acquire_lease(connection, self.name, self._holder, LEASE_SECONDS)

    async def confirm(self, connection: Connection) -> None:
        """Extend it.

        Raises:
            CommandFailed: Another has taken it, after this process was silent for too long.
        """
        if not await self.take(connection):
            raise CommandFailed(self.complaint)

    async def end(self, connection: Connection) -> None:
        """Give it back."""
        await release_lease(connection, self.name, self._holder)


@contextlib.asynccontextmanager
async def held(database_url: str, lease: Lease) -> AsyncGenerator[None]:
    """Have the lease for the block, on a connection of its own.

    Raises:
        CommandFailed: Another process has it and keeps it.
    """
    async with await connect(database_url, 0) as connection:
        await _wait_for(connection, lease)
        done = asyncio.Event()
        keeper = asyncio.create_task(_keep(connection, lease, done))
        try:
            yield
        finally:
            done.set()
            # Whatever is lost here, the lease ends by itself.
            with contextlib.suppress(psycopg.Error):
                await keeper
                await lease.end(connection)


async def _wait_for(connection: Connection, lease: Lease) -> None:
    """One that was killed keeps the lease for a few seconds more."""
    deadline = asyncio.get_running_loop().time() + LEASE_SECONDS + EXTEND_SECONDS
    while not await lease.take(connection):
        if asyncio.get_running_loop().time() > deadline:
            raise CommandFailed(lease.complaint)
        await asyncio.sleep(EXTEND_SECONDS / 4)


async def _keep(connection: Connection, lease: Lease, done: asyncio.Event) -> None:
    while not done.is_set():
        await lease.take(connection)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), EXTEND_SECONDS)
