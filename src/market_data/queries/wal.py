"""How far a server is: positions of the write-ahead log, as numbers of bytes since its beginning."""

from market_data.queries.row_pages import Connection

WAL_POSITION = """
    SELECT system_identifier, CASE
        WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
        ELSE pg_current_wal_lsn()
    END - '0/0'
    FROM pg_control_system()
"""


async def read_wal_position(connection: Connection) -> tuple[int, int]:
    """What tells a server and its replicas from all others, and the position up to which this one shows what was written."""
    cursor = await connection.execute(WAL_POSITION, prepare=True)
    ((server, position),) = await cursor.fetchall()
    return server, int(position or 0)


async def read_lsn(connection: Connection) -> int:
    """The position up to which a server shows what was written."""
    _, position = await read_wal_position(connection)
    return position
