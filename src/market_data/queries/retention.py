"""The retention of trades."""

from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import scalar_row

DROPPED_BEFORE = "SELECT nullif(dropped_before, '-infinity') FROM retention"


async def read_dropped_before(connection: AsyncConnection[Any]) -> datetime | None:
    """Return the time before which retention has dropped trades; None if it has dropped none."""
    cursor = connection.cursor(binary=True, row_factory=scalar_row)
    await cursor.execute(DROPPED_BEFORE, prepare=True)
    return await cursor.fetchone()
