"""The events of a stream, and how they are written."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, Self, get_args

import msgspec

Transport = Literal["sse", "websocket"]
"""Server-sent events or WebSocket messages."""
TRANSPORTS: tuple[Transport, ...] = get_args(Transport)

ID_FORM = re.compile(r"(\d{1,18})-(\d{1,10})-(\d)", re.ASCII)


class EventId(NamedTuple):
    """Where an event stands in the one order of all events, which all replicas share."""

    position: int
    """Of its commit, in stream_commits."""
    number: int
    """Of its row, in stream_events."""
    level: int
    """0 for the trade itself; from 1 up for the candles that it touched, the finest first."""

    @classmethod
    def read(cls, text: str) -> Self:
        """The one that was written as this text.

        Raises:
            ValueError: It is none.
        """
        form = ID_FORM.fullmatch(text)
        if not form:
            raise ValueError("must be the id of an event, unchanged")
        return cls(*map(int, form.groups()))

    @classmethod
    def after(cls, position: int) -> Self:
        """Behind all events of a position."""
        return cls(position + 1, 0, 0)

    def __str__(self) -> str:
        return "-".join(map(str, self))


class Message(NamedTuple):
    """An event as it goes over the wire."""

    id: EventId
    text: bytes


@dataclass(frozen=True)
class Event:
    """A trade or a candle, for those who listen to its channel and symbol."""

    id: EventId
    name: Literal["trade", "candle"]
    channel: str
    symbol: str
    data: str
    """As JSON."""
    _written: dict[Transport, Message] = field(default_factory=dict[Transport, Message], compare=False, repr=False)

    def message(self, transport: Transport) -> Message:
        """As it goes over the wire: written once for all clients."""
        if transport not in self._written:
            self._written[transport] = message(transport, self.name, self.id, self.data)
        return self._written[transport]


def by_id(event: Event) -> EventId:
    """The order of a stream."""
    return event.id


def message(transport: Transport, name: str, event_id: EventId, data: str | dict[str, Any]) -> Message:
    """An event as it goes over the wire."""
    text = data if isinstance(data, str) else msgspec.json.encode(data).decode()
    if transport == "sse":
        return Message(event_id, f"id: {event_id}\nevent: {name}\ndata: {text}\n\n".encode())
    return Message(event_id, f'{{"event":"{name}","id":"{event_id}","data":{text}}}'.encode())


def heartbeat(transport: Transport, event_id: EventId) -> Message:
    """Tells that there was nothing else to tell up to now."""
    return message(transport, "heartbeat", event_id, {"timestamp": datetime.now(UTC)})
