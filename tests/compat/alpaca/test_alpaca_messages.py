"""Translation of events of the hub for the stream of `/alpaca`, without a service."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from market_data.api.compat.alpaca.messages import Translation, first_bar, frame_of, frames_of, translate

CANDLE = {
    "symbol": "AAPL",
    "interval": "1m",
    "timestamp": "2026-02-08T10:30:00Z",
    "open": 1.5,
    "high": 2,
    "low": 1,
    "close": 1.25,
    "volume": 0,
    "vwap": None,
    "trade_count": 3,
    "closed": True,
    "revised": False,
    "version": 5,
}
BAR = {"S": "AAPL", "o": 1.5, "h": 2, "l": 1, "c": 1.25, "v": 0, "n": 3, "vw": None}
TIME = datetime(2026, 2, 8, 10, 30, tzinfo=UTC)


def event(name: str, **data: Any) -> bytes:
    return json.dumps({"event": name, "id": "5-1-1", "data": data}).encode()


def candle(**changes: Any) -> bytes:
    return event("candle", **{**CANDLE, **changes})


@pytest.mark.parametrize(
    ("changes", "channel", "kind"),
    [
        ({}, "bars", "b"),
        ({"revised": True}, "updatedBars", "u"),
        ({"interval": "1d", "closed": False}, "dailyBars", "d"),
        ({"interval": "1d", "revised": True}, "dailyBars", "d"),
    ],
)
def test_candles_become_bars(changes: dict[str, Any], channel: str, kind: str):
    as_json, as_msgpack = translate(candle(**changes), False), translate(candle(**changes), True)
    assert isinstance(as_json, Translation)
    assert isinstance(as_msgpack, Translation)
    assert as_json[:2] == as_msgpack[:2] == (channel, "AAPL")
    assert json.loads(as_json.message) == {"T": kind, **BAR, "t": "2026-02-08T10:30:00Z"}
    assert msgspec.msgpack.decode(as_msgpack.message) == {"T": kind, **BAR, "t": TIME}


def test_other_events_have_no_message():
    removed = event("candle", symbol="AAPL", interval="1d", timestamp=CANDLE["timestamp"], closed=True, removed=True)
    others = (
        candle(closed=False),
        removed,
        event("heartbeat", timestamp="2026-02-08T10:30:00Z"),
        event("reload", symbol="AAPL", start="2026-02-08T10:30:00Z", end="2026-02-08T10:31:00Z"),
        event("gap", reason="x"),
    )
    assert [translate(each, packed) for each in others for packed in (False, True)] == [None] * 10


def test_the_end_of_a_changed_minute_is_a_bar():
    bar = first_bar(candle(revised=True), False)
    assert (bar.channel, json.loads(bar.message)["T"]) == ("bars", "b")


@pytest.mark.parametrize("count", [0, 1, 15, 16, 999, 1000, 1001, 2500])
def test_frames_have_a_limited_length(count: int):
    messages = [{"T": "b", "number": number} for number in range(count)]
    as_json = frames_of([msgspec.json.encode(each) for each in messages], False)
    as_msgpack = frames_of([msgspec.msgpack.encode(each) for each in messages], True)
    assert [each for frame in as_json for each in json.loads(frame)] == messages
    assert [each for frame in as_msgpack if isinstance(frame, bytes) for each in msgspec.msgpack.decode(frame)] == messages
    assert len(as_json) == len(as_msgpack) == -(-count // 1000)


def test_an_empty_array_is_a_frame_too():
    assert (frame_of([], False), frame_of([], True)) == ("[]", b"\x90")
