"""Detection of a database that has lost commits: an asynchronous standby was promoted, or an older backup restored."""

import logging

import psycopg

from market_data.database.connection import Connection, Deadline
from market_data.queries.stream import Commit, contains_commit, read_stream_range
from market_data.queries.versions import start_new_versions
from market_data.telemetry.metrics import HISTORY_LOST

logger = logging.getLogger(__name__)

MAX_START_SECONDS = 60.0
"""Time to start new versions, which deletes the events of an hour."""


class History:
    """The newest commit that a worker has seen."""

    def __init__(self, query_timeout: float) -> None:
        self.newest = Commit(0, None)
        self._query_timeout = query_timeout

    async def is_lost(self, connection: Connection) -> bool:
        """Return True if a database lacks the newest commit; then its versions continue above those that were lost."""
        seen = self.newest
        if not seen.version:
            return False
        with Deadline(connection, self._query_timeout):
            if await contains_commit(connection, seen):
                return False
            last = (await read_stream_range(connection)).last
        HISTORY_LOST.inc()
        logger.error(
            "the database has lost commits: version %d of %s is missing, the newest is %d of %s. Trades that were stored or "
            "changed in between may be missing: store them again (a trade that is there is not stored twice). A standby "
            "without them was promoted, which synchronous_standby_names prevents, or an older backup was restored.",
            seen.version,
            seen.committed_at,
            last.version,
            last.committed_at,
        )
        try:
            with Deadline(connection, MAX_START_SECONDS):
                await start_new_versions(connection, seen.version)
        except psycopg.errors.InsufficientPrivilege:
            logger.error(
                "the role of this service can't start new versions, so numbers of lost commits may be assigned again"
            )
        return True
