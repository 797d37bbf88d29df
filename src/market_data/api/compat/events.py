"""Events of the hub as structs: the messages of `/ws`, from which the streams of foreign protocols are made.

Numbers are the digits of the database. Decode an event once for all clients: cache translations by the bytes of the message,
which are the same object for all clients of a worker.
"""

from datetime import datetime

import msgspec
from msgspec import Raw, Struct


class LatestTrade(Struct, frozen=True):
    """The latest trade of a symbol after a change."""

    symbol: str
    price: Raw
    volume: Raw
    timestamp: datetime


class TradeData(Struct, frozen=True):
    """A stored trade, or a change of one."""

    symbol: str
    price: Raw
    volume: Raw
    timestamp: datetime
    trade_id: int
    version: int
    change: str = ""
    """`corrected`, `cancelled`, or empty for a new trade."""
    latest: LatestTrade | None = None


class CandleData(Struct, frozen=True):
    """A candle after a change; without figures if it was removed."""

    symbol: str
    interval: str
    timestamp: datetime
    open: Raw = Raw(b"0")
    high: Raw = Raw(b"0")
    low: Raw = Raw(b"0")
    close: Raw = Raw(b"0")
    volume: Raw = Raw(b"0")
    vwap: float | None = None
    trade_count: int = 0
    closed: bool = False
    revised: bool = False
    removed: bool = False


class ReasonData(Struct, frozen=True):
    """Reason of the end of a stream, or of a gap."""

    reason: str


class TradeEvent(Struct, frozen=True, tag="trade", tag_field="event"):
    """A trade was stored or changed."""

    data: TradeData


class CandleEvent(Struct, frozen=True, tag="candle", tag_field="event"):
    """A candle has changed."""

    data: CandleData


class ByeEvent(Struct, frozen=True, tag="bye", tag_field="event"):
    """The hub ends the stream."""

    data: ReasonData


class GapEvent(Struct, frozen=True, tag="gap", tag_field="event"):
    """Events are missing."""

    data: ReasonData


class ReloadEvent(Struct, frozen=True, tag="reload", tag_field="event"):
    """Bulk history, which no foreign protocol announces."""


class ClockEvent(Struct, frozen=True, tag="clock", tag_field="event"):
    """Virtual time of a replay."""


class EndEvent(Struct, frozen=True, tag="end", tag_field="event"):
    """End of a replay."""


class HeartbeatEvent(Struct, frozen=True, tag="heartbeat", tag_field="event"):
    """Sign of life, for which foreign protocols have WebSocket pings."""


HubEvent = TradeEvent | CandleEvent | ByeEvent | GapEvent | ReloadEvent | HeartbeatEvent | ClockEvent | EndEvent

decode_event = msgspec.json.Decoder(HubEvent).decode
