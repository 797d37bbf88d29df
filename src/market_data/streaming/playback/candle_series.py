"""Candles that a replay aggregates, trade by trade."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from decimal import Decimal

from market_data.queries.intervals import INTERVALS, WEEK_START
from market_data.queries.replay import PastCandle, PlayedTrade
from market_data.queries.stream import StreamedCandle
from market_data.streaming.playback.numbers import EXACT, decimal_text, float_text, quotient

MAX_KEPT = 4
"""Buckets of a symbol and interval in memory: the current one, those that wait for their end, and late ones."""

Key = tuple[datetime, int]
"""Time and trade_id."""

CandleKey = tuple[str, datetime]
"""Symbol and start of the bucket."""


class Bar:
    """A candle and the positions of its first and last trade."""

    __slots__ = (
        "close",
        "count",
        "first",
        "high",
        "is_outdated",
        "known_after",
        "last",
        "low",
        "open",
        "turnover",
        "volume",
    )

    def __init__(self, price: Decimal, volume: Decimal, key: Key) -> None:
        self.open = self.high = self.low = self.close = price
        self.volume = volume
        self.turnover = EXACT.multiply(price, volume)
        self.count = 1
        self.first: Key = key
        self.last: Key = key
        self.known_after: Key | None = None
        """Trades up to this key are in the candle, but not their order; None if all are known."""
        self.is_outdated = False
        """True if it has to be read again."""

    @classmethod
    def read(cls, candle: PastCandle, newest: Key) -> "Bar":
        """Return a candle that was read. `newest` is a key that none of its trades is above."""
        bar = cls(candle.close, candle.volume, newest)
        bar.open, bar.high, bar.low, bar.close = candle.open, candle.high, candle.low, candle.close
        bar.turnover, bar.count = candle.turnover, candle.trade_count
        bar.known_after = newest
        return bar

    def add(self, price: Decimal, volume: Decimal, key: Key) -> None:
        """Add a trade. One whose place among the others is unknown makes the candle outdated."""
        if self.known_after is not None and key <= self.known_after:
            self.is_outdated = True
            return
        if key > self.last:
            self.close, self.last = price, key
        elif key < self.first:
            self.open, self.first = price, key
        if price > self.high:
            self.high = price
        elif price < self.low:
            self.low = price
        self.volume = EXACT.add(self.volume, volume)
        self.turnover = EXACT.add(self.turnover, EXACT.multiply(price, volume))
        self.count += 1

    def fields(self, bucket: datetime, *, settled: bool = True) -> str:
        """Return the members of its JSON object, as `StreamedCandle.fields`."""
        vwap = float_text(quotient(self.turnover, self.volume)) if self.volume else "null"
        unsettled = "" if settled else ',"settled":false'
        return (
            f'"timestamp":"{bucket.isoformat()[:19]}Z","open":{decimal_text(self.open)},"high":{decimal_text(self.high)},'
            f'"low":{decimal_text(self.low)},"close":{decimal_text(self.close)},"volume":{decimal_text(self.volume)},'
            f'"vwap":{vwap},"trade_count":{self.count}{unsettled}'
        )


def bucket_of(time: datetime, width: timedelta) -> datetime:
    """Return the start of the bucket that a time lies in."""
    return time - (time - WEEK_START) % width


class CandleSeries:
    """The newest candles of an interval of all symbols.

    Candles of buckets that begin after `known_after` of their symbol are complete: if there is none, there was no trade.
    """

    def __init__(self, interval: str) -> None:
        self.width = INTERVALS[interval]
        self._bars: dict[str, dict[datetime, Bar]] = {}
        self._known_after: dict[str, datetime] = {}

    def begin(self, symbol: str, newest: datetime) -> None:
        """Name the time of the newest trade of a symbol at the beginning; without a call, it has none."""
        self._known_after[symbol] = newest

    def add(self, trade: PlayedTrade) -> datetime:
        """Add a trade, and return the start of its bucket."""
        symbol, time = trade.symbol, trade.time
        bucket = time - (time - WEEK_START) % self.width
        bars = self._bars.get(symbol)
        if bars is None:
            bars = self._bars[symbol] = {}
        bar = bars.get(bucket)
        if bar is not None:
            bar.add(trade.exact_price, trade.exact_volume, (time, trade.trade_id))
        elif self.is_complete(symbol, bucket):
            bars[bucket] = Bar(trade.exact_price, trade.exact_volume, (time, trade.trade_id))
            if len(bars) > MAX_KEPT:
                self.trim(symbol)
        return bucket

    def is_complete(self, symbol: str, bucket: datetime) -> bool:
        """Return True if a missing candle means that the bucket has no trade."""
        known_after = self._known_after.get(symbol)
        return known_after is None or bucket > known_after

    def trim(self, symbol: str) -> None:
        """Forget the oldest candles of a symbol."""
        bars = self._bars.get(symbol, {})
        for bucket in sorted(bars)[:-MAX_KEPT]:
            del bars[bucket]
            self._know_after(symbol, bucket)

    def _know_after(self, symbol: str, time: datetime) -> None:
        self._known_after[symbol] = max(time, self._known_after.get(symbol, time))

    def invalidate(self, symbol: str, since: datetime, until: datetime) -> None:
        """Read the candles of a closed range of trades again before they are used."""
        bars = self._bars.get(symbol, {})
        for bucket in [bucket for bucket in bars if bucket <= until and bucket + self.width > since]:
            bars[bucket].is_outdated = True
        self._know_after(symbol, bucket_of(until, self.width))

    def missing(self, keys: Iterable[CandleKey]) -> list[CandleKey]:
        """Return the candles among some that must be read before they are used."""
        return [
            (symbol, bucket)
            for symbol, bucket in keys
            if (bar.is_outdated if (bar := self.bar(symbol, bucket)) else not self.is_complete(symbol, bucket))
        ]

    def bar(self, symbol: str, bucket: datetime) -> Bar | None:
        """Return a candle in memory."""
        return self._bars.get(symbol, {}).get(bucket)

    def store(self, keys: Iterable[CandleKey], candles: Iterable[PastCandle], newest: Callable[[str], Key]) -> None:
        """Keep candles that were read, until `trim`. `newest` returns a key that no trade of a symbol is above.

        Some of the keys may have no candle.
        """
        for symbol, bucket in keys:
            self._bars.get(symbol, {}).pop(bucket, None)
        for candle in candles:
            self._bars.setdefault(candle.symbol, {})[candle.bucket] = Bar.read(candle, newest(candle.symbol))

    def streamed(self, symbol: str, bucket: datetime, version: int, *, settled: bool) -> StreamedCandle | None:
        """Return a candle for its event; None if the bucket has no trade."""
        bar = self.bar(symbol, bucket)
        if bar is None:
            return None
        return StreamedCandle(symbol, bucket, bar.fields(bucket, settled=settled), version if settled else None)
