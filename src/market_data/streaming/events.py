"""Events of a stream, and their encoding."""

import random
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, Self, get_args

import msgspec

from market_data.names import NO_NAMES, Names

Transport = Literal["sse", "websocket"]
TRANSPORTS: tuple[Transport, ...] = get_args(Transport)

ID_PATTERN = re.compile(r"(\d{1,18})-(\d{1,10})-(\d)", re.ASCII)


RETRY_MILLISECONDS = 1_000, 5_000
"""Shortest and longest time after which a client may reconnect: after a restart, not all clients return at once."""


class EventId(NamedTuple):
    """Position of an event in the total order of events, which is the same at all replicas of the service."""

    version: int
    """Version of its commit."""
    number: int
    """Number of its row in stream_events."""
    level: int
    """0 for a trade or reload; from 1 for the candles that it changed, shortest interval first; 9 for revisions."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the id for its text form.

        Raises:
            ValueError: The text is not an id.
        """
        match = ID_PATTERN.fullmatch(text)
        if not match:
            raise ValueError("must be the id of an event, unchanged")
        return cls(*map(int, match.groups()))

    @classmethod
    def after(cls, version: int) -> Self:
        """Return an id after all events of a version."""
        return cls(version + 1, 0, 0)

    def __str__(self) -> str:
        return "-".join(map(str, self))


class Message(NamedTuple):
    """An encoded event."""

    id: EventId
    text: bytes


@dataclass(frozen=True)
class Event:
    """A trade, candle, revision or reload, for subscribers of its channel and symbol."""

    id: EventId
    name: Literal["trade", "candle", "revision", "reload"]
    channel: str | None
    """None for the subscribers of any channel."""
    symbol: str
    data: str
    """JSON."""
    _messages: dict[tuple[Transport, str], Message] = field(
        default_factory=dict[tuple[Transport, str], Message], compare=False, repr=False
    )
    """By the name that they show."""

    def message(self, transport: Transport, names: Names = NO_NAMES) -> Message:
        """Return the event with the present name of its symbol, encoded once for all clients."""
        shown = transport, names.name_of(self.symbol)
        if shown not in self._messages:
            self._messages[shown] = encode(transport, self.name, self.id, names.rename_json(self.data))
        return self._messages[shown]


def by_id(event: Event) -> EventId:
    """Return the sort key of events."""
    return event.id


def encode(transport: Transport, name: str, event_id: EventId, data: str | dict[str, Any]) -> Message:
    """Encode an event as a server-sent event or as a WebSocket message."""
    text = data if isinstance(data, str) else msgspec.json.encode(data).decode()
    if transport == "sse":
        return Message(event_id, f"id: {event_id}\nevent: {name}\ndata: {text}\n\n".encode())
    return Message(event_id, f'{{"event":"{name}","id":"{event_id}","data":{text}}}'.encode())


def heartbeat(transport: Transport, event_id: EventId, timestamp: datetime | None = None) -> Message:
    """Return a heartbeat, of now by default. Its id tells the client that it has received all events up to there."""
    return encode(transport, "heartbeat", event_id, {"timestamp": timestamp or datetime.now(UTC)})


def first_heartbeat(transport: Transport, event_id: EventId, timestamp: datetime | None = None) -> Message:
    """Return the heartbeat that begins a stream; as a server-sent event, with the time after which to reconnect."""
    message = heartbeat(transport, event_id, timestamp)
    if transport == "websocket":
        return message
    retry = b"\nretry: %d\ndata: " % random.randint(*RETRY_MILLISECONDS)
    return message._replace(text=message.text.replace(b"\ndata: ", retry, 1))
