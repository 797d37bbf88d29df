"""Clients of `/stream` for tests."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import httpx
from helpers.service import eventually

from market_data.telemetry.metrics import STREAM_CLIENTS


def connected_clients() -> float:
    """Return how many clients have streams of services of this process."""
    return STREAM_CLIENTS.labels("sse")._value.get()


class Event(NamedTuple):
    id: str
    name: str
    data: dict[str, Any]

    @property
    def key(self) -> tuple[int, ...]:
        """Sort key."""
        return tuple(map(int, self.id.split("-")))


class Events:
    """Iterator over the events of one response."""

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
        """Return the next event with one of these names; without names, the next one but heartbeats."""
        return next(event for event in self._events if event.name in names or (not names and event.name != "heartbeat"))

    def any(self) -> Event:
        """Return the next event of any name."""
        return next(self._events)

    def take(self, count: int) -> list[Event]:
        """Return a number of events, without heartbeats."""
        return [self.next() for _ in range(count)]


@contextmanager
def listening(address: str, last: str | None = None, *, timeout: float = 20, **parameters: Any) -> Iterator[Events]:
    """Yield a stream after its first heartbeat, so that it gets all later commits."""
    headers = {} if last is None else {"Last-Event-ID": last}
    with ExitStack() as stack:

        def opened() -> httpx.Response | None:
            """Return the response, or None while it is 503."""
            request = httpx.stream("GET", f"{address}/stream", params=parameters, headers=headers, timeout=timeout)
            response = stack.enter_context(request)
            return response if response.status_code != 503 else None

        response = eventually(opened)
        assert response.status_code == 200, response.read()
        events = Events(response)
        if last is None:
            assert events.any().name == "heartbeat"
        yield events


class Listener:
    """A client that reconnects with the last id that it received, as browsers do."""

    def __init__(self, address: Callable[[], str]) -> None:
        self.events: list[Event] = []
        self._address = address
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        last = ""
        while not self._stopping.is_set():
            try:
                with httpx.stream(
                    "GET", f"{self._address()}/stream", headers={"Last-Event-ID": last} if last else {}, timeout=15
                ) as response:
                    if response.status_code != 200:
                        self._stopping.wait(0.2)
                        continue
                    for event in Events(response):
                        last = event.id
                        self.events.append(event)
                        if self._stopping.is_set():
                            return
            except httpx.HTTPError:
                self._stopping.wait(0.2)

    def end(self) -> None:
        self._stopping.set()
        self._thread.join()


Raw = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def open_raw(address: str, symbols: str) -> Raw:
    """Open a stream of trades and skip its first heartbeat, cheap enough for a thousand streams in a test."""
    url = httpx.URL(address)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(f"GET /stream?symbols={symbols} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    await reader.readuntil(b"event: heartbeat")
    return reader, writer


async def next_trade(stream: Raw) -> dict[str, Any]:
    """Return the data of the next trade."""
    reader, _ = stream
    async with asyncio.timeout(20):
        await reader.readuntil(b"event: trade\ndata: ")
        return json.loads(await reader.readuntil(b"\n"))
