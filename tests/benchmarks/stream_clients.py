"""Many clients of `/stream` in one thread, each of which checks that it loses no event and receives none twice."""

import heapq
import re
import select
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from itertools import count
from typing import NamedTuple

CLIENTS_PER_ADDRESS = 5000
"""Clients with the same source address, of which each connection takes a port."""
IP_BIND_ADDRESS_NO_PORT = 24
"""Linux' option to choose the port of a bound socket when it connects: one that is free for this destination."""
REFUSED_SECONDS = 0.2
"""Time after which a client that must be back at once repeats a refused connection."""

REQUEST = "GET /stream?symbols={symbols}&channels={channels} HTTP/1.1\r\nHost: 127.0.0.1\r\n{last}\r\n"
EVENT = re.compile(rb"id: (\S+)\nevent: (\w+)\n(?:retry: (\d+)\n)?data: (.*)")
TRADE = re.compile(rb'"symbol":"(\w+)","price":(\d+),.*"timestamp":"([^"]+)"')
STATUS = re.compile(rb"HTTP/1.1 (\d+)")


class Received(NamedTuple):
    """One received event."""

    id: str
    name: str
    retry: float | None
    """Seconds."""
    symbol: str = ""
    number: int = 0
    """Price of the trade; the prices of a symbol count from 1."""
    committed: float = 0.0
    """Time of the start of the transaction."""


@lru_cache(2000)
def parse(text: bytes) -> Received | None:
    """Return an event, which most clients receive in the same bytes."""
    match = EVENT.search(text)
    if not match:
        return None
    event_id, name, retry, data = match.groups()
    event = Received(event_id.decode(), name.decode(), int(retry) / 1000 if retry else None)
    if name != b"trade":
        return event
    trade = TRADE.search(data)
    assert trade, data
    committed = datetime.fromisoformat(trade[3].decode()).timestamp()
    return event._replace(symbol=trade[1].decode(), number=int(trade[2]), committed=committed)


class StreamClient:
    """One client: its subscription, its position, and its connection while it has one."""

    __slots__ = ("awaited", "connection", "last_id", "requested", "rest", "retry", "seen", "source", "symbols")

    def __init__(self, symbols: Sequence[str], source: str) -> None:
        self.symbols = symbols
        self.source = source
        self.connection: socket.socket | None = None
        self.requested = False
        self.rest = b""
        self.last_id = ""
        self.retry = 1.0
        self.seen: dict[str, int] = {}
        """Number of the newest trade, by symbol."""
        self.awaited = 1
        """Heartbeats until the client receives new events: a second one follows the missed events."""


class StreamClients:
    """Clients that connect again when their stream ends: as their `retry` says, or at once with `may_return`."""

    def __init__(self, port: int, subscriptions: Iterator[Sequence[str]], channels: str) -> None:
        self._port = port
        self._channels = channels
        self._subscriptions = subscriptions
        self._numbers = count()
        self._poll = select.epoll()
        self._by_descriptor: dict[int, StreamClient] = {}
        self._due: list[tuple[float, int, StreamClient]] = []
        self.all: list[StreamClient] = []
        self.may_return: Callable[[], bool] | None = None
        """If set, clients ignore `retry`, and return once it is true."""
        self.waiting: list[StreamClient] = []
        self.back = 0
        """Clients that receive new events."""
        self.latencies: dict[str, list[float]] = {}
        """Seconds from the start of a transaction to each arrival, by symbol."""
        self.problems: Counter[str] = Counter()

    def add(self, number: int) -> None:
        """Connect further clients."""
        for _ in range(number):
            source = f"127.0.0.{2 + len(self.all) // CLIENTS_PER_ADDRESS}"
            client = StreamClient(next(self._subscriptions), source)
            self.all.append(client)
            self._connect(client)

    def run(self, until: Callable[[], bool], seconds: float) -> bool:
        """Receive until a condition is true; return False if it is not within some seconds."""
        end = time.monotonic() + seconds
        while not until():
            if time.monotonic() > end:
                return False
            for descriptor, _ in self._poll.poll(0.02, 2000):
                self._handle(self._by_descriptor[descriptor])
            if self.waiting and self.may_return and self.may_return():
                returning, self.waiting = self.waiting, []
                for client in returning:
                    self._connect(client)
            while self._due and self._due[0][0] <= time.monotonic():
                self._connect(heapq.heappop(self._due)[2])
        return True

    def close(self) -> None:
        """Close all connections."""
        for client in self.all:
            if client.connection:
                client.connection.close()

    def _connect(self, client: StreamClient) -> None:
        connection = socket.socket()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        connection.bind((client.source, 0))
        connection.connect_ex(("127.0.0.1", self._port))
        client.connection, client.requested, client.rest = connection, False, b""
        client.awaited = 2 if client.last_id else 1
        self._by_descriptor[connection.fileno()] = client
        self._poll.register(connection.fileno(), select.EPOLLOUT)

    def _handle(self, client: StreamClient) -> None:
        connection = client.connection
        assert connection
        if not client.requested:
            if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._disconnect(client, REFUSED_SECONDS if self.may_return else client.retry)
                return
            last = f"Last-Event-ID: {client.last_id}\r\n" if client.last_id else ""
            connection.sendall(REQUEST.format(symbols=",".join(client.symbols), channels=self._channels, last=last).encode())
            client.requested = True
            self._poll.modify(connection.fileno(), select.EPOLLIN)
            return
        data = b""
        with suppress(ConnectionResetError):
            data = connection.recv(1 << 18)
        if not data:
            self._disconnect(client, None if self.may_return else client.retry)
            return
        self._receive(client, data)

    def _disconnect(self, client: StreamClient, seconds: float | None) -> None:
        assert client.connection
        self.back -= client.awaited == 0
        client.awaited = 1
        del self._by_descriptor[client.connection.fileno()]
        client.connection.close()
        client.connection = None
        if seconds is None:
            self.waiting.append(client)
        else:
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._numbers), client))

    def _receive(self, client: StreamClient, data: bytes) -> None:
        now = time.time()
        *parts, client.rest = (client.rest + data).split(b"\n\n")
        if client.awaited and (status := STATUS.match(parts[0] if parts else client.rest)) and status[1] != b"200":
            self.problems[f"status {status[1].decode()}"] += 1
            self._disconnect(client, client.retry)
            return
        for part in parts:
            event = parse(part)
            if event is None:
                continue
            client.last_id = event.id
            client.retry = event.retry or client.retry
            if event.name == "heartbeat":
                self.back += client.awaited == 1
                client.awaited = max(0, client.awaited - 1)
            elif event.name == "trade":
                self._count(client, event, now - event.committed)
            elif event.name not in ("bye", "candle"):
                self.problems[event.name] += 1

    def _count(self, client: StreamClient, event: Received, latency: float) -> None:
        expected = client.seen.get(event.symbol, event.number - 1) + 1
        if event.number > expected:
            self.problems["lost"] += event.number - expected
        elif event.number < expected:
            self.problems["doubled"] += 1
        client.seen[event.symbol] = max(event.number, expected - 1)
        self.latencies.setdefault(event.symbol, []).append(latency)
