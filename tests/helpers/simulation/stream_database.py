"""A simulated database with the events of streams: trades, closed candles, and candles that late trades revise."""

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from helpers.simulation.connection import SimulatedConnection

from market_data.queries.intervals import INTERVALS, WEEK_START
from market_data.queries.stream import (
    ADVANCE_STREAM,
    LISTEN_TO_STREAM,
    STREAM_CANDLES,
    STREAM_EVENTS,
    STREAM_RANGE,
    StreamedCandle,
    StreamRange,
    StreamRow,
)
from market_data.streaming.event_batches import LEVELS
from market_data.streaming.events import EventId

SYMBOLS = ("ONE", "TWO", "THREE")
START = datetime(2026, 2, 8, 10, 59, 50, tzinfo=UTC)
"""Ten seconds before candles of several intervals close."""
LATE = timedelta(seconds=90)
MINUTE = timedelta(minutes=1)

CandleKey = tuple[str, str, datetime]
"""Interval, symbol, start of the bucket."""


class StreamDatabase:
    """Executes the statements of streams. Commits take a version; late trades enter their candles some seconds later."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.loop = asyncio.get_running_loop()
        self.rows: list[StreamRow] = []
        self.trades: list[tuple[EventId, str]] = []
        """Id and symbol of each trade, ordered."""
        self.candles: dict[CandleKey, list[EventId]] = {}
        """Changes of each candle. Their number stands for its values."""
        self.last_changes: dict[CandleKey, EventId] = {}
        """Last change of each candle, including its close."""
        self.version = 0
        self.trimmed_before = 0
        self.closed_until = START.replace(second=0)
        self._committed_at: dict[int, float] = {}
        self._late: list[tuple[float, str, datetime]] = []
        """Time of the refresh, symbol and minute of late trades."""
        self._listeners: list[SimulatedConnection] = []
        self._answers: dict[str, Callable[[Any], list[Any]]] = {
            STREAM_EVENTS: lambda given: self._events(**given),
            STREAM_RANGE: lambda _: [StreamRange(self.trimmed_before, self.version)],
            ADVANCE_STREAM: lambda _: self._advance(),
        }
        for interval, query in STREAM_CANDLES.items():
            self._answers[query] = lambda given, interval=interval: self._read_candles(interval, **given)

    @property
    def now(self) -> datetime:
        return START + timedelta(seconds=self.loop.time())

    def execute(self, connection: SimulatedConnection, query: str, parameters: Any) -> list[Any]:
        if query == LISTEN_TO_STREAM:
            self._listeners.append(connection)
            return []
        return self._answers[query](parameters)

    def end_transaction(self, connection: SimulatedConnection, *, commit: bool) -> None:
        if connection in self._listeners:
            self._listeners.remove(connection)

    def store(self, count: int) -> None:
        """Commit trades at the current time, of which some are late."""
        self.version += self.random.choice([1, 1, 3])
        for number in range(1, count + 1):
            symbol, late = self.random.choice(SYMBOLS), self.random.random() < 0.15
            time = self.now - timedelta(minutes=self.random.randint(3, 90)) if late else self.now
            text = f'{{"symbol":"{symbol}","version":{self.version},"number":{number}}}'
            self._add(StreamRow(self.version, number, "trade", symbol, time, None, self.closed_until, late, text))
            if late:
                self._late.append((self.loop.time() + self.random.uniform(0.5, 6), symbol, _bucket("1m", time)))
        self._commit()

    def trim(self, seconds: float) -> None:
        """Delete the events that are older, but the last of them."""
        old = [version for version, at in self._committed_at.items() if at < self.loop.time() - seconds]
        if len(old) > 1 and old[-1] > self.trimmed_before:
            self.trimmed_before = old[-1]
            self.rows = [row for row in self.rows if row.version >= self.trimmed_before]

    def next_trade(self, after: EventId, wanted: Callable[[EventId, str], bool]) -> EventId | None:
        """Return the id of the first trade after an id that a client wants."""
        start = bisect_right(self.trades, after, key=lambda trade: trade[0])
        return next((event_id for event_id, symbol in self.trades[start:] if wanted(event_id, symbol)), None)

    def _commit(self) -> None:
        self._committed_at[self.version] = self.loop.time()
        for connection in self._listeners:
            self.loop.call_later(self.random.choice([0, self.random.uniform(0, 0.3)]), connection.notify)

    def _add(self, row: StreamRow) -> None:
        self.rows.append(row)
        if row.kind == "trade":
            self.trades.append((EventId(row.version, row.number, 0), row.symbol))
        if not row.late:
            for interval in INTERVALS if row.interval is None else (row.interval,):
                self._change(row, interval)

    def _change(self, row: StreamRow, interval: str) -> None:
        key = interval, row.symbol, _bucket(interval, row.time)
        event_id = EventId(row.version, row.number, LEVELS[interval])
        if row.kind != "closing":
            self.candles.setdefault(key, []).append(event_id)
        if key in self.candles:
            self.last_changes[key] = event_id

    def _advance(self) -> list[Any]:
        """Publish closed candles, and the candles of late trades that have been refreshed."""
        closed = _bucket("1m", self.now - timedelta(seconds=1))
        if closed > self.closed_until:
            self.closed_until = closed
            ended = [
                (symbol, interval, closed - width)
                for symbol in SYMBOLS
                for interval, width in INTERVALS.items()
                if (closed - WEEK_START) % width == timedelta(0)
            ]
            self._publish("closing", ended)
        due = {(symbol, bucket) for at, symbol, bucket in self._late if at <= self.loop.time()}
        refreshed = [late for late in self._late if late[0] <= self.loop.time()]
        self._late = [late for late in self._late if late not in refreshed]
        self._publish("revision", [(symbol, None, bucket) for symbol, bucket in sorted(due)])
        return []

    def _publish(self, kind: Any, candles: Sequence[tuple[str, str | None, datetime]]) -> None:
        if candles:
            self.version += 1
            for number, (symbol, interval, bucket) in enumerate(candles, start=1):
                row = StreamRow(self.version, number, kind, symbol, bucket, interval, self.closed_until, False, None)
                self._add(row)
            self._commit()

    def _events(
        self, version: int, number: int, until: int | None, symbols: list[str] | None, limit: int
    ) -> list[StreamRow]:
        found = [
            row
            for row in self.rows
            if (row.version, row.number) > (version, number)
            and (until is None or row.version <= until)
            and (symbols is None or row.symbol in symbols)
        ]
        return found[:limit]

    def _read_candles(self, interval: str, symbols: list[str], first: datetime, last: datetime) -> list[StreamedCandle]:
        return [
            StreamedCandle(symbol, bucket, f'"start":"{bucket.isoformat()}","changes":{len(changes)}')
            for (each, symbol, bucket), changes in self.candles.items()
            if each == interval and symbol in symbols and first <= bucket <= last
        ]


def _bucket(interval: str, time: datetime) -> datetime:
    return time - (time - WEEK_START) % INTERVALS[interval]
