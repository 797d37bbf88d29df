"""Leases: at most one process at a time feeds or backfills."""

import os
import socket
from secrets import token_hex

from psycopg import AsyncConnection

FEED_LEASE = "feed"


def new_holder() -> str:
    """Return the name of a holder in this process: host, process id and a random part."""
    return f"{socket.gethostname()}:{os.getpid()}:{token_hex(4)}"


# No lease is acquired for more than a minute: one that expires later dates from before the clock was set back.
ACQUIRE_LEASE = """
    INSERT INTO leases AS lease (name, holder, expires_at)
    VALUES (%(name)s, %(holder)s, clock_timestamp() + make_interval(secs => %(seconds)s))
    ON CONFLICT (name) DO UPDATE
    SET holder = excluded.holder, expires_at = excluded.expires_at
    WHERE lease.holder = excluded.holder
        OR lease.expires_at NOT BETWEEN clock_timestamp() AND clock_timestamp() + INTERVAL '1 minute'
    RETURNING true
"""


async def acquire_lease(connection: AsyncConnection, name: str, holder: str, seconds: float) -> bool:
    """Acquire a free lease or extend the holder's own; return False while another process holds it."""
    cursor = await connection.execute(ACQUIRE_LEASE, {"name": name, "holder": holder, "seconds": seconds})
    return await cursor.fetchone() is not None


RELEASE_LEASE = "DELETE FROM leases WHERE name = %s AND holder = %s"


async def release_lease(connection: AsyncConnection, name: str, holder: str) -> None:
    """Release the holder's own lease, so that another process can acquire it at once."""
    await connection.execute(RELEASE_LEASE, (name, holder))
