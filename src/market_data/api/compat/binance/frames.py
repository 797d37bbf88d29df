"""Frames of the streams of trades and candles, made once for all clients of a worker."""

from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

import msgspec

from market_data.api.compat.binance.stream_names import AGGREGATE, KLINE, StreamName
from market_data.api.compat.binance.trade_ids import MICROSECOND, trade_id_of
from market_data.api.compat.binance.values import EXACT, MILLISECOND, digits, milliseconds
from market_data.api.compat.events import CandleData, TradeData, decode_event
from market_data.queries.intervals import INTERVALS
from market_data.queries.row_pages import UNIX_EPOCH, digits_of

CACHED: Final = 4096
"""Newest events whose frames are kept."""

UNKNOWN_ID: Final = -1
"""First and last id of the trades of a candle, which are not looked up."""

event_of: Final = lru_cache(CACHED)(decode_event)
"""Decodes a message of the hub; the same bytes once."""


def framed(name: StreamName, payload: str, *, combined: bool) -> str:
    """Return a payload as it is, or with the name of its stream."""
    return f'{{"stream":{_encode(str(name))},"data":{payload}}}' if combined else payload


# The message is a part of the key because it is the same object for all clients, which compares fast.
@lru_cache(CACHED)
def trade_frame(message: bytes, kind: str, rank: int, *, combined: bool) -> str:
    """Return the frame of a trade in the stream `trade` or `aggTrade`."""
    event: Any = event_of(message)
    trade: TradeData = event.data
    trade_id = trade_id_of((trade.timestamp - UNIX_EPOCH) // MICROSECOND, rank)
    payload = {"e": kind, "E": _now(), "s": trade.symbol}
    if kind == AGGREGATE:
        payload |= {"a": trade_id, "p": digits_of(trade.price), "q": digits_of(trade.volume), "f": trade_id, "l": trade_id}
    else:
        payload |= {"t": trade_id, "p": digits_of(trade.price), "q": digits_of(trade.volume)}
    payload |= {"T": milliseconds(trade.timestamp), "m": False, "M": True}
    return framed(StreamName(trade.symbol, kind), _encode(payload), combined=combined)


@lru_cache(CACHED)
def candle_frame(message: bytes, *, combined: bool) -> str:
    """Return the frame of a candle. Its turnover is computed from its average price, which has 15 digits."""
    event: Any = event_of(message)
    candle: CandleData = event.data
    volume = digits_of(candle.volume)
    turnover = EXACT.multiply(Decimal(repr(candle.vwap)), Decimal(volume)) if candle.vwap is not None else Decimal(0)
    end = candle.timestamp + INTERVALS[candle.interval] - MILLISECOND
    kline = {
        "t": milliseconds(candle.timestamp),
        "T": milliseconds(end),
        "s": candle.symbol,
        "i": candle.interval,
        "f": UNKNOWN_ID,
        "L": UNKNOWN_ID,
        "o": digits_of(candle.open),
        "c": digits_of(candle.close),
        "h": digits_of(candle.high),
        "l": digits_of(candle.low),
        "v": volume,
        "n": candle.trade_count,
        "x": candle.closed,
        "q": digits(turnover),
        "V": "0",
        "Q": "0",
        "B": "0",
    }
    payload = _encode({"e": "kline", "E": _now(), "s": candle.symbol, "k": kline})
    return framed(StreamName(candle.symbol, KLINE + candle.interval), payload, combined=combined)


def result_frame(result: object, request_id: object) -> str:
    """Return the reply to a command."""
    return _encode({"result": result, "id": request_id})


def error_frame(code: int, message: str, request_id: object = None) -> str:
    """Return the reply to a command that can't be executed."""
    return _encode({"error": {"code": code, "msg": message}, "id": request_id})


def _encode(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _now() -> int:
    return milliseconds(datetime.now(UTC))
