"""Compare imports over several connections: `uv run python tests/benchmarks/import_jobs.py`.

On the server in TEST_DATABASE_URL (a superuser's DSN). A file with trades of many symbols in random order, and one with
trades of one symbol, are stored with 1, 2 and 4 jobs in turns, each time into an empty table, and no candles are refreshed.
Figures are medians; ratios are to one job in the same round, in brackets the lowest and the highest.
"""

import argparse
import asyncio
import os
import random
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from filled import new_database

from market_data.cli.data.trade_batches import Batch, validated_batches
from market_data.cli.data.trade_files import open_source
from market_data.cli.data.trade_writers import Outcome, opened, store_batches
from market_data.database import migrations

JOBS = (1, 2, 4)
BEGINNING = datetime(2026, 1, 5, tzinfo=UTC)

EMPTY = "TRUNCATE trades; TRUNCATE stale_ranges, stream_late_candles"
PAUSE = "SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs"


def write_file(path: Path, rows: int, symbols: int) -> None:
    chosen = random.Random(symbols)
    with path.open("w") as file:
        file.write("symbol,timestamp,trade_id,price,volume\n")
        for number in range(rows):
            at = (BEGINNING + timedelta(seconds=number * 0.4)).isoformat()
            file.write(
                f"S{chosen.randrange(symbols)},{at},0,{chosen.randint(10_000, 20_000) / 100},{chosen.randint(1, 500)}\n"
            )


async def store(url: str, path: Path, jobs: int) -> float:
    """Return the rows stored per second."""
    stored = 0

    def record(_: Batch, outcome: Outcome, __: float) -> None:
        nonlocal stored
        stored += outcome.stored

    async with opened(url, jobs) as connections:
        with open_source(str(path), None) as source:
            start = time.perf_counter()
            await store_batches(connections, validated_batches(source, len(connections)), 60, record)
            return stored / (time.perf_counter() - start)


def compare(url: str, path: Path, rounds: int) -> None:
    rates: dict[int, list[float]] = {jobs: [] for jobs in JOBS}
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(PAUSE)
        for number in range(rounds):
            for jobs in JOBS if number % 2 else reversed(JOBS):
                connection.execute(EMPTY)
                rates[jobs].append(asyncio.run(store(url, path, jobs)))
    for jobs, found in rates.items():
        ratios = sorted(rate / one for rate, one in zip(found, rates[1], strict=True))
        print(
            f"{path.stem}, {jobs} jobs: {statistics.median(found):,.0f} rows a second, "
            f"{statistics.median(ratios):.2f} [{ratios[0]:.2f}-{ratios[-1]:.2f}]"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if "TEST_DATABASE_URL" not in os.environ:
        parser.error("set TEST_DATABASE_URL: the embedded engine has one connection")
    with tempfile.TemporaryDirectory() as folder, new_database() as url:
        migrations.upgrade(url)
        for symbols in (5_000, 1):
            path = Path(folder, f"{symbols}_symbols.csv")
            write_file(path, options.rows, symbols)
            compare(url, path, options.rounds)


if __name__ == "__main__":
    main()
