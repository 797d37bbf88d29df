"""Cost of metrics and logs, as a ratio: `uv run python tests/benchmarks/observability.py`.

Uses the server in TEST_DATABASE_URL (a superuser's DSN), else the embedded engine. Clients read the latest price from one
worker, whose log goes to a file, over persistent connections: over one, where each request has its own query, and over 16,
which share queries and keep the worker busy. The worker changes its variant every tenth of a second: as it is, without
metrics and logs, and with Litestar's Prometheus middleware instead. The ratios of adjacent turns count; figures are medians,
with quartiles in brackets.
"""

import argparse
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from typing import NamedTuple

from filled import fill, new_database
from observed import FIGURES

HERE = Path(__file__).resolve().parent
REQUEST = b"GET /price/latest?symbol=AAPL HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
CONTENDERS = {
    "bare": "nothing",
    "whole": "metrics, logs and request IDs",
    "plugin": "Litestar's Prometheus middleware alone",
}


class Turn(NamedTuple):
    contender: str
    requests: int
    seconds: float
    processor_seconds: float


def main() -> None:
    options = _options()
    with new_database() as database_url, tempfile.TemporaryDirectory() as folder:
        print("filling a database …", flush=True)
        print(fill(database_url))
        os.environ.update(DATABASE_URL=database_url, FEED_ENABLED="false", LOG_LEVEL="INFO")
        log = Path(folder, "log")
        print(f"{'':16}{'observed by':42}{'requests/s':>11}   {'time ÷ bare':22}{'processor time ÷ bare':22}")
        with _serving(log) as port:
            _figures(port)  # the first request starts the turns
            for connections in options.connections:
                _load(port, connections, 1)
                before = len(_figures(port))
                _load(port, connections, options.seconds)
                _print_turns(connections, _figures(port)[before:-1])
        print(f"{len(log.read_bytes().splitlines()):,} lines of log")


def _print_turns(connections: int, turns: list[Turn]) -> None:
    by_name = {name: [turn for turn in turns if turn.contender == name and turn.requests] for name in CONTENDERS}
    title = f"{connections} connection{'s' * (connections > 1)}"
    for name, observed_by in CONTENDERS.items():
        rate = statistics.median(turn.requests / turn.seconds for turn in by_name[name])
        ratios = [_ratio(by_name[name], by_name["bare"], what) for what in ("seconds", "processor_seconds")]
        print(f"{title:16}{observed_by:42}{rate:11,.0f}   {ratios[0]:22}{ratios[1]}", flush=True)
        title = ""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare the service with and without metrics and logs.")
    parser.add_argument(
        "--connections", type=int, nargs="+", default=[1, 16], metavar="N", help="concurrent requests (default: 1 16)"
    )
    parser.add_argument(
        "--seconds", type=float, default=30, help="duration for each number of connections (default: %(default)s)"
    )
    return parser.parse_args()


def _load(port: int, connections: int, seconds: float) -> None:
    """Send the next request on each connection after each response. (`load` needs responses of one length.)"""
    end = time.perf_counter() + seconds
    with DefaultSelector() as selector, ExitStack() as stack:
        for _ in range(connections):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            selector.register(connection, EVENT_READ, connection)
            connection.sendall(REQUEST)
        while time.perf_counter() < end:
            for key, _ in selector.select(timeout=10):
                if key.data.recv(1 << 16).endswith(b"}"):
                    key.data.sendall(REQUEST)


def _figures(port: int) -> list[Turn]:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    client.request("GET", FIGURES)
    figures = [Turn(*turn) for turn in json.loads(client.getresponse().read())]
    client.close()
    return figures


def _ratio(above: list[Turn], below: list[Turn], what: str) -> str:
    pairs = zip(above, below, strict=False)
    ratios = [(getattr(one, what) / one.requests) / (getattr(other, what) / other.requests) for one, other in pairs]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return f"{middle:.3f} [{low:.3f}-{high:.3f}]"


@contextmanager
def _serving(log: Path) -> Iterator[int]:
    """Serve the contenders in a process, and return its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = f"-m uvicorn --app-dir {HERE} --factory observed:create --no-access-log --log-level warning --port {port}"
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, *command.split(" ")], stdin=subprocess.DEVNULL, stderr=output)
    try:
        while True:
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None:
                sys.exit(log.read_text())
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(30)


if __name__ == "__main__":
    main()
