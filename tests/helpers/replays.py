"""Clients of replays for tests."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from helpers.candle_scenarios import INTERVALS
from helpers.sse_client import Event, listening
from helpers.websocket_client import open_websocket

CANDLES = ",".join(f"candles_{interval}" for interval in INTERVALS)
ALL = f"trades,{CANDLES},revisions"
NOT_RECORDED = {"heartbeat", "clock", "end"}


@contextmanager
def opened(transport: str, address: str, **parameters: Any) -> Iterator[Callable[[], Event]]:
    """Yield a function that returns the next event of a stream or WebSocket."""
    if transport == "stream":
        with listening(address, timeout=60, **parameters) as events:
            yield events.any
    else:
        with open_websocket(address, **parameters) as client:

            def following() -> Event:
                message = json.loads(client.recv(timeout=60))
                return Event(message.get("id", "0-0-0"), message["event"], message["data"])

            yield following


def played(transport: str, address: str, start: datetime, end: datetime, **parameters: str) -> list[Event]:
    """Return all events of a replay at maximum speed."""
    bounds = {"from": start.isoformat(), "to": end.isoformat(), "speed": "max"}
    events: list[Event] = []
    with opened(transport, address, **bounds, **parameters) as following:
        while not events or events[-1].name != "end":
            events.append(following())
    return events


def bounds(start: datetime, end: datetime) -> dict[str, Any]:
    return {"from": start.isoformat(), "to": end.isoformat()}


def recorded(events: list[Event]) -> list[Event]:
    return [event for event in events if event.name not in NOT_RECORDED]
