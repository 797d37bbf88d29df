"""The rows that a worker has read most recently, so that clients resume after a short interruption without a query each.

After a restart or the loss of a proxy, thousands of clients reconnect within seconds, each with the id of its last event.
"""

from bisect import bisect_right
from collections.abc import Awaitable, Callable, Sequence

from market_data.queries.stream import StreamRange, StreamRow
from market_data.streaming.event_batches import end_of
from market_data.streaming.events import EventId

MAX_ROWS = 10_000
"""Rows that are kept: about 6 MB."""

RECENT_VERSIONS = 2000
"""Commits of which a worker that starts reads the rows: of at least some seconds."""

Position = tuple[int, int]
"""Version and number of a row."""

ReadRows = Callable[..., Awaitable[list[StreamRow]]]
"""Reads the first rows after a version and number, `until` another version."""

ReadRange = Callable[[], Awaitable[StreamRange]]


def _position(row: StreamRow) -> Position:
    return row.version, row.number


class RecentRows:
    """Successive rows of all symbols, none of which is missing after the first one's predecessor."""

    def __init__(self) -> None:
        self._rows: list[StreamRow] = []
        self._since: Position = (0, 0)
        """Position of the predecessor."""
        self._until = EventId(0, 0, 0)
        """Id up to which the rows after the predecessor are complete."""

    def start_after(self, event_id: EventId) -> None:
        """Forget all rows; those that are added next follow this id."""
        self._rows.clear()
        self._since = event_id.version, event_id.number or -1  # the first row of a commit has the number 1
        self._until = event_id

    async def load(self, read: ReadRows, read_range: ReadRange, stream_range: StreamRange) -> None:
        """Read the rows of the newest commits of a range, unless they are very many."""
        last = stream_range.last.version
        position = max(stream_range.first, last - RECENT_VERSIONS), 0
        self.start_after(EventId(*position, 0))
        while rows := await read(*position, until=last):
            self.add(rows, end_of(rows[-1]))
            position = _position(rows[-1])
            if len(self._rows) > MAX_ROWS:
                self.start_after(EventId.after(last))
                return
        self.add([], EventId.after(last))
        # The job `trim_stream` may have deleted some rows before they were read.
        self._drop_before(((await read_range()).first, -1))

    def _drop_before(self, position: Position) -> None:
        if position > self._since:
            self._since = position
            del self._rows[: bisect_right(self._rows, position, key=_position)]

    def add(self, rows: Sequence[StreamRow], until: EventId) -> None:
        """Add the rows that follow those before, all of them up to an id."""
        self._rows += rows
        self._until = until
        # Half of the rows at once: each deletion moves the others.
        if len(self._rows) > 2 * MAX_ROWS:
            excess = len(self._rows) - MAX_ROWS
            self._since = _position(self._rows[excess - 1])
            del self._rows[:excess]

    def between(self, version: int, number: int, end: EventId) -> list[StreamRow] | None:
        """Return the rows after a position, at least those up to an id; None if some of these are not kept."""
        if (version, number) < self._since or end > self._until:
            return None
        return self._rows[bisect_right(self._rows, (version, number), key=_position) :]
