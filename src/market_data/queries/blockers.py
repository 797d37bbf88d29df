"""Sessions of other roles for whose locks the owner's sessions and jobs wait."""

from collections.abc import Collection
from typing import Any, NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import args_row, scalar_row

Connection = AsyncConnection[Any]


class Blocker(NamedTuple):
    """A transaction of another role."""

    pid: int
    role: str
    transaction: str
    """Virtual transaction id, which is that of this transaction only."""


# Backups run as the owner or as a superuser, and may take hours. Notifications are kept until the oldest transaction of a
# listener ends; once their queue is full, no commit succeeds.
BLOCKERS = """
    SELECT session.pid, session.usename::text, own.virtualtransaction
    FROM pg_stat_activity AS session
    JOIN pg_roles AS role ON role.rolname = session.usename
    JOIN pg_locks AS own ON own.pid = session.pid AND own.locktype = 'virtualxid' AND own.granted
    WHERE session.usename <> current_user AND NOT role.rolsuper AND (
        session.pid IN (
            SELECT unnest(pg_blocking_pids(waiting.pid))
            FROM pg_stat_activity AS waiting
            WHERE waiting.datname = current_database() AND waiting.usename = current_user
                AND waiting.wait_event_type = 'Lock'
        )
        OR session.datname = current_database() AND pg_notification_queue_usage() > 0.1
    )
"""


async def read_blockers(connection: Connection) -> list[Blocker]:
    """Return the transactions that block sessions and jobs of this role now, or may, if the queue of notifications fills up.

    Those of superusers and of this role are left out.
    """
    cursor = connection.cursor(row_factory=args_row(Blocker))
    await cursor.execute(BLOCKERS)
    return await cursor.fetchall()


OPEN_TRANSACTIONS = "SELECT DISTINCT virtualtransaction FROM pg_locks WHERE virtualtransaction = ANY (%s)"


async def read_open(connection: Connection, transactions: Collection[str]) -> set[str]:
    """Return those virtual transaction ids whose transactions have not ended."""
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(OPEN_TRANSACTIONS, (list(transactions),))
    return set(await cursor.fetchall())


END_SESSION = """
    SELECT pg_terminate_backend(pid)
    FROM pg_locks
    WHERE pid = %s AND virtualtransaction = %s AND locktype = 'virtualxid'
"""


async def end_session(connection: Connection, blocker: Blocker) -> bool:
    """End a session that is still in the same transaction. Return False if it is not."""
    cursor = await connection.execute(END_SESSION, (blocker.pid, blocker.transaction))
    return await cursor.fetchone() is not None
