"""Canonical bytes of the entries of the log, and of the leaves of the tree within an entry."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from market_data.proof.notes import encode64

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNKNOWN = "unknown"
"""In place of a root: trades were dropped before they could be logged."""


class CommitEntry(NamedTuple):
    """Entry of a commit. Its root is over the trades as the commit stored them, then over the changes that it made."""

    version: int
    committed_at: datetime
    kind: str
    """As in the table `commits`."""
    trades: int
    changes: int
    root: bytes | None
    """None if trades had been dropped before they were logged."""

    def __bytes__(self) -> bytes:
        """Return the entry."""
        return (
            f"market-data/commit@v1\nversion {self.version}\ntime {time_text(self.committed_at)}\nkind {self.kind}\n"
            f"trades {self.trades}\nchanges {self.changes}\nroot {encode64(self.root) if self.root else UNKNOWN}\n"
        ).encode()


class CandlesEntry(NamedTuple):
    """Entry of the candles that have changed between two versions, as they are as of the second."""

    version: int
    since: int
    """Candles of the commits after this version."""
    committed_at: datetime
    """Time of the version."""
    candles: int
    root: bytes

    def __bytes__(self) -> bytes:
        """Return the entry."""
        return (
            f"market-data/candles@v1\nversion {self.version}\nsince {self.since}\ntime {time_text(self.committed_at)}\n"
            f"candles {self.candles}\nroot {encode64(self.root)}\n"
        ).encode()


def time_text(time: datetime) -> str:
    """Return a time in UTC, always with microseconds."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def microseconds(time: datetime) -> int:
    """Return a time in microseconds since 1970."""
    return (time - EPOCH) // timedelta(microseconds=1)


def parse_entry(entry: bytes) -> dict[str, str]:
    """Return the lines of an entry by their first word; `entry` is its first line."""
    first, *lines = entry.decode().removesuffix("\n").split("\n")
    return {"entry": first, **{name: text for name, _, text in (line.partition(" ") for line in lines)}}
