"""The service under overload: `uv run python tests/benchmarks/overload.py --minutes 60`.

Uses the server in TEST_DATABASE_URL (a superuser's DSN), else the embedded engine, with all jobs of the database. Clients
send one worker a mix of prices, candles, trades and writes: first a closed loop, in which each connection awaits responses,
measures the capacity; then an open loop sends `--factor` times as many requests at random times. A latency counts from the
time at which the request was due, so it includes the time in a queue of this program. Each minute prints the requests per
second that were answered and rejected with 503, their latencies, and the memory of the worker; the end prints how soon the
service recovers.
"""

import argparse
import json
import os
import random
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import cycle
from selectors import EVENT_READ, DefaultSelector
from urllib.parse import urlencode

import psycopg
from filled import SYMBOLS, fill, new_database
from reads import _memory, _serving

JOBS_SECONDS = 20
"""Time for the first runs of all jobs, which begin at once."""
PATIENCE_SECONDS = 10.0
"""Time after which a client gives up."""
MAX_CONNECTIONS = 4000
CAPACITY_CONNECTIONS = 32
WRITES = 0.05
READS = {"latest": 0.6, "at": 0.1, "candles": 0.15, "trades": 0.1}
BUFFER = 1 << 20
RESIDENT = "VmRSS"
LENGTH = re.compile(rb"\ncontent-length: ([0-9]+)", re.IGNORECASE)


class Mix:
    """Random requests; each written trade has a new key."""

    def __init__(self, key: str) -> None:
        draw = random.Random(5)
        self._key = key
        self._trades = 0
        kinds = draw.choices([*READS, "write"], [*READS.values(), WRITES], k=2000)
        self._requests = cycle([None if kind == "write" else _read(kind, draw) for kind in kinds])

    def draw(self) -> bytes:
        """The next request."""
        return next(self._requests) or self._write()

    def _write(self) -> bytes:
        self._trades += 1
        trade = {
            "symbol": SYMBOLS[self._trades % len(SYMBOLS)],
            "price": "181.5",
            "volume": "1",
            "timestamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "trade_id": self._trades,
        }
        body = json.dumps(trade).encode()
        head = (
            f"POST /trades HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self._key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


def _read(kind: str, draw: random.Random) -> bytes:
    hour = draw.randrange(46)
    parameters = {"symbol": draw.choice(SYMBOLS)}
    start, end = (f"2026-02-{day:02}T{hour:02}:00:00Z" for day, hour in ((8 + hour // 24, hour % 24), (10, 0)))
    path = {"latest": "/price/latest", "at": "/price"}.get(kind, f"/{kind}")
    if kind == "at":
        parameters["timestamp"] = start
    elif kind != "latest":
        parameters |= {"start": start, "end": end, "limit": "60"}
    if kind == "candles":
        parameters["interval"] = "1m"
    return f"GET {path}?{urlencode(parameters)} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


class Exchange:
    """A connection and its current request."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.due = 0.0
        self.received = b""
        self.idle = True

    def send(self, request: bytes, due: float) -> None:
        """Send a request that was due at this time."""
        self.due, self.received, self.idle = due, b"", False
        self.connection.sendall(request)

    def read(self) -> int | None:
        """Return the status once the response is complete, 0 if the connection was closed."""
        try:
            received = self.connection.recv(BUFFER)
        except ConnectionError:
            return 0
        if not received:
            return 0
        self.received += received
        head, end, body = self.received.partition(b"\r\n\r\n")
        if not end:
            return None
        size = LENGTH.search(head)
        return int(head[9:12]) if size and len(body) >= int(size[1]) else None


class Load:
    """Connections under load, and the results since they were last cleared."""

    def __init__(self, port: int, mix: Mix) -> None:
        self._port = port
        self._mix = mix
        self._selector = DefaultSelector()
        self._all: set[Exchange] = set()
        self._idle: list[Exchange] = []
        self.latencies: dict[int, list[float]] = {}
        self.lost: Counter[str] = Counter()
        self.behind = 0.0
        """Longest delay of a request after its due time, in seconds."""

    def closed(self, connections: int, seconds: float) -> float:
        """Run a closed loop: each connection sends the next request after its response. Return the 200s per second."""
        end = time.perf_counter() + seconds
        for _ in range(connections):
            self._connect().send(self._mix.draw(), time.perf_counter())

        def again(exchange: Exchange) -> None:
            if time.perf_counter() < end:
                exchange.send(self._mix.draw(), time.perf_counter())
            else:
                self._idle.append(exchange)

        while len(self._idle) < len(self._all):
            self._take(again, 1)
        count = len(self.latencies.get(200, ()))
        self.latencies.clear()
        return count / seconds

    def open(self, rate: float, seconds: float) -> None:
        """Run an open loop: send `rate` requests per second at random times, whatever the responses."""
        arrivals = random.Random(7)
        due = time.perf_counter()
        end = due + seconds
        while due < end:
            while due <= time.perf_counter():
                self._send(due)
                due += arrivals.expovariate(rate)
            self._take(self._idle.append, max(due - time.perf_counter(), 0))
        self._give_up()

    def rest(self) -> None:
        """Wait for the outstanding responses."""
        while len(self._idle) < len(self._all):
            self._take(self._idle.append, 1)
            self._give_up()

    def _send(self, due: float) -> None:
        if not self._idle and len(self._all) == MAX_CONNECTIONS:
            self.lost["not sent"] += 1
            return
        self.behind = max(self.behind, time.perf_counter() - due)
        exchange = self._idle.pop() if self._idle else self._connect()
        try:
            exchange.send(self._mix.draw(), due)
        except OSError:
            self._lose(exchange, "closed")

    def _connect(self) -> Exchange:
        exchange = Exchange(socket.create_connection(("127.0.0.1", self._port)))
        self._selector.register(exchange.connection, EVENT_READ, exchange)
        self._all.add(exchange)
        return exchange

    def _take(self, answered: Callable[[Exchange], None], seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            exchange: Exchange = key.data
            status = exchange.read()
            if status == 0:
                self._lose(exchange, None if exchange.idle else "closed")
            elif status:
                self.latencies.setdefault(status, []).append(time.perf_counter() - exchange.due)
                exchange.idle = True
                answered(exchange)

    def _give_up(self) -> None:
        """Drop requests that have waited too long."""
        now = time.perf_counter()
        for exchange in [exchange for exchange in self._all if not exchange.idle and now > exchange.due + PATIENCE_SECONDS]:
            self._lose(exchange, "given up")

    def _lose(self, exchange: Exchange, why: str | None) -> None:
        if why:
            self.lost[why] += 1
        elif exchange in self._idle:
            self._idle.remove(exchange)
        self._selector.unregister(exchange.connection)
        exchange.connection.close()
        self._all.discard(exchange)

    @property
    def connections(self) -> int:
        """Number of open connections."""
        return len(self._all)


def main() -> None:
    options = _options()
    with ExitStack() as stack:
        database_url = stack.enter_context(new_database())
        print(fill(database_url))
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("SELECT alter_job(job_id, scheduled => true) FROM timescaledb_information.jobs")
        time.sleep(JOBS_SECONDS)
        os.environ.update(DATABASE_URL=database_url, FEED_ENABLED="false", LOG_LEVEL="WARNING")
        command = [sys.executable, "-m", "market_data.cli.main", "keys", "create", "load", "--scope", "write"]
        key = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        process, port = stack.enter_context(_serving("-m", "market_data.cli.main", "serve", "--port"))
        load = Load(port, Mix(key))
        load.closed(CAPACITY_CONNECTIONS, 5)
        capacity = load.closed(CAPACITY_CONNECTIONS, options.capacity_seconds)
        rate = capacity * options.factor
        print(f"capacity: {capacity:,.0f} a second; {_memory(process, 'VmRSS')}. From now on {rate:,.0f} a second.\n")
        print(f"{'minute':>6}{'200/s':>8}{'503/s':>8}  {'ms of 200: p50, p99, max':28}{'of 503: p50, p99':20}memory")
        seconds = min(60, options.minutes * 60)
        for minute in range(1, max(round(options.minutes * 60 / seconds), 1) + 1):
            load.open(rate, seconds)
            _print_minute(minute, load, seconds, _memory(process, RESIDENT))
        start = time.perf_counter()
        load.rest()
        print(f"\nthe last responses arrived {time.perf_counter() - start:.2f} s after the last request")
        load.latencies.clear()
        calm = load.closed(CAPACITY_CONNECTIONS, options.capacity_seconds)
        print(f"afterwards: {calm:,.0f} a second, {calm / capacity:.2f} of the capacity before; {_memory(process, 'VmRSS')}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Overload the service.")
    parser.add_argument("--minutes", type=float, default=2, help="duration of the overload (default: %(default)s)")
    parser.add_argument("--factor", type=float, default=2, help="load as a multiple of the capacity (default: %(default)s)")
    parser.add_argument(
        "--capacity-seconds", type=float, default=15, help="duration of the capacity measurement (default: %(default)s)"
    )
    return parser.parse_args()


def _print_minute(minute: int, load: Load, seconds: float, memory: str) -> None:
    answered, refused = (
        sorted(each for status in of for each in load.latencies.pop(status, ())) for of in ((200, 201), (503,))
    )
    others = {str(status): len(each) for status, each in load.latencies.items()} | load.lost
    load.latencies.clear()
    load.lost.clear()
    cuts = [f"{_at(answered, part) * 1e3:,.0f}" for part in (0.5, 0.99, 1)]
    of_refused = [f"{_at(refused, part) * 1e3:,.0f}" for part in (0.5, 0.99)]
    rates = f"{len(answered) / seconds:8,.0f}{len(refused) / seconds:8,.0f}"
    print(
        f"{minute:6}{rates}  {', '.join(cuts):28}{', '.join(of_refused):20}{memory}",
        f"{load.connections} connections",
        f"{load.behind:.2f} s late",
        *(f"{name}: {number}" for name, number in others.items()),
        sep=", ",
        flush=True,
    )


def _at(ordered: list[float], part: float) -> float:
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)] if ordered else 0.0


if __name__ == "__main__":
    main()
