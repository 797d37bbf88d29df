"""Times at which writes were committed."""

from datetime import datetime
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import scalar_row


def commit_of(write_id: LiteralString, columns: LiteralString) -> LiteralString:
    """Return the SQL of columns of the commit of a write.

    A block has 10,000 versions. Writes follow commits closely, so the newest block that began before a write nearly always
    has it.
    """
    return f"""
        SELECT {columns}
        FROM (SELECT block FROM commit_blocks WHERE write_id <= {write_id} ORDER BY block DESC LIMIT 1) AS found
        JOIN commits ON version >= found.block * 10000 AND version < (found.block + 1) * 10000
        WHERE commits.write_id = {write_id}
        LIMIT 1
    """


COMMITTED_AT = commit_of("%(write_id)s", "committed_at")


async def read_commit_time(connection: AsyncConnection[Any], write_id: int) -> datetime | None:
    """Return when a write was committed; None if it is not found."""
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(COMMITTED_AT, {"write_id": write_id}, prepare=True)
    return await cursor.fetchone()
