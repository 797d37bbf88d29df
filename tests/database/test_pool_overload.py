"""Load shedding of the connection pool."""

import asyncio
import time
from typing import Any

from market_data.database.connection import Connection
from market_data.database.pool import Database
from market_data.errors import DatabaseUnavailable
from market_data.settings import Settings

READ_SECONDS = 0.05
SETTINGS: dict[str, Any] = {"pool_size": 2, "pool_timeout_seconds": 2, "query_timeout_seconds": 5}
MAX_WAIT = 0.5
"""Expected wait in seconds beyond which reads are rejected: a quarter of the pool time-out."""


async def slow_read(connection: Connection) -> float:
    """Hold the connection without blocking the embedded engine, which runs one statement at a time."""
    await connection.execute("SELECT 1")
    await asyncio.sleep(READ_SECONDS)
    return time.monotonic()


async def ask(database: Database) -> tuple[bool, float]:
    """Return True if a read was admitted, and its duration in seconds."""
    begin = time.monotonic()
    try:
        await database.read(slow_read)
    except DatabaseUnavailable:
        return False, time.monotonic() - begin
    return True, time.monotonic() - begin


async def flood(database_url: str, readers: int) -> list[tuple[bool, float]]:
    async with Database(database_url, Settings(database_url=database_url, **SETTINGS)) as database:
        for _ in range(30):  # the pool measures how long reads hold a connection
            await asyncio.gather(ask(database), ask(database))
        return list(await asyncio.gather(*(ask(database) for _ in range(readers))))


def test_reads_beyond_the_maximum_wait_are_rejected_at_once(database_url: str):
    answers = asyncio.run(flood(database_url, 150))
    rejected = [seconds for admitted, seconds in answers if not admitted]
    admitted = [seconds for admitted, seconds in answers if admitted]
    assert len(admitted) >= MAX_WAIT / READ_SECONDS, "too few reads were admitted"
    assert len(rejected) >= 50
    assert max(rejected) < min(0.5, max(admitted)), "a rejected read waited"
    assert max(admitted) < SETTINGS["pool_timeout_seconds"]


def test_reads_within_the_maximum_wait_are_all_admitted(database_url: str):
    assert all(admitted for admitted, _ in asyncio.run(flood(database_url, 5)))
