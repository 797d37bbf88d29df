"""Measure what the transparency log and the audit cost writers and readers: `uv run python tests/benchmarks/log.py`.

On the server in TEST_DATABASE_URL (a superuser's DSN), else on the embedded engine. Clients write commits of 20 trades, or
read the latest price, as fast as they can or at a rate: in rounds with the task of the log or of the audit in the same event
loop, as in a service, and without it. Rounds take turns; before each, all commits are logged. A ratio is that of the mean
times of an operation without and with the task in two neighbouring rounds, in brackets the quartiles. Then the time in which
a commit of many trades becomes an entry.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from filled import new_database

from market_data.database import migrations
from market_data.queries.latest_prices import read_each_latest_price
from market_data.settings import Settings
from market_data.transparency.auditor import Auditor
from market_data.transparency.writer import LogWriter

CLIENTS = 2
SYMBOLS = [f"S{number}" for number in range(20)]
STORE = """
    INSERT INTO trades (symbol, time, trade_id, price, volume)
    SELECT symbol, clock_timestamp(), %s, 100, 1 FROM unnest(%s::text[]) AS symbol
"""
BULK = """
    INSERT INTO trades (symbol, time, trade_id, price, volume)
    SELECT 'S' || number %% 20, now() - number * INTERVAL '1 second', number, 100 + number %% 7, 1
    FROM generate_series(1, %s) AS number
"""

Operation = Callable[[psycopg.AsyncConnection, int], Awaitable[object]]
Run = Callable[[], Coroutine[Any, Any, None]]


class Load(NamedTuple):
    """Pairs of rounds, their length, and the operations a second of each client; 0 for as many as it can."""

    rounds: int
    seconds: float
    rate: float


async def _write(connection: psycopg.AsyncConnection, number: int) -> object:
    return await connection.execute(STORE, (number, SYMBOLS))


async def _read(connection: psycopg.AsyncConnection, _: int) -> object:
    return await read_each_latest_price(connection, ["S1"])


async def _client(database_url: str, operation: Operation, load: Load, until: float, times: list[float]) -> None:
    """Add the time of each operation."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        while (begun := time.monotonic()) < until:
            await operation(connection, time.monotonic_ns())
            times.append(time.monotonic() - begun)
            if load.rate:
                await asyncio.sleep(max(0, begun + 1 / load.rate - time.monotonic()))


async def _background(database_url: str, until: float) -> None:
    """Commit five times a second, so that readers are measured beside a log that has work."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        while time.monotonic() < until:
            await _write(connection, time.monotonic_ns())
            await asyncio.sleep(0.2)


async def _round(database_url: str, writer: LogWriter, operation: Operation, load: Load, run: Run | None = None) -> float:
    """Return the mean time of an operation while a task runs."""
    await writer.write(candles=True)
    task = asyncio.create_task(run()) if run else None
    until = time.monotonic() + load.seconds
    times: list[float] = []
    clients = [_client(database_url, operation, load, until, times) for _ in range(CLIENTS)]
    if operation is _read:
        clients.append(_background(database_url, until))
    await asyncio.gather(*clients)
    if task:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    return statistics.mean(times)


async def _measure(database_url: str, load: Load, trades: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(database_url=database_url, log_key_file=str(Path(folder, "key")))
        writer = LogWriter(database_url, settings)
        tasks: dict[str, Run] = {"the log": writer.run, "the audit": Auditor(database_url, settings).run}
        for name, operation in (("a commit of 20 trades", _write), ("a latest price", _read)):
            for task, run in tasks.items():
                plain: list[float] = []
                ratios: list[float] = []
                for _ in range(load.rounds):
                    plain.append(await _round(database_url, writer, operation, load))
                    ratios.append(plain[-1] / await _round(database_url, writer, operation, load, run))
                low, middle, high = statistics.quantiles(ratios)
                alone = f"{name:24}{1e3 * statistics.median(plain):8.2f} ms"
                print(f"{alone}, ÷ that with {task:10}{middle:.3f} [{low:.3f}-{high:.3f}]")
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
            await connection.execute(BULK, (trades,))
        begun = time.monotonic()
        await writer.write(candles=False)
        taken = time.monotonic() - begun
        print(f"a commit of {trades:,} trades: {taken:.1f} s until it is logged, {trades / taken:,.0f} trades a second")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the cost of the transparency log and of the audit.")
    parser.add_argument("--rounds", type=int, default=10, help="pairs of rounds (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=12, help="length of a round (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=0, help="operations a second of a client (default: as many as it can)")
    parser.add_argument("--trades", type=int, default=1_000_000, help="trades of the large commit (default: %(default)s)")
    options = parser.parse_args()
    with new_database() as database_url:
        migrations.upgrade(database_url)
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("INSERT INTO symbols (symbol, name) SELECT s, s FROM unnest(%s::text[]) AS s", (SYMBOLS,))
        asyncio.run(_measure(database_url, Load(options.rounds, options.seconds, options.rate), options.trades))


if __name__ == "__main__":
    main()
