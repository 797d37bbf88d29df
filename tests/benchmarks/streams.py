"""Measure the latency from a commit to the clients of a stream: `uv run python tests/benchmarks/streams.py`.

On the server in TEST_DATABASE_URL (a superuser's DSN), else on the embedded engine. A writer commits one trade at a time,
`--rate` a second; one worker of the service streams to its clients, which all read in one thread of this process. A latency
is the time from the start of the writer's transaction to the arrival of the event. Its ratio is to the latency of a bare
connection that listens for the same notifications: the share of the database. Then the writer commits batches of a hundred
trades as fast as possible: events a second over all clients; the service disconnects clients that read too slowly.
"""

import argparse
import os
import re
import socket
import statistics
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from selectors import EVENT_READ, DefaultSelector

import psycopg
from filled import new_database
from reads import _peak_memory, _serving

from market_data.database import migrations

INSERT = """
    INSERT INTO trades (time, symbol, trade_id, price, volume)
    VALUES (now(), %s, 0, %s, 1)
    RETURNING extract(epoch FROM time)::float8
"""
VERSIONS = """
    SELECT version::text, extract(epoch FROM time)::float8
    FROM commits
    JOIN trades USING (write_id)
    WHERE symbol = %s
"""
BATCH = """
    INSERT INTO trades (time, symbol, trade_id, price, volume)
    SELECT now(), %s, number, number, 1
    FROM generate_series(%s::bigint, %s::bigint + 99) AS number
"""
WAIT_SECONDS = 2
"""Time after the last commit in which its events have to arrive."""
PRICE = re.compile(rb'"price":(\d+)')
REQUEST = b"GET /stream?symbols=%s&channels=%s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def main() -> None:
    options = _options()
    with ExitStack() as stack:
        database_url = stack.enter_context(new_database())
        migrations.upgrade(database_url)
        with psycopg.connect(database_url, autocommit=True) as connection:
            names = ["IDLE", *(f"BUSY{number}" for number in range(len(options.cases)))]
            connection.execute("INSERT INTO symbols (symbol, name) SELECT s, s FROM unnest(%s::text[]) AS s", [names])
        os.environ.update(DATABASE_URL=database_url, FEED_ENABLED="false", LOG_LEVEL="WARNING")
        service, port = stack.enter_context(_serving("-m", "market_data.cli.main", "serve", "--port"))
        print(f"machine: {os.cpu_count()} processors; {options.rate} commits a second for {options.seconds:g} s\n")
        print(
            f"{'clients':>8}{'idle':>6}{'channels':>20}{'p50 ms':>8}{'p99 ms':>8}{'÷ LISTEN':>10}{'events/s':>10}"
            f"{'max events/s':>15}{'disconnected':>14}"
        )
        for number, (busy, idle, channels) in enumerate(options.cases):
            readers = Readers(port, f"BUSY{number}", busy, idle, channels)
            print(_case(database_url, f"BUSY{number}", readers, options), flush=True)
        print(f"\npeak memory of the service: {_peak_memory(service)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the latency from commits to the clients of a stream.")
    parser.add_argument("--rate", type=int, default=20, help="commits a second (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement (default: %(default)s)")
    options = parser.parse_args()
    both = "trades,candles_1m"
    options.cases = [
        (1, 0, "trades"),
        (1, 0, both),
        (10, 0, both),
        (200, 800, "trades"),
        (200, 800, both),
        (1000, 0, "trades"),
    ]
    return options


class Readers:
    """Clients that read in one thread, and the arrival times of each price."""

    def __init__(self, port: int, symbol: str, busy: int, idle: int, channels: str) -> None:
        self.title = f"{busy:8}{idle:6}{channels:>20}"
        self.busy = busy
        self.received: dict[int, list[float]] = {}
        self.events = 0
        self.cut_off = 0
        self._stopping = False
        self._selector = DefaultSelector()
        self._sockets: list[socket.socket] = []
        for number in range(busy + idle):
            client = socket.create_connection(("127.0.0.1", port))
            client.sendall(REQUEST % ((symbol if number < busy else "IDLE").encode(), channels.encode()))
            answer = b""
            while b"event: heartbeat" not in answer:
                answer += client.recv(65536)
                assert answer.startswith(b"HTTP/1.1 200 "), answer
            client.setblocking(False)
            self._selector.register(client, EVENT_READ, [b""])
            self._sockets.append(client)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while not self._stopping:
            for key, _ in self._selector.select(timeout=0.2):
                assert isinstance(key.fileobj, socket.socket)
                data = b""
                with suppress(ConnectionResetError):
                    data = key.fileobj.recv(1 << 20)
                if not data:
                    self._selector.unregister(key.fileobj)
                    self.cut_off += 1
                moment = time.time()
                *parts, key.data[0] = (key.data[0] + data).split(b"\n\n")
                for part in parts:
                    self.events += b"event: trade" in part or b"event: candle" in part
                    if b"event: trade" in part and (price := PRICE.search(part)):
                        self.received.setdefault(int(price[1]), []).append(moment)

    def close(self) -> None:
        self._stopping = True
        self._thread.join()
        for client in self._sockets:
            client.close()


class Listener:
    """A bare connection that listens to the stream's notifications, and the arrival time of each version."""

    def __init__(self, database_url: str) -> None:
        self._connection = psycopg.connect(database_url, autocommit=True)
        self._connection.execute("LISTEN market_data_stream")
        self._arrivals: dict[str, float] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        with self._connection as connection:
            while not self._stopping.is_set():
                for notification in connection.notifies(timeout=0.2):
                    self._arrivals[notification.payload] = time.time()

    def latencies(self, begun: Mapping[str, float]) -> list[float]:
        """Return the seconds from the start of each version's transaction to its notification.

        Closed and revised candles have versions of their own, which are left out.
        """
        lost = begun.keys() - self._arrivals
        assert not lost, f"no notification of versions {sorted(lost)} came within {WAIT_SECONDS} s"
        return [self._arrivals[version] - moment for version, moment in begun.items()]

    def close(self) -> None:
        self._stopping.set()
        self._thread.join()


def _case(database_url: str, symbol: str, readers: Readers, options: argparse.Namespace) -> str:
    with psycopg.connect(database_url, autocommit=True) as connection:
        listener = Listener(database_url)
        try:
            begun: list[float] = []
            events, start = readers.events, time.perf_counter()
            for number in range(1, int(options.rate * options.seconds) + 1):
                begun += [moment for (moment,) in connection.execute(INSERT, (symbol, number))]
                time.sleep(max(0, start + number / options.rate - time.perf_counter()))
            time.sleep(WAIT_SECONDS)
            rate = (readers.events - events) / (time.perf_counter() - start - WAIT_SECONDS)
            latencies = [moment - begun[price - 1] for price, moments in readers.received.items() for moment in moments]
            assert len(latencies) == readers.busy * len(begun), f"{len(latencies)} of {readers.busy * len(begun)} events"
            floor = listener.latencies(dict(connection.execute(VERSIONS, (symbol,)).fetchall()))
            most = _max_rate(connection, symbol, readers, options.seconds / 2)
        finally:
            listener.close()
            readers.close()
    p50, p99 = _percentiles(latencies)
    ratio = p50 / _percentiles(floor)[0]
    return f"{readers.title}{p50 * 1e3:8.1f}{p99 * 1e3:8.1f}{ratio:10.1f}{rate:10,.0f}{most:15,.0f}{readers.cut_off:14}"


def _max_rate(connection: "psycopg.Connection[object]", symbol: str, readers: Readers, seconds: float) -> float:
    """Return the events a second while batches are committed as fast as possible, until the last event has arrived."""
    before, start = readers.events, time.perf_counter()
    number = 10_000_000
    while time.perf_counter() < start + seconds:
        connection.execute(BATCH, (symbol, number, number))
        number += 100
    last = number - 1
    while last not in readers.received:
        assert readers.cut_off < readers.busy, "the service has disconnected all clients"
        time.sleep(0.01)
    return (readers.events - before) / (time.perf_counter() - start)


def _percentiles(latencies: Sequence[float]) -> tuple[float, float]:
    """Return the median and the 99th percentile."""
    cuts = statistics.quantiles(latencies, n=100)
    return cuts[49], cuts[98]


if __name__ == "__main__":
    main()
