"""The pool under more reads than it has connections for."""

import asyncio
import time
from typing import Any

from market_data.database.connection import Connection
from market_data.database.pool import Database
from market_data.errors import DatabaseUnavailable
from market_data.settings import Settings

HELD = 0.05
SETTINGS: dict[str, Any] = {"pool_size": 2, "pool_timeout_seconds": 2, "query_timeout_seconds": 5}
LONGEST = 0.5
"""A quarter of the time that a request may wait for a connection, beyond which one is not let in."""


async def slow_read(connection: Connection) -> float:
    """Keeps the connection, not the engine, which on the embedded one could do nothing else."""
    await connection.execute("SELECT 1")
    await asyncio.sleep(HELD)
    return time.monotonic()


async def ask(database: Database) -> tuple[bool, float]:
    """Whether a read was let in, and how long it took to tell."""
    begin = time.monotonic()
    try:
        await database.read(slow_read)
    except DatabaseUnavailable:
        return False, time.monotonic() - begin
    return True, time.monotonic() - begin


async def flood(database_url: str, readers: int) -> list[tuple[bool, float]]:
    async with Database(database_url, Settings(database_url=database_url, **SETTINGS)) as database:
        for _ in range(30):  # from these it learns how long a read keeps a connection
            await asyncio.gather(ask(database), ask(database))
        return list(await asyncio.gather(*(ask(database) for _ in range(readers))))


def test_beyond_what_it_can_do_soon_it_refuses_at_once(database_url: str):
    answers = asyncio.run(flood(database_url, 150))
    refused = [seconds for let_in, seconds in answers if not let_in]
    let_in = [seconds for let_in, seconds in answers if let_in]
    assert len(let_in) >= LONGEST / HELD, "what can be done soon is done"
    assert len(refused) >= 50
    assert max(refused) < min(0.5, max(let_in)), "nobody waits to be refused"
    assert max(let_in) < SETTINGS["pool_timeout_seconds"]


def test_what_can_be_done_in_time_is_all_done(database_url: str):
    assert all(let_in for let_in, _ in asyncio.run(flood(database_url, 5)))
