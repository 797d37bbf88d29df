"""`/stream` and `/ws`: a replay has the events that the live stream sent."""

import random
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import pytest
from helpers.histories import History
from helpers.replays import ALL, opened, played, recorded
from helpers.service import eventually
from helpers.sse_client import Event
from helpers.support import Connection, now_within_minute, one

NEWEST_TRADE = """
    SELECT version, number
    FROM commits
    JOIN stream_events USING (write_id)
    WHERE stream_events.kind = 'trade'
    ORDER BY version DESC, number DESC
    LIMIT 1
"""
WAITING = "SELECT count(*) FROM stream_late_candles WHERE NOT EXISTS (SELECT FROM stale_ranges)"


class StreamedHistory(History):
    """A history that the database keeps in full: it does not record which changes were not streamed.

    Without transactions of several statements, whose candles the live stream merges.
    """

    def __init__(self, connection: Connection, seed: int) -> None:
        super().__init__(connection, seed, truncates=False)
        for write in (self._change_bulk, self._transaction):
            del self._writes[write]


class Recorder:
    """Records the events of a live stream in a thread."""

    def __init__(self, following: Callable[[], Event]) -> None:
        self.events: list[Event] = []
        self.stopped = False
        """Set before the connection is closed, which ends the thread with an error."""
        self._following = following
        threading.Thread(target=self._record, daemon=True).start()

    def _record(self) -> None:
        try:
            while True:
                self.events.append(self._following())
        except Exception:
            if not self.stopped:
                raise

    def wait(self, connection: Connection) -> None:
        """Wait for all events: the live stream merges candles of commits that it reads together.

        The last trade of a commit comes with its candles, unlike the first one, and a heartbeat that has the next version.
        """
        newest = connection.execute(NEWEST_TRADE).fetchone()
        if newest:
            eventually(lambda: any(event.key == (*newest, 0) for event in self.events))
        eventually(lambda: one(connection, WAITING) == 0)


def refresh(connection: Connection) -> None:
    """Mark candles as refreshed, as at the end of refresh_candles."""
    connection.execute("DELETE FROM stale_ranges")


class Candle(NamedTuple):
    """A candle and the version at which it was sent. The number in its id may differ: of closings, see the README."""

    version: int
    symbol: str
    interval: str
    timestamp: str


def candle_of(event: Event) -> Candle | None:
    if event.name != "candle":
        return None
    return Candle(event.key[0], event.data["symbol"], event.data["interval"], event.data["timestamp"])


def comparable(streamed: list[Event], replayed: list[Event]) -> tuple[list[Event], list[Event]]:
    """Leave out what a busy machine changes: candles of successive commits that the live stream read and sent as one.

    Also the values of candles that it read after a later commit, or while they were not settled.
    """
    found = {candle: event for event in streamed if (candle := candle_of(event))}
    newest = {candle[1:]: candle.version for candle in found}
    kept: list[Event] = []
    for event in replayed:
        candle = candle_of(event)
        if candle is None:
            kept.append(event)
        elif live := found.get(candle):
            assert {**event.data, **live.data}.keys() >= {"symbol", "timestamp", "closed"}
            unsettled, later = live.data.get("settled") is False, live.data.get("version", 0) > candle.version
            kept.append(live if unsettled or later else event._replace(id=live.id))
        elif candle.version >= newest.get(candle[1:], 0):
            kept.append(event)
    assert len(kept) > 0.8 * len(replayed)
    return streamed, sorted(kept, key=lambda event: event.key)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("transport", ["stream", "ws"])
@pytest.mark.parametrize("number", [0, *(pytest.param(number, marks=pytest.mark.slow) for number in range(1, 5))])
def test_random_history_is_replayed_as_it_was_streamed(address: str, connection: Connection, transport: str, number: int):
    connection.execute("DELETE FROM symbols")
    history, choose = StreamedHistory(connection, number), random.Random(number)
    now_within_minute(45)  # closings meanwhile would be merged with other candles
    with opened(transport, address, channels=ALL) as following:
        start = one(connection, "SELECT clock_timestamp()")
        recorder = Recorder(following)
        for _ in range(40):
            history.write()
            recorder.wait(connection)
            if choose.random() < 0.15:
                refresh(connection)
                recorder.wait(connection)
                time.sleep(0.5)
        refresh(connection)
        recorder.wait(connection)
        time.sleep(1)
        end = one(connection, "SELECT clock_timestamp()")
        recorder.stopped = True
        streamed = recorded(list(recorder.events))
    replayed = recorded(played(transport, address, start, end, channels=ALL))
    assert {event.name for event in streamed} >= {"trade", "candle", "revision"}
    streamed, replayed = comparable(streamed, replayed)
    assert replayed == streamed
