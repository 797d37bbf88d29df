"""Figures of a symbol over the last 24 hours, in the forms of the REST API and of the streams."""

from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Final

import msgspec
from msgspec import Struct

from market_data.api.compat.binance.values import EXACT, digits, milliseconds
from market_data.models import doc
from market_data.queries.intervals import INTERVALS, bucket_start

DAY: Final = timedelta(days=1)

UNKNOWN_ID: Final = -1
"""Id of a trade that is not looked up."""


class _Latest(Struct, frozen=True):
    price: Decimal
    volume: Decimal


class _Last24Hours(Struct, frozen=True):
    open: Decimal | None
    high: Decimal | None
    low: Decimal | None
    volume: Decimal
    turnover: Decimal
    trade_count: int


class _Snapshot(Struct, frozen=True):
    symbol: str
    latest: _Latest
    price_24h_ago: Decimal | None
    last_24h: _Last24Hours


class Mini(Struct, frozen=True, kw_only=True, rename="camel"):
    """Figures of the last 24 hours. Without a trade in them, all prices are the latest one."""

    symbol: str
    open_price: Annotated[str, doc("Price of the first trade of these hours.", "187.9")]
    high_price: str
    low_price: str
    last_price: str
    volume: str
    quote_volume: Annotated[str, doc("Turnover: the sum of price times quantity, exact.")]
    open_time: Annotated[int, doc("Start of the first 15-minute candle, in milliseconds.", 1770460200000)]
    close_time: Annotated[int, doc("Time of the answer.", 1770546600123)]
    first_id: int = UNKNOWN_ID
    last_id: int = UNKNOWN_ID
    count: Annotated[int, doc("Number of trades.")]


class Ticker(Mini, frozen=True, kw_only=True, rename="camel"):
    """The same with the change, which is that against `openPrice`."""

    price_change: str
    price_change_percent: str
    weighted_avg_price: str
    prev_close_price: Annotated[str, doc("Last price before these hours.")]
    last_qty: str
    bid_price: str = "0"
    bid_qty: str = "0"
    ask_price: str = "0"
    ask_qty: str = "0"


class Figures:
    """Figures of a symbol. The forms are made once, whoever asks for them."""

    def __init__(self, snapshot: _Snapshot, now: datetime) -> None:
        self._snapshot = snapshot
        self._now = now
        self.symbol = snapshot.symbol

    @cached_property
    def mini(self) -> Mini:
        """Form of `type=MINI`."""
        latest, day = self._snapshot.latest, self._snapshot.last_24h
        return Mini(
            symbol=self.symbol,
            open_price=_text(day.open, latest.price),
            high_price=_text(day.high, latest.price),
            low_price=_text(day.low, latest.price),
            last_price=digits(latest.price),
            volume=digits(day.volume),
            quote_volume=digits(day.turnover),
            open_time=milliseconds(first_bucket(self._now)),
            close_time=milliseconds(self._now),
            count=day.trade_count,
        )

    @cached_property
    def ticker(self) -> Ticker:
        """Form of `type=FULL`."""
        latest, day, before = self._snapshot.latest, self._snapshot.last_24h, self._snapshot.price_24h_ago
        opened = latest.price if day.open is None else day.open
        change = EXACT.subtract(latest.price, opened)
        percent = EXACT.divide(100 * change, opened) if opened > 0 else Decimal(0)
        average = EXACT.divide(day.turnover, day.volume) if day.volume else latest.price
        return Ticker(
            **msgspec.structs.asdict(self.mini),
            price_change=digits(change),
            price_change_percent=f"{percent:.3f}",
            weighted_avg_price=f"{average:.8f}",
            prev_close_price=_text(before, opened),
            last_qty=digits(latest.volume),
        )

    @cached_property
    def ticker_event(self) -> str:
        """Payload of the stream `ticker`."""
        of = self.ticker
        event = {
            "e": "24hrTicker",
            "E": of.close_time,
            "s": self.symbol,
            "p": of.price_change,
            "P": of.price_change_percent,
            "w": of.weighted_avg_price,
            "x": of.prev_close_price,
            "c": of.last_price,
            "Q": of.last_qty,
            "b": of.bid_price,
            "B": of.bid_qty,
            "a": of.ask_price,
            "A": of.ask_qty,
            "o": of.open_price,
            "h": of.high_price,
            "l": of.low_price,
            "v": of.volume,
            "q": of.quote_volume,
            "O": of.open_time,
            "C": of.close_time,
            "F": of.first_id,
            "L": of.last_id,
            "n": of.count,
        }
        return msgspec.json.encode(event).decode()

    @cached_property
    def mini_event(self) -> str:
        """Payload of the stream `miniTicker`."""
        of = self.mini
        event = {
            "e": "24hrMiniTicker",
            "E": of.close_time,
            "s": self.symbol,
            "c": of.last_price,
            "o": of.open_price,
            "h": of.high_price,
            "l": of.low_price,
            "v": of.volume,
            "q": of.quote_volume,
        }
        return msgspec.json.encode(event).decode()


_decode: Final = msgspec.json.Decoder(list[_Snapshot]).decode


def figures_of(snapshots: str, now: datetime) -> list[Figures]:
    """Return the figures of the snapshots of a time, the elements of a JSON array."""
    return [Figures(snapshot, now) for snapshot in _decode(f"[{snapshots}]")]


def untraded(symbol: str, now: datetime) -> Figures:
    """Return the figures of a symbol without any trade: zeros."""
    zero = Decimal(0)
    return Figures(_Snapshot(symbol, _Latest(zero, zero), None, _Last24Hours(None, None, None, zero, zero, 0)), now)


def first_bucket(now: datetime) -> datetime:
    """Return the start of the first 15-minute candle that began within the last 24 hours."""
    start = bucket_start(now - DAY, "15m", None)
    return start if start == now - DAY else start + INTERVALS["15m"]


def _text(price: Decimal | None, otherwise: Decimal) -> str:
    return digits(otherwise if price is None else price)
