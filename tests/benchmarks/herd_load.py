"""Processes beside the clients of `herd.py`: one commits trades, one reads prices."""

import multiprocessing
import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain, count, cycle
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from typing import Generic, NamedTuple, TypeVar

import psycopg

T = TypeVar("T")

COMMON = "COMMON"
"""Symbol that all clients subscribe to."""

CONNECTIONS = 8
"""Over which prices are read in turn, so that a slow read delays no other one."""

INSERT = "INSERT INTO trades (time, symbol, trade_id, price, volume) VALUES (now(), %s, %s, %s, 1)"
BODY = re.compile(rb"content-length: (\d+)\r\n(?:.+\r\n)*\r\n", re.IGNORECASE)


class Background(Generic[T]):
    """A function in a process of its own, which returns its result once it is told to stop."""

    def __init__(self, function: Callable[..., T], *arguments: object) -> None:
        context = multiprocessing.get_context("spawn")
        self._stopping = context.Event()
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_send_result, args=(theirs, function, self._stopping, *arguments))

    def __enter__(self) -> "Background[T]":
        self._process.start()
        return self

    def result(self) -> T:
        """Tell the function to stop, and return its result."""
        self._stopping.set()
        return self._connection.recv()

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._process.join(10)


def _send_result(connection: Connection, function: Callable[..., object], *arguments: object) -> None:
    connection.send(function(*arguments))


def write(stopping: Event, database_url: str, symbols: Sequence[str], rate: float, every: int) -> dict[str, int]:
    """Commit trades at a steady rate; return the number of the last one of each symbol."""
    numbers: Counter[str] = Counter()
    others = cycle(symbols)
    with psycopg.connect(database_url, autocommit=True) as connection:
        start = time.monotonic()
        for position in count(1):
            if stopping.is_set():
                break
            symbol = next(others) if position % every else COMMON
            numbers[symbol] += 1
            connection.execute(INSERT, (symbol, numbers[symbol], numbers[symbol]))
            time.sleep(max(0, start + position / rate - time.monotonic()))
    return dict(numbers)


def probe(stopping: Event, port: int, rate: float) -> list["Read"]:
    """Read a price at a steady rate over some connections in turn."""
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        starts = [number / rate for number in range(CONNECTIONS)]
        return sorted(chain(*threads.map(partial(_probe, stopping, port, CONNECTIONS / rate), starts)))


def _probe(stopping: Event, port: int, interval: float, start: float) -> list["Read"]:
    answers: list[Read] = []
    connection: socket.socket | None = None
    due = time.monotonic() + start
    while not stopping.is_set():
        due += interval
        time.sleep(max(0, due - time.monotonic()))
        is_first = connection is None
        try:
            connection = connection or socket.create_connection(("127.0.0.1", port), timeout=30)
            _read_price(connection)
        except OSError:
            connection = None
        else:
            answers.append(Read(due, time.monotonic() - due, is_first))
        if is_first:
            due = max(due, time.monotonic() - interval)
    return answers


class Read(NamedTuple):
    """An answered read of a price."""

    due: float
    seconds: float
    """From `due`."""
    is_first: bool
    """True if it includes the time to connect."""


def _read_price(connection: socket.socket) -> None:
    """Raise ConnectionError if the service stops."""
    connection.sendall(b"GET /price/latest?symbol=COMMON HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    received = b""
    while not (head := BODY.search(received)) or len(received) < head.end() + int(head[1]):
        data = connection.recv(65536)
        if not data:
            raise ConnectionError
        received += data
    if not received.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 404 ")):
        raise ConnectionError(received[:30])
