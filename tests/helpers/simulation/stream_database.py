"""A simulated database with the events of streams: trades, cancels, bulk history, and candles that close or are revised."""

import asyncio
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from random import Random
from typing import Any

from helpers.simulation.connection import SimulatedConnection

from market_data.queries.intervals import INTERVALS, WEEK_START
from market_data.queries.revisions import STREAM_REVISIONS
from market_data.queries.stream import (
    ADVANCE_STREAM,
    CONTAINS,
    LISTEN_TO_STREAM,
    STREAM_CANDLES,
    STREAM_EVENTS,
    STREAM_RANGE,
    StreamedCandle,
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


class SimulatedCandle:
    """Changes of a candle, whose number stands for its values, and the number of its trades."""

    def __init__(self) -> None:
        self.changes: list[EventId] = []
        self.trades = 0
        self.last_event = EventId(0, 0, 0)
        """Id of the last event for it, including its close."""


class StreamDatabase:
    """Executes the statements of streams. Commits take a version; late changes enter their candles some seconds later."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.loop = asyncio.get_running_loop()
        self.rows: list[StreamRow] = []
        self.events: list[tuple[EventId, str | None, str]] = []
        """Id, channel and symbol of each trade and reload, ordered."""
        self.candles: dict[CandleKey, SimulatedCandle] = {}
        self.version = 0
        self.trimmed_before = 0
        self.closed_until = START.replace(second=0)
        self._committed_at: dict[int, float] = {}
        self._trades: list[tuple[str, datetime]] = []
        """Symbols and times of the stored trades."""
        self._late: list[tuple[float, str, datetime, int]] = []
        """Time of the refresh, symbol and minute of late changes, and by how many trades they change a candle."""
        self._listeners: list[SimulatedConnection] = []
        self._answers: dict[str, Callable[[Any], list[Any]]] = {
            STREAM_EVENTS: lambda given: self._events(**given),
            STREAM_REVISIONS: lambda _: [],
            STREAM_RANGE: lambda _: [(self.trimmed_before, self.version, START)],
            CONTAINS: lambda commit: [commit.version <= self.version],
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
            self._trades.append((symbol, time))
            self._change_trade(number, symbol, time, 1, late=late)
        self._commit()

    def cancel(self) -> None:
        """Commit the cancel of a trade, mostly of one of the last."""
        if self._trades:
            last = len(self._trades) - 1
            symbol, time = self._trades.pop(self.random.choice([last, self.random.randint(0, last)]))
            self.version += 1
            self._change_trade(1, symbol, time, -1, late=self.now - time > LATE)
            self._commit()

    def store_in_bulk(self) -> None:
        """Commit trades without events, then the reload that stands for them."""
        self.version += 1
        symbol, start = self.random.choice(SYMBOLS), self.now - timedelta(minutes=self.random.randint(5, 90))
        event_id = EventId(self.version, 1, 0)
        for interval, _ in product(INTERVALS, range(3)):
            candle = self.candles.setdefault((interval, symbol, _bucket(interval, start)), SimulatedCandle())
            candle.trades += 1
            candle.changes.append(event_id)
            candle.last_event = event_id
        text = f'{{"symbol":"{symbol}"}}'
        self._add(StreamRow(self.version, START, 1, "reload", symbol, start, None, self.closed_until, False, text))
        self._commit()

    def _change_trade(self, number: int, symbol: str, time: datetime, trades: int, *, late: bool) -> None:
        text = f'{{"symbol":"{symbol}","version":{self.version},"number":{number}}}'
        row = StreamRow(self.version, START, number, "trade", symbol, time, None, self.closed_until, late, text)
        self._add(row)
        if late:
            self._late.append((self.loop.time() + self.random.uniform(0.5, 6), symbol, _bucket("1m", time), trades))
        else:
            self._change_candles(row, trades)

    def trim(self, seconds: float) -> None:
        """Delete the events that are older, but the last of them."""
        old = [version for version, at in self._committed_at.items() if at < self.loop.time() - seconds]
        if len(old) > 1 and old[-1] > self.trimmed_before:
            self.trimmed_before = old[-1]
            self.rows = [row for row in self.rows if row.version >= self.trimmed_before]

    def next_event(self, after: EventId, wanted: Callable[[EventId, str | None, str], bool]) -> EventId | None:
        """Return the id of the first trade or reload after an id that a client wants."""
        start = bisect_right(self.events, after, key=lambda event: event[0])
        return next((event[0] for event in self.events[start:] if wanted(*event)), None)

    def _commit(self) -> None:
        self._committed_at[self.version] = self.loop.time()
        for connection in self._listeners:
            self.loop.call_later(self.random.choice([0, self.random.uniform(0, 0.3)]), connection.notify)

    def _add(self, row: StreamRow) -> None:
        self.rows.append(row)
        if row.kind in ("trade", "reload"):
            channel = "trades" if row.kind == "trade" else None
            self.events.append((EventId(row.version, row.number, 0), channel, row.symbol))

    def _change_candles(self, row: StreamRow, trades: int) -> None:
        for interval in INTERVALS:
            candle = self.candles.setdefault((interval, row.symbol, _bucket(interval, row.time)), SimulatedCandle())
            candle.last_event = EventId(row.version, row.number, LEVELS[interval])
            candle.changes.append(candle.last_event)
            candle.trades += trades

    def _advance(self) -> list[Any]:
        """Publish closed candles, and the candles of late trades that have been refreshed."""
        closed = _bucket("1m", self.now - timedelta(seconds=1))
        if closed > self.closed_until:
            minutes = (closed - self.closed_until) // MINUTE
            ends = [self.closed_until + number * MINUTE for number in range(1, minutes + 1)]
            self.closed_until = closed
            ended = [
                (symbol, interval, end - width)
                for end in ends
                for interval, width in INTERVALS.items()
                for symbol in SYMBOLS
                if (end - WEEK_START) % width == timedelta(0)
            ]
            for row in self._publish("closing", ended):
                candle = self.candles.get((row.interval, row.symbol, row.time)) if row.interval else None
                if row.interval and candle and candle.trades:  # the end of a bucket without trades has no event
                    candle.last_event = EventId(row.version, row.number, LEVELS[row.interval])
        due = Counter[tuple[str, datetime]]()
        for at, symbol, bucket, trades in self._late:
            if at <= self.loop.time():
                due[symbol, bucket] += trades
        self._late = [late for late in self._late if late[0] > self.loop.time()]
        for row in self._publish("revision", [(symbol, None, bucket) for symbol, bucket in sorted(due)]):
            self._change_candles(row, due[row.symbol, row.time])
        return []

    def _publish(self, kind: Any, candles: Sequence[tuple[str, str | None, datetime]]) -> list[StreamRow]:
        rows: list[StreamRow] = []
        if candles:
            self.version += 1
            for number, (symbol, interval, bucket) in enumerate(candles, start=1):
                row = self.version, START, number, kind, symbol, bucket, interval, self.closed_until, False, None
                rows.append(StreamRow(*row))
                self._add(rows[-1])
            self._commit()
        return rows

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
            StreamedCandle(
                symbol, bucket, f'"timestamp":"{bucket.isoformat()}","changes":{len(candle.changes)}', self.version
            )
            for (each, symbol, bucket), candle in self.candles.items()
            if candle.trades and each == interval and symbol in symbols and first <= bucket <= last
        ]


def _bucket(interval: str, time: datetime) -> datetime:
    return time - (time - WEEK_START) % INTERVALS[interval]
