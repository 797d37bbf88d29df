"""Candles that wait for their refresh, as `stream_late_candles` has them, and the events once they are refreshed."""

from datetime import datetime, timedelta
from typing import NamedTuple

from market_data.queries.intervals import INTERVALS
from market_data.streaming.playback.candle_series import bucket_of
from market_data.trade_validation import MICROSECOND

MINUTE = INTERVALS["1m"]
MAX_WAIT = timedelta(hours=1)
"""A late candle without a revision for so long was not published as one."""

APART = timedelta(days=1)
"""A loaded range that begins later than this after all earlier ones is a reload of its own."""


class Load(NamedTuple):
    """A range of trades of a symbol that was loaded as bulk history."""

    symbol: str
    since: datetime
    until: datetime
    """Exclusive."""
    committed_at: datetime


class WaitingCandles:
    """Late minutes and loaded ranges between their commit and the commit of their revision."""

    def __init__(self) -> None:
        self._minutes: dict[str, dict[datetime, datetime]] = {}
        """Times of the commits, by symbol and minute."""
        self._loads: list[Load] = []

    def add_late(self, symbol: str, time: datetime, committed_at: datetime) -> None:
        """Add the minute of a late trade."""
        self._minutes.setdefault(symbol, {})[bucket_of(time, MINUTE)] = committed_at

    def add_load(self, load: Load) -> None:
        """Add a loaded range."""
        self._loads.append(load)

    def overlap(self, symbol: str, bucket: datetime, width: timedelta) -> bool:
        """Return True if a candle is not settled."""
        if not self._minutes and not self._loads:
            return False
        end = bucket + width
        if any(bucket <= minute < end for minute in self._minutes.get(symbol, ())):
            return True
        return any(load.symbol == symbol and load.since < end and bucket < load.until for load in self._loads)

    def revise(
        self, first: datetime, last: datetime, committed_at: datetime
    ) -> tuple[list[Load], list[tuple[str, datetime]]]:
        """Remove the candles of a revision; return its reloads, and symbols and minutes, in the order of their events."""
        loads = [load for load in self._loads if first <= load.since and load.until <= last + MICROSECOND]
        self._loads = [load for load in self._loads if load not in loads and load.committed_at > committed_at - MAX_WAIT]
        minutes: list[tuple[str, datetime]] = []
        for symbol in list(self._minutes):
            waiting = self._minutes[symbol]
            minutes += [(symbol, minute) for minute in waiting if first <= minute <= last]
            left = {
                minute: since
                for minute, since in waiting.items()
                if not first <= minute <= last and since > committed_at - MAX_WAIT
            }
            if left:
                self._minutes[symbol] = left
            else:
                del self._minutes[symbol]
        return _reloads(loads), sorted(minutes, key=lambda key: (key[1], key[0]))


def _reloads(loads: list[Load]) -> list[Load]:
    """Return loaded ranges without those that others of the symbol overlap or are less than a day apart from."""
    joined: dict[str, list[Load]] = {}
    for load in sorted(loads, key=lambda load: load.since):
        ranges = joined.setdefault(load.symbol, [])
        if ranges and load.since <= ranges[-1].until + APART:
            ranges[-1] = ranges[-1]._replace(until=max(load.until, ranges[-1].until))
        else:
            ranges.append(load)
    return sorted((load for ranges in joined.values() for load in ranges), key=lambda load: (load.since, load.symbol))
