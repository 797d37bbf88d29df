"""Candle events of a replay: the series of the subscribed intervals, and the candles that must be read."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime

from market_data.queries.replay import PastCandle, PlayedTrade
from market_data.queries.stream import StreamRow
from market_data.queries.trades import MAX_ID
from market_data.streaming.event_batches import CandleChange, candle_changes, candle_event
from market_data.streaming.events import Message
from market_data.streaming.playback.candle_series import CandleKey, CandleSeries, Key, bucket_of
from market_data.streaming.playback.moments import MAX_READ_CANDLES, Audience, chunks
from market_data.streaming.playback.waiting import WaitingCandles

ReadPast = Callable[[str, Sequence[CandleKey]], Awaitable[list[PastCandle]]]
"""Reads the candles of an interval as of the moment that is being played."""


class ReplayedCandles:
    """The candles that one client subscribes to."""

    def __init__(self, audience: Audience, newest: Mapping[str, Key], waiting: WaitingCandles) -> None:
        """`newest` has the keys of the latest trades of the symbols at the beginning."""
        self._audience = audience
        self._newest = dict(newest)
        self._waiting = waiting
        self._series = {interval: CandleSeries(interval) for interval in audience.intervals}
        for series in self._series.values():
            for symbol, (time, _) in newest.items():
                series.begin(symbol, time)

    def __bool__(self) -> bool:
        return bool(self._series)

    def newest(self, symbol: str) -> Key:
        """Return a key that no trade of a symbol has been above."""
        return self._newest[symbol]

    def add(self, trade: PlayedTrade) -> None:
        """Add a stored trade."""
        key, newest = (trade.time, trade.trade_id), self._newest.get(trade.symbol)
        if newest is None or key > newest:
            self._newest[trade.symbol] = key
        for series in self._series.values():
            series.add(trade)

    def invalidate(self, symbol: str, since: datetime, until: datetime) -> None:
        """Read candles again in which trades were changed or loaded."""
        for series in self._series.values():
            series.invalidate(symbol, since, until)

    def load(self, symbol: str, since: datetime, until: datetime) -> None:
        """Note that trades of a closed range were loaded."""
        newest = until, MAX_ID
        self._newest[symbol] = max(newest, self._newest.get(symbol, newest))
        self.invalidate(symbol, since, until)

    def closing(self, after: datetime, until: datetime, row: StreamRow) -> list[StreamRow]:
        """Return the rows of the candles whose buckets end after a time, up to another one, in the order of their events."""
        ends: list[tuple[datetime, int, str, str]] = []
        for interval, series in self._series.items():
            width = series.width
            end = bucket_of(until, width)
            while end > after:
                start = end - width
                ends += [
                    (end, int(width.total_seconds()), symbol, interval)
                    for symbol, newest in self._newest.items()
                    if newest[0] >= start and self._audience.subscription.includes(f"candles_{interval}", symbol)
                ]
                end = start
        return [
            row._replace(
                number=number,
                symbol=symbol,
                interval=interval,
                time=end - self._series[interval].width,
            )
            for number, (end, _, symbol, interval) in enumerate(sorted(ends), 1)
        ]

    async def messages(self, rows: Sequence[StreamRow], version: int, read: ReadPast) -> list[Message]:
        """Return the events of the candles that rows changed, with their values after all trades that were added."""
        messages: list[Message] = []
        for interval, channel in self._audience.intervals.items():
            wanted = [row for row in rows if self._audience.subscription.includes(channel, row.symbol)]
            changes = candle_changes(wanted, interval)
            if changes:
                messages += await self._of_interval(interval, channel, changes, version, read)
        return messages

    async def _of_interval(
        self, interval: str, channel: str, changes: Mapping[CandleKey, CandleChange], version: int, read: ReadPast
    ) -> list[Message]:
        series, transport = self._series[interval], self._audience.transport
        missing = series.missing(changes)
        for keys in chunks(missing, MAX_READ_CANDLES):
            series.store(keys, await read(interval, keys), self.newest)
        messages: list[Message] = []
        for (symbol, bucket), change in changes.items():
            settled = not self._waiting.overlap(symbol, bucket, series.width)
            candle = series.streamed(symbol, bucket, version, settled=settled)
            if candle or change.removed:
                event = candle_event(channel, interval, (symbol, bucket), change, candle)
                messages.append(event.message(transport, self._audience.names))
        for symbol, _ in missing:
            series.trim(symbol)
        return messages


class ChangedCandles:
    """The last row of each minute, which is enough to find the candles that a statement changed."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, datetime], StreamRow] = {}
        self.last_numbers: dict[str, int] = {}
        """Number of the last row of each symbol."""

    def add(self, row: StreamRow) -> None:
        """Add a row, after those with smaller numbers."""
        key = row.symbol, row.time.replace(second=0, microsecond=0)
        self._rows.pop(key, None)
        self._rows[key] = row

    @property
    def rows(self) -> list[StreamRow]:
        """Return the rows by rising number."""
        return list(self._rows.values())
