"""Messages of the stream, as JSON text or as msgpack. Each event of the hub is translated once for all clients.

In JSON, numbers have every stored digit; in msgpack they are 64-bit floats, because it has no decimals.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from market_data.api.compat.events import CandleData, CandleEvent, TradeData, TradeEvent, decode_event
from market_data.models_writes import TradeValues
from market_data.queries.row_pages import digits_of

Encoding = bool
"""True for msgpack, False for JSON."""

MINUTE: Final = timedelta(minutes=1)

EXCHANGE: Final = "E"
"""Code of a market-independent trade: the client requires a known code in corrections and cancels."""

TAPE: Final = ""

MAX_FRAME_MESSAGES: Final = 1000
"""Messages of a frame, which stays below the 1 MiB that clients accept by default."""

CACHED: Final = 8192

_to_json: Final = msgspec.json.Encoder().encode
_to_msgpack: Final = msgspec.msgpack.Encoder().encode


class TradeMessage(Struct, tag_field="T", tag="t", rename={"symbol": "S"}):
    """A trade."""

    symbol: str
    i: int
    p: Any
    s: Any
    t: datetime
    x: str = EXCHANGE
    c: tuple[str, ...] = ()
    z: str = TAPE


class CorrectionMessage(Struct, tag_field="T", tag="c", rename={"symbol": "S", "os_": "os"}):
    """A corrected trade, with its values before and after. Its time and id stay the same."""

    symbol: str
    oi: int
    op: Any
    os_: Any
    ci: int
    cp: Any
    cs: Any
    t: datetime
    oc: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    x: str = EXCHANGE
    z: str = TAPE


class CancelMessage(Struct, tag_field="T", tag="x", rename={"symbol": "S"}):
    """A cancelled trade, with its last values."""

    symbol: str
    i: int
    p: Any
    s: Any
    t: datetime
    a: str = "C"
    x: str = EXCHANGE
    z: str = TAPE


class BarMessage(Struct, tag_field="T", rename={"symbol": "S"}):
    """A bar."""

    symbol: str
    o: Any
    h: Any
    l: Any  # noqa: E741 - the name of the protocol
    c: Any
    v: Any
    n: int
    vw: float | None
    t: datetime


class MinuteBar(BarMessage, tag="b"):
    """A minute that has ended."""


class UpdatedBar(BarMessage, tag="u"):
    """A minute that has changed after its end."""


class DailyBar(BarMessage, tag="d"):
    """A UTC day so far."""


class Translation(NamedTuple):
    """An encoded message, and the subscribers that get it."""

    channel: str
    symbol: str
    message: bytes
    time: datetime


class Correction(NamedTuple):
    """A corrected trade, whose values before the event lacks."""

    data: TradeData


def encode(message: object, packed: Encoding) -> bytes:
    """Encode a message."""
    return _to_msgpack(message) if packed else _to_json(message)


def frame_of(messages: Sequence[bytes], packed: Encoding) -> str | bytes:
    """Return encoded messages as one array."""
    if not packed:
        return f"[{b','.join(messages).decode()}]"
    count = len(messages)
    head = bytes([0x90 | count]) if count < 16 else b"\xdc" + count.to_bytes(2, "big")
    return head + b"".join(messages)


def frames_of(messages: Sequence[bytes], packed: Encoding) -> list[str | bytes]:
    """Return encoded messages as arrays of limited length; no array for no message."""
    return [frame_of(messages[at : at + MAX_FRAME_MESSAGES], packed) for at in range(0, len(messages), MAX_FRAME_MESSAGES)]


@lru_cache(CACHED)
def translate(event: bytes, packed: Encoding) -> Translation | Correction | None:
    """Return the message of an event of the hub; None for events that the protocol can't carry."""
    match decode_event(event):
        case TradeEvent(data):
            return _trade(data, packed)
        case CandleEvent(data) if not data.removed:
            return _candle(data, packed)
        case _:
            return None


@lru_cache(CACHED)
def first_bar(event: bytes, packed: Encoding) -> Translation:
    """Return a minute that ended and changed at once as one that has ended."""
    decoded = decode_event(event)
    if not isinstance(decoded, CandleEvent):
        raise TypeError("the event is no candle")
    return Translation("bars", decoded.data.symbol, _bar(MinuteBar, decoded.data, packed), decoded.data.timestamp)


def correction(data: TradeData, before: TradeValues | None, packed: Encoding) -> Translation:
    """Return the message of a corrected trade. Unknown values before are those after."""
    price, volume = _number(data.price, packed), _number(data.volume, packed)
    old_price, old_volume = (_number(before.price, packed), _number(before.volume, packed)) if before else (price, volume)
    message = CorrectionMessage(
        data.symbol, data.trade_id, old_price, old_volume, data.trade_id, price, volume, data.timestamp
    )
    return Translation("trades", data.symbol, encode(message, packed), data.timestamp)


def _trade(data: TradeData, packed: Encoding) -> Translation | Correction:
    if data.change == "corrected":
        return Correction(data)
    kind = CancelMessage if data.change == "cancelled" else TradeMessage
    price, volume = _number(data.price, packed), _number(data.volume, packed)
    message = kind(data.symbol, data.trade_id, price, volume, data.timestamp)
    return Translation("trades", data.symbol, encode(message, packed), data.timestamp)


def _candle(data: CandleData, packed: Encoding) -> Translation | None:
    if data.interval == "1d":
        return Translation("dailyBars", data.symbol, _bar(DailyBar, data, packed), data.timestamp)
    if not data.closed:
        return None
    channel, kind = ("updatedBars", UpdatedBar) if data.revised else ("bars", MinuteBar)
    return Translation(channel, data.symbol, _bar(kind, data, packed), data.timestamp)


def _bar(kind: type[BarMessage], data: CandleData, packed: Encoding) -> bytes:
    open_, high, low, close, volume = (
        _number(each, packed) for each in (data.open, data.high, data.low, data.close, data.volume)
    )
    return encode(kind(data.symbol, open_, high, low, close, volume, data.trade_count, data.vwap, data.timestamp), packed)


def _number(digits: Any, packed: Encoding) -> Any:
    """Return a `Raw` number as it is encoded."""
    return float(digits_of(digits)) if packed else digits
