"""Compare foreign protocols with the service's own API: `uv run python tests/benchmarks/compat.py`.

On the server in TEST_DATABASE_URL (a superuser's DSN), else on the embedded engine. One worker serves all protocols, a
second one none. Contenders take turns in short rounds; compare the ratios within a round, because other load of the machine
affects all. Figures are medians, in brackets the lowest and the highest round.

- bars: 1,000 candles of a minute as each protocol has them; the time of a request ÷ that of `/candles`.
- streams: trades that are committed in blocks, to some clients that read as fast as they can; the rate ÷ that of `/ws`.
- unused: `/price/latest` with all protocols ÷ with none.
"""

import argparse
import base64
import os
import socket
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import LiteralString, NamedTuple

import psycopg
from filled import DAY, SYMBOLS, fill, new_database
from load import requests_a_second
from reads import _peak_memory, _ratios, _rounds, _serving

SYMBOL = SYMBOLS[0]
BARS = 1000
FIRST = int(DAY.timestamp())
LAST = FIRST + 60 * (BARS - 1)
ISO = "%Y-%m-%dT%H:%M:%SZ"


def _iso(seconds: int) -> str:
    return time.strftime(ISO, time.gmtime(seconds))


OWN = f"/candles?symbol={SYMBOL}&interval=1m&start={_iso(FIRST)}&end={_iso(LAST + 60)}&limit={BARS}"
PATHS: Mapping[str, str] = {
    "udf": f"/udf/history?symbol={SYMBOL}&resolution=1&from={FIRST}&to={LAST + 60}&countback={BARS}",
    "alpaca": f"/alpaca/v2/stocks/bars?symbols={SYMBOL}&timeframe=1Min&start={_iso(FIRST)}&end={_iso(LAST)}&limit={BARS}",
    "binance": f"/binance/api/v3/klines?symbol={SYMBOL}&interval=1m&startTime={FIRST}000&endTime={LAST}000&limit={BARS}",
    "massive": f"/massive/v2/aggs/ticker/{SYMBOL}/range/1/minute/{FIRST}000/{LAST}000?limit={BARS}",
}


class Stream(NamedTuple):
    """A stream of all trades of one symbol."""

    path: str
    commands: Sequence[str]
    """Messages that subscribe."""
    trade: bytes
    """Part of a message that stands once in each trade, and nowhere else."""


STREAMS: Mapping[str, Stream] = {
    "own": Stream(f"/ws?symbols={SYMBOL}&channels=trades", (), b'"trade_id"'),
    "alpaca": Stream(
        "/alpaca/stream",
        ('{"action":"auth","key":"a","secret":"b"}', f'{{"action":"subscribe","trades":["{SYMBOL}"]}}'),
        b'"T":"t"',
    ),
    "binance": Stream(f"/binance/ws/{SYMBOL.lower()}@trade", (), b'"e":"trade"'),
    "massive": Stream(
        "/massive/ws/stocks",
        ('{"action":"auth","params":"a"}', f'{{"action":"subscribe","params":"T.{SYMBOL}"}}'),
        b'"ev":"T"',
    ),
}
STORE: LiteralString = """
    INSERT INTO trades (time, symbol, trade_id, price, volume)
    SELECT clock_timestamp() + number * interval '1 microsecond', %s, number, 189.44, 3 FROM generate_series(1, %s) AS number
"""
BLOCK = 1000
"""Trades of a commit."""
READ_BYTES = 1 << 18


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare foreign protocols with the service's own API.")
    parser.add_argument("--connections", type=int, default=4, help="requests at once (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each contender in a round (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=8, help="clients of a stream (default: %(default)s)")
    parser.add_argument("--blocks", type=int, default=5, help=f"commits of {BLOCK} trades (default: %(default)s)")
    options = parser.parse_args()
    with ExitStack() as stack:
        database_url = stack.enter_context(new_database())
        print(f"{os.cpu_count()} processors; {fill(database_url)}", flush=True)
        os.environ.update(DATABASE_URL=database_url, FEED_ENABLED="false", LOG_LEVEL="WARNING", AUDIT_SHARE="0")
        os.environ.update(LOG_INTERVAL_SECONDS="60")
        serve = "-m", "market_data.cli.main", "serve", "--port"
        service, port = stack.enter_context(_serving(*serve))
        plain, plain_port = stack.enter_context(_serving(*serve, COMPATIBILITY="none"))

        def asking(port: int, path: str) -> Callable[[], float]:
            return lambda: requests_a_second(port, [path], options.connections, options.seconds)

        rates = _rounds({name: asking(port, path) for name, path in {"own": OWN, **PATHS}.items()}, options.rounds)
        print(f"\n{BARS} bars{'':14}requests/s   time ÷ /candles")
        for name in PATHS:
            print(f"{name:20}{statistics.median(rates[name]):13,.0f}   {_ratios(rates['own'], rates[name])}", flush=True)
        price = f"/price/latest?symbol={SYMBOL}"
        rates = _rounds({"all": asking(port, price), "none": asking(plain_port, price)}, options.rounds)
        print(f"\n/price/latest, rate with all protocols ÷ with none: {_ratios(rates['all'], rates['none'])}", flush=True)
        streaming = {
            name: lambda stream=stream: _events_a_second(port, database_url, stream, options.clients, options.blocks)
            for name, stream in STREAMS.items()
        }
        rates = _rounds(streaming, options.rounds)
        print(f"\n{options.clients} clients{'':11}events/s     rate ÷ /ws")
        for name in STREAMS:
            print(f"{name:20}{statistics.median(rates[name]):13,.0f}   {_ratios(rates[name], rates['own'])}", flush=True)
        print(f"\npeak memory: with all protocols {_peak_memory(service)}, with none {_peak_memory(plain)}")


def _events_a_second(port: int, database_url: str, stream: Stream, clients: int, blocks: int) -> float:
    """Return the events that all clients together receive in a second, from the first commit to the last event."""
    wanted = blocks * BLOCK
    with ExitStack() as stack:
        sockets = [stack.enter_context(_connect(port, stream)) for _ in range(clients)]
        time.sleep(0.5)  # until each has been subscribed
        readers = [threading.Thread(target=_read, args=(each, stream.trade, wanted)) for each in sockets]
        began = time.perf_counter()
        for reader in readers:
            reader.start()
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("SET synchronous_commit = off")
            for _ in range(blocks):
                connection.execute(STORE, (SYMBOL, BLOCK))
        for reader in readers:
            reader.join()
        return clients * wanted / (time.perf_counter() - began)


def _connect(port: int, stream: Stream) -> socket.socket:
    """Open a WebSocket, and send the commands. Frames of the service are not masked, so the reader needs no parser."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=120)
    key = base64.b64encode(os.urandom(16)).decode()
    connection.sendall(
        f"GET {stream.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(1)
    if not head.startswith(b"HTTP/1.1 101"):
        raise RuntimeError(head.decode())
    for command in stream.commands:
        payload = command.encode()
        connection.sendall(bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload)  # masked by zeros
        time.sleep(0.2)
    return connection


def _read(connection: socket.socket, mark: bytes, wanted: int) -> None:
    """Read until so many trades have arrived."""
    found, rest = 0, b""
    while found < wanted:
        data = connection.recv(READ_BYTES)
        if not data:
            raise RuntimeError("the service has closed a stream")
        text = rest + data
        found += text.count(mark)
        rest = text[-len(mark) + 1 :]


if __name__ == "__main__":
    main()
