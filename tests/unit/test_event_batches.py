"""Events of rows of stream_events: trades, reloads and each changed candle once."""

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from helpers.support import T0

from market_data.queries.stream import StreamedCandle, StreamRow
from market_data.streaming.event_batches import candle_events, row_events
from market_data.streaming.events import Event, EventId
from market_data.streaming.subscriptions import Subscription

MINUTES = Subscription.to(["candles_1m"], None)


def row(version: int, kind: Any = "trade", *, late: bool = False, symbol: str = "AAPL", closed: bool = False) -> StreamRow:
    """Return a row of the minute at T0."""
    interval = "1m" if kind == "closing" else None
    data = {"trade": '{"price":1}', "reload": '{"start":"x"}'}.get(kind)
    closed_until = T0 + timedelta(minutes=1 if closed else 0)
    return StreamRow(version, T0, 1, kind, symbol, T0, interval, closed_until, late, data)


def candles_of(*rows: StreamRow, existing: Sequence[str] = ()) -> list[Event]:
    """Return the candle events of rows if only these symbols have a candle."""

    async def read(interval: str, symbols: Sequence[str], first: datetime, last: datetime) -> list[StreamedCandle]:
        assert (interval, first, last) == ("1m", T0, T0)
        return [StreamedCandle(symbol, T0, '"close":1', 9) for symbol in symbols if symbol in existing]

    return asyncio.run(candle_events(rows, MINUTES, read))


def test_change_that_leaves_no_candle_removes_it():
    (event,) = candles_of(row(7))
    assert event.id == EventId(7, 1, 1)
    assert json.loads(event.data) == {
        "symbol": "AAPL",
        "interval": "1m",
        "timestamp": "2026-02-08T10:30:00Z",
        "closed": False,
        "removed": True,
        "version": 7,
    }


@pytest.mark.parametrize("kind", ["trade", "revision"])
def test_closed_candle_is_removed_too(kind: str):
    (event,) = candles_of(row(7, kind, closed=True))
    assert (json.loads(event.data)["closed"], json.loads(event.data)["removed"]) == (True, True)


def test_closing_without_a_candle_is_silent():
    assert candles_of(row(7, "closing", closed=True)) == []


def test_closing_does_not_hide_the_removal_before_it():
    (event,) = candles_of(row(7), row(8, "closing", closed=True))
    assert event.id == EventId(8, 1, 1)
    assert json.loads(event.data)["removed"]


def test_only_the_symbol_without_a_candle_loses_it():
    found = candles_of(row(7), row(8, symbol="MSFT"), existing=["MSFT"])
    assert {event.symbol: "removed" in event.data for event in found} == {"AAPL": True, "MSFT": False}


def test_trade_that_waits_for_the_refresh_and_reload_do_not_touch_the_candle():
    assert candles_of(row(7, late=True), row(8, "reload")) == []


def test_reload_is_for_the_symbol_in_any_channel():
    (event,) = row_events([row(8, "reload")])
    assert (event.name, event.id, event.data) == ("reload", EventId(8, 1, 0), '{"start":"x","version":8}')
    for channel in ("trades", "candles_1w"):
        assert Subscription.to([channel], frozenset(["AAPL"])).includes(event.channel, event.symbol)
        assert not Subscription.to([channel], frozenset(["MSFT"])).includes(event.channel, event.symbol)
    assert not Subscription().includes(event.channel, event.symbol)


def test_trades_are_for_the_channel_of_trades():
    (event,) = row_events([row(7), row(8, "revision"), row(9, "closing")])
    assert (event.name, event.channel, event.data) == ("trade", "trades", '{"price":1,"version":7}')
