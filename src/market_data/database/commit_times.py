"""Times at which writes were committed, which never change once they are known."""

from collections import OrderedDict
from datetime import UTC
from email.utils import format_datetime

from market_data.database.pool import Database
from market_data.database.replica import ReplicaReads
from market_data.queries.commit_times import read_commit_time

MAX_CACHED = 10_000


class CommitTimes:
    """The times that one worker has read most recently: reading one takes some milliseconds."""

    def __init__(self) -> None:
        self._times: OrderedDict[int, str] = OrderedDict()

    async def get(self, source: Database | ReplicaReads, write_id: int) -> str | None:
        """Return when a write was committed, as HTTP writes times; None if it is not found.

        Raises:
            DatabaseUnavailable: The time can't be read.
        """
        if write_id in self._times:
            self._times.move_to_end(write_id)
            return self._times[write_id]
        time = await source.read(read_commit_time, write_id)
        if time is None:
            return None
        self._times[write_id] = format_datetime(time.astimezone(UTC), usegmt=True)
        if len(self._times) > MAX_CACHED:
            self._times.popitem(last=False)
        return self._times[write_id]
