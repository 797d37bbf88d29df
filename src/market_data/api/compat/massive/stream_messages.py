"""Messages of the hub as messages of Massive's stream."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from market_data.api.compat.events import CandleData, CandleEvent, TradeData, TradeEvent, decode_event
from market_data.api.compat.massive.values import DAY, unix_nanoseconds
from market_data.queries.intervals import bucket_start
from market_data.queries.row_pages import digits_of

MINUTE_MILLISECONDS: Final = 60_000

CACHED: Final = 8192
"""Messages whose translations are kept: those that several clients get at about the same time."""


class NewTrade(NamedTuple):
    """A new trade."""

    symbol: str
    text: str
    """The message `T`."""
    second: int
    """Unix time."""
    price: Decimal
    volume: Decimal


class DayFigures(NamedTuple):
    """Accumulated figures of a day."""

    symbol: str
    day: int
    """Start, in Unix milliseconds."""
    open: str
    volume: str
    vwap: float | None
    """None without a volume."""


class ClosedMinute(NamedTuple):
    """A closed bar of a minute."""

    symbol: str
    start: int
    """Unix milliseconds."""
    members: str
    """Members of the message `AM` without the figures of the day."""


Translated = NewTrade | DayFigures | ClosedMinute | None


@lru_cache(CACHED)
def translate(message: bytes) -> Translated:
    """Return a message of the hub, translated once for all clients; None if the protocol has no such message."""
    match decode_event(message):
        case TradeEvent(trade) if not trade.change:
            return _new_trade(trade)
        case CandleEvent(candle) if candle.removed:
            return None
        case CandleEvent(candle) if candle.interval == "1d":
            return _day_figures(candle)
        case CandleEvent(candle) if candle.interval == "1m" and candle.closed:
            start = milliseconds(candle.timestamp)
            figures = _Figures(*map(digits_of, (candle.open, candle.high, candle.low, candle.close, candle.volume)))
            members = _members(figures, candle.vwap, candle.trade_count, start, start + MINUTE_MILLISECONDS)
            return ClosedMinute(candle.symbol, start, members)
        case _:
            return None


def _new_trade(trade: TradeData) -> NewTrade:
    nanoseconds = unix_nanoseconds(trade.timestamp)
    price, volume = digits_of(trade.price), digits_of(trade.volume)
    text = (
        f'{{"ev":"T","sym":"{trade.symbol}","x":0,"i":"{trade.trade_id}","p":{price},"s":{volume},"c":[],'
        f'"t":{nanoseconds // 1_000_000},"q":{nanoseconds // 1000}}}'
    )
    return NewTrade(trade.symbol, text, nanoseconds // 1_000_000_000, Decimal(price), Decimal(volume))


def _day_figures(candle: CandleData) -> DayFigures:
    day, opened, volume = milliseconds(candle.timestamp), digits_of(candle.open), digits_of(candle.volume)
    return DayFigures(candle.symbol, day, opened, volume, candle.vwap)


def milliseconds(moment: datetime) -> int:
    """Return a time as Unix milliseconds."""
    return unix_nanoseconds(moment) // 1_000_000


def day_of(start: int) -> int:
    """Return the start of the day of a time, both in Unix milliseconds."""
    return start - start % (DAY // timedelta(milliseconds=1))


class _Figures(NamedTuple):
    open: str
    high: str
    low: str
    close: str
    volume: str


def _members(figures: _Figures, vwap: float | None, count: int, start: int, end: int) -> str:
    average = "" if vwap is None else f'"vw":{vwap!r},'
    size = float(figures.volume) / count if count else 0.0
    return (
        f'"v":{figures.volume},{average}"o":{figures.open},"c":{figures.close},"h":{figures.high},"l":{figures.low},'
        f'"z":{size!r},"s":{start},"e":{end}'
    )


def aggregate_message(event: str, symbol: str, members: str, day: DayFigures | None) -> str:
    """Return a message `A` or `AM`. Without figures of the day, it has none."""
    accumulated = ""
    if day:
        average = "" if day.vwap is None else f'"a":{day.vwap!r},'
        accumulated = f'"av":{day.volume},"op":{day.open},{average}'
    return f'{{"ev":"{event}","sym":"{symbol}",{accumulated}{members}}}'


class Second:
    """Bar of the new trades of a second."""

    __slots__ = ("close", "count", "high", "low", "open", "turnover", "volume")

    def __init__(self, price: Decimal) -> None:
        self.open = self.high = self.low = self.close = price
        self.volume = self.turnover = Decimal(0)
        self.count = 0

    def add(self, price: Decimal, volume: Decimal) -> None:
        """Add a trade, later than the ones before."""
        self.high, self.low, self.close = max(self.high, price), min(self.low, price), price
        self.volume += volume
        self.turnover += price * volume
        self.count += 1

    def members(self, start: int) -> str:
        """Return the members of the message `A`, with the start of the second as Unix time."""
        prices = self.open, self.high, self.low, self.close, self.volume
        figures = _Figures(*(f"{number:f}" for number in prices))
        vwap = float(self.turnover / self.volume) if self.volume else None
        return _members(figures, vwap, self.count, start * 1000, start * 1000 + 1000)


class Seconds:
    """Bars of the seconds that have not been sent yet, of new trades in the order in which they were stored.

    A second is complete one second after its end. Later trades of it are left out, like those of the past.
    """

    LATE: Final = 1.0
    AHEAD: Final = 60.0
    """Seconds that the time of a trade may be ahead of the service's."""

    def __init__(self) -> None:
        self._bars: dict[int, dict[str, Second]] = {}

    def add(self, trade: NewTrade) -> None:
        """Add a trade unless its second is complete."""
        now = time.time()
        if not now - 1 - self.LATE < trade.second < now + self.AHEAD:
            return
        bars = self._bars.setdefault(trade.second, {})
        bar = bars.get(trade.symbol)
        if bar is None:
            bar = bars[trade.symbol] = Second(trade.price)
        bar.add(trade.price, trade.volume)

    def take_complete(self) -> list[tuple[str, int, str]]:
        """Remove the complete bars, and return symbol, start in Unix milliseconds and members of each, by time."""
        before = time.time() - 1 - self.LATE
        complete = sorted(second for second in self._bars if second <= before)
        return [
            (symbol, second * 1000, bar.members(second))
            for second in complete
            for symbol, bar in sorted(self._bars.pop(second).items())
        ]


class _DayBar(NamedTuple):
    symbol: str
    time: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    vwap: float | None
    trade_count: int


_decode_days = msgspec.json.Decoder(list[_DayBar]).decode


@lru_cache(4)
def days_of(rows: str) -> Mapping[str, DayFigures]:
    """Return the figures of a day by symbol, from the result of `read_bucket_candles`."""
    bars = _decode_days(f"[{rows}]")
    return {bar.symbol: DayFigures(bar.symbol, bar.time // 1000, bar.open, bar.volume, bar.vwap) for bar in bars}


def today() -> datetime:
    """Return the start of the current day."""
    return bucket_start(datetime.now(UTC), "1d", None)
