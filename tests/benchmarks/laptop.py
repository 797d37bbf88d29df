"""Measure a laptop's history on the embedded engine and on a server: `uv run python tests/benchmarks/laptop.py`.

A year of five symbols with a trade a minute (2.6 million trades): the time of `market-data backfill`, the time of
`market-data import` of four weeks before that year, and reads of a service over one connection, while its log, its audit and
the jobs of the database run. On a new embedded engine, then on the server in TEST_DATABASE_URL (a superuser's DSN), if set.
The reads take turns. The ranges of candles and trades begin at random times, so that no cache answers.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlencode

from filled import SYMBOLS, new_database
from reads import _serving
from settled import get, wait_for_log

RATE = timedelta(minutes=1)
IMPORTED = timedelta(days=28)
LIMIT_MS = 50
WARM_UP = 5
ROWS = ("backfill, trades/s", "import, trades/s", "seconds until the service has logged them")


def main() -> None:
    options = _options()
    engines = {"embedded": _embedded}
    if os.environ.get("TEST_DATABASE_URL"):
        engines["server"] = _server
    columns: dict[str, dict[str, str]] = {}
    slow: list[str] = []
    for name, engine in engines.items():
        with TemporaryDirectory() as folder, engine(Path(folder)) as environment:
            figures = _fill(options.days, Path(folder), environment)
            with _serving("-m", "market_data.cli.main", "serve", "--port", **environment) as (_, port):
                figures[ROWS[2]] = f"{wait_for_log(port):.0f}"
                latencies = _read(port, options)
        columns[name] = figures | {read: _cell(times) for read, times in latencies.items()}
        slow += [f"{read}, {name}" for read, times in latencies.items() if _percentiles(times)[1] > LIMIT_MS]
    print(f"\n| | {' | '.join(columns)} |\n| --- |{' ---: |' * len(columns)}")
    for row in columns["embedded"]:
        print(f"| {row} | {' | '.join(column[row] for column in columns.values())} |")
    print(f"\nReads in ms, p50 and p99 of {options.rounds} rounds; beyond {LIMIT_MS} ms: {', '.join(slow) or 'none'}.")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure a laptop's history on the embedded engine and on a server.")
    parser.add_argument("--days", type=int, default=365, help="length of the history, at least 40 (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=300, help="rounds of the reads (default: %(default)s)")
    return parser.parse_args()


@contextmanager
def _embedded(folder: Path) -> Iterator[Mapping[str, str]]:
    yield _environment(folder, "")


@contextmanager
def _server(folder: Path) -> Iterator[Mapping[str, str]]:
    with new_database() as database_url:
        yield _environment(folder, database_url)


def _environment(folder: Path, database_url: str) -> Mapping[str, str]:
    return {
        "MARKET_DATA_HOME": str(folder / "home"),
        "DATABASE_URL": database_url,
        "FEED_ENABLED": "false",
        "LOG_LEVEL": "WARNING",
    }


def _fill(days: int, folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Store the history, and return its rates by row of the table."""
    _seconds(environment, "migrate")
    rows = days * (timedelta(days=1) // RATE) * len(SYMBOLS)
    backfill = _seconds(environment, "backfill", "--days", str(days), "--rate", "1m", "--seed", "1")
    file = folder / "trades.csv"
    imported = _write_file(file, datetime.now(UTC) - timedelta(days=days + 1) - IMPORTED)
    return {
        ROWS[0]: f"{rows / backfill:,.0f}",
        ROWS[1]: f"{imported / _seconds(environment, 'import', str(file)):,.0f}",
    }


def _seconds(environment: Mapping[str, str], *arguments: str) -> float:
    start = time.perf_counter()
    command = [sys.executable, "-m", "market_data.cli.main", *arguments]
    subprocess.run(command, check=True, env=os.environ | environment, stdout=sys.stderr)
    return time.perf_counter() - start


def _write_file(file: Path, start: datetime) -> int:
    """Write trades as CSV, ordered by time, and return their number."""
    numbers = random.Random(1)
    steps = IMPORTED // RATE
    with file.open("w") as out:
        out.write("symbol,timestamp,price,volume\n")
        for step in range(steps):
            moment = f"{start + step * RATE:%Y-%m-%dT%H:%M:%S.%fZ}"
            for symbol in SYMBOLS:
                out.write(f"{symbol},{moment},{180 + numbers.random():.2f},{numbers.lognormvariate(4, 1):.2f}\n")
    return steps * len(SYMBOLS)


def _read(port: int, options: argparse.Namespace) -> dict[str, list[float]]:
    """Return the milliseconds by read."""
    latencies: dict[str, list[float]] = {}
    now = datetime.now(UTC)
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    for turn in range(-WARM_UP, options.rounds):
        for name, path in _paths(SYMBOLS[turn % len(SYMBOLS)], now, options.days):
            start = time.perf_counter()
            status, body = get(connection, path)
            took = (time.perf_counter() - start) * 1000
            assert status == 200, body
            if turn >= 0:
                latencies.setdefault(name, []).append(took)
    return latencies


def _paths(symbol: str, now: datetime, days: int) -> Iterator[tuple[str, str]]:
    since = now - timedelta(seconds=random.randrange(32 * 86_400, days * 86_400))

    def history(path: str, length: timedelta, **more: object) -> str:
        start = now - length if length.days > 300 else since
        end = start + length
        query = {"symbol": symbol, "start": start.isoformat(), "end": end.isoformat()} | more
        return f"/{path}?{urlencode(query)}"

    yield "latest price", f"/price/latest?symbol={symbol}"
    yield "five latest prices", f"/prices/latest?symbols={','.join(SYMBOLS)}"
    yield "five snapshots", f"/snapshots?symbols={','.join(SYMBOLS)}"
    yield "a day of `1m` candles", history("candles", timedelta(days=1), interval="1m", limit=1440)
    yield "a month of `1h` candles", history("candles", timedelta(days=30), interval="1h", limit=1000)
    yield "a year of `1d` candles", history("candles", timedelta(days=days), interval="1d", limit=1000)
    yield "a page of 1,000 trades", history("trades", timedelta(days=7), limit=1000)


def _cell(times: list[float]) -> str:
    return ", ".join(f"{each:.1f}" for each in _percentiles(times))


def _percentiles(times: list[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return cuts[49], cuts[98]


if __name__ == "__main__":
    main()
