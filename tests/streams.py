"""A client of `/stream`, as a test uses it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx


class Event(NamedTuple):
    id: str
    name: str
    data: dict[str, Any]

    @property
    def key(self) -> tuple[int, ...]:
        """What events are ordered by."""
        return tuple(map(int, self.id.split("-")))


class Events:
    """The events of one answer, one after the other."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._events = self._read()

    def _read(self) -> Iterator[Event]:
        fields: dict[str, str] = {}
        for line in self.response.iter_lines():
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            else:
                yield Event(fields["id"], fields["event"], json.loads(fields["data"]))
                fields = {}

    def __iter__(self) -> Iterator[Event]:
        return self._events

    def next(self, *names: str) -> Event:
        """The next event; of these names, where some are given."""
        return next(event for event in self._events if not names or event.name in names)

    def take(self, count: int, *names: str) -> list[Event]:
        """So many events of these names (default: trades and candles)."""
        return [self.next(*(names or ("trade", "candle"))) for _ in range(count)]


@contextmanager
def listening(address: str, last: str | None = None, *, timeout: float = 20, **parameters: str) -> Iterator[Events]:
    """A stream, of which the first heartbeat has come: what is committed from here on is told."""
    headers = {} if last is None else {"Last-Event-ID": last}
    with httpx.stream("GET", f"{address}/stream", params=parameters, headers=headers, timeout=timeout) as response:
        assert response.status_code == 200, response.read()
        events = Events(response)
        if last is None:
            assert events.next().name == "heartbeat"
        yield events
