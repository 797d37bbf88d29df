"""Positions in the write-ahead log (LSNs), as bytes since its beginning."""

from psycopg import AsyncConnection

WAL_POSITION = """
    SELECT system_identifier, CASE
        WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
        ELSE pg_current_wal_lsn()
    END - '0/0'
    FROM pg_control_system()
"""


async def read_wal_position(connection: AsyncConnection) -> tuple[int, int]:
    """Return the system identifier, which a server shares with its replicas only, and the position of visible writes."""
    cursor = await connection.execute(WAL_POSITION, prepare=True)
    ((server, lsn),) = await cursor.fetchall()
    return server, int(lsn or 0)


async def read_lsn(connection: AsyncConnection) -> int:
    """Return the position up to which the server shows writes."""
    _, lsn = await read_wal_position(connection)
    return lsn
