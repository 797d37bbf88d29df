"""`order=time`: the trades of the newest version in the order in which they happened, and candles as they grew."""

from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from itertools import groupby

from market_data.queries.intervals import INTERVALS
from market_data.queries.replay import PastCandle, PlayedTrade
from market_data.queries.stream import StreamRow
from market_data.queries.timed_replay import PastWrites, read_begun_candles, read_timed_trades, read_traded_symbols
from market_data.queries.trades import MAX_ID, MIN_ID, TradeKey
from market_data.streaming.event_batches import LAST_LEVEL
from market_data.streaming.events import EventId, Message
from market_data.streaming.playback.candle_series import CandleKey, bucket_of
from market_data.streaming.playback.candles import ChangedCandles, ReplayedCandles
from market_data.streaming.playback.moments import PAGE_TRADES, Audience, Moment, Reader, read_ahead
from market_data.streaming.playback.waiting import WaitingCandles
from market_data.trade_validation import MICROSECOND

MIN_WINDOW, MAX_WINDOW = timedelta(seconds=1), timedelta(days=4)
"""Shortest and longest range of time that is read at a time."""


class TimeSource:
    """The trades from a time, inclusive, to another one."""

    def __init__(
        self,
        reader: Reader,
        audience: Audience,
        writes: PastWrites,
        start: datetime,
        end: datetime,
        last_number: int = 0,
    ) -> None:
        """`last_number` is the number in the id of the last event."""
        self._read = reader.read
        self._audience = audience
        self._symbols = audience.subscription.symbols
        self._writes = writes
        self._start = start
        self._end = end
        self._number = last_number
        self._candles = ReplayedCandles(audience, {}, WaitingCandles())
        self._open = defaultdict[datetime, dict[tuple[str, str], None]](dict)
        """Interval and symbol of the candles that have not closed, by their ends."""

    async def moments(self) -> AsyncGenerator[Moment]:
        """Yield the moments of the trades, and of the ends of their candles.

        Raises:
            DatabaseUnavailable: They can't be read.
        """
        if self._candles:
            await self._begin()
        async with aclosing(read_ahead(self._pages())) as pages:
            async for until, trades in pages:
                is_full = len(trades) == PAGE_TRADES
                for time, group in groupby(trades, _time_of):
                    if self._open:
                        async for moment in self._closings(time):
                            yield moment
                    yield await self._instant(time, list(group), is_whole=not is_full or time < trades[-1].time)
                if not trades and until < self._end:
                    async for moment in self._closings(until - MICROSECOND):
                        yield moment
                    yield self._moment(until, [], until)  # the player sends heartbeats meanwhile
        async for moment in self._closings(self._end - MICROSECOND):
            yield moment

    async def _pages(self) -> AsyncGenerator[tuple[datetime, list[PlayedTrade]]]:
        """Yield the trades of successive ranges of time, which are short where there are many."""
        window = MIN_WINDOW
        since = TradeKey("", self._start, MIN_ID)
        while since.time < self._end:
            until = min(since.time + window, self._end)
            trades = await self._read(
                read_timed_trades, self._writes, since, until, self._symbols, PAGE_TRADES, exact=bool(self._candles)
            )
            yield until, trades
            if len(trades) == PAGE_TRADES:
                since, window = trades[-1].key, window / 2
            else:
                since = TradeKey("", until, MIN_ID)
                window = min(2 * window, MAX_WINDOW) if 4 * len(trades) < PAGE_TRADES else window

    async def _begin(self) -> None:
        """Note the candles that are open at the start, and may have trades."""
        symbols = await self._read(read_traded_symbols, self._symbols)
        before = self._start - MICROSECOND
        self._candles = ReplayedCandles(self._audience, dict.fromkeys(symbols, (before, MAX_ID)), WaitingCandles())
        for interval, channel in self._audience.intervals.items():
            bucket = bucket_of(self._start, INTERVALS[interval])
            if bucket < self._start:
                wanted = [symbol for symbol in symbols if self._audience.subscription.includes(channel, symbol)]
                self._open[bucket + INTERVALS[interval]].update(dict.fromkeys((interval, symbol) for symbol in wanted))

    async def _instant(self, time: datetime, trades: Sequence[PlayedTrade], *, is_whole: bool) -> Moment:
        resume = time + MICROSECOND
        if not self._candles:
            messages = self._audience.trades(self._writes.version, trades, self._number + 1)
            self._number += len(trades)
            return self._moment(time, messages, resume, is_whole=is_whole)
        messages: list[Message] = []
        changed = ChangedCandles()
        for trade in trades:
            self._number += 1
            messages += self._audience.trade(EventId(self._writes.version, self._number, 0), trade.symbol, trade.members)
            self._candles.add(trade)
            changed.add(self._row(time, trade.symbol))
            for interval in self._audience.intervals:
                end = bucket_of(time, INTERVALS[interval]) + INTERVALS[interval]
                self._open[end][interval, trade.symbol] = None
        messages += await self._candle_messages(changed.rows, resume)
        messages.sort(key=_id_of)
        return self._moment(time, messages, resume, is_whole=is_whole)

    async def _closings(self, until: datetime) -> AsyncGenerator[Moment]:
        """Yield the moments at which candles close, up to a time."""
        while self._open and (end := min(self._open)) <= until:
            rows: list[StreamRow] = []
            for interval, symbol in self._open.pop(end):
                self._number += 1
                bucket = end - INTERVALS[interval]
                rows.append(self._row(end, symbol)._replace(kind="closing", interval=interval, time=bucket))
            messages = await self._candle_messages(rows, end)
            yield self._moment(end, sorted(messages, key=_id_of), end)

    async def _candle_messages(self, rows: Sequence[StreamRow], until: datetime) -> list[Message]:
        async def read(interval: str, keys: Sequence[CandleKey]) -> list[PastCandle]:
            return await self._read(read_begun_candles, self._writes, keys, until)

        return await self._candles.messages(rows, self._writes.version, read)

    def _row(self, time: datetime, symbol: str) -> StreamRow:
        return StreamRow(self._writes.version, time, self._number, "trade", symbol, time, None, time, False, None)

    def _moment(self, time: datetime, messages: list[Message], resume: datetime, *, is_whole: bool = True) -> Moment:
        return Moment(time, EventId(self._writes.version, self._number, LAST_LEVEL), messages, resume, is_whole)


def _time_of(trade: PlayedTrade) -> datetime:
    return trade.time


def _id_of(message: Message) -> EventId:
    return message.id
