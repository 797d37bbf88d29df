"""Measure the cost of the transparency log for writers and readers: `uv run python tests/benchmarks/log.py`.

On the server in TEST_DATABASE_URL (a superuser's DSN), else on the embedded engine. Clients write commits of 20 trades, or
read the latest price, as fast as they can: in rounds with the log task in the same event loop, as in a service, and without
it. Rounds take turns; before each, all commits are logged. A ratio is that of the operations of two neighbouring rounds, in
brackets the quartiles. Then the time in which a commit of many trades becomes an entry.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import psycopg
from filled import new_database

from market_data.database import migrations
from market_data.queries.latest_prices import read_latest_price
from market_data.settings import Settings
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


async def _write(connection: psycopg.AsyncConnection, number: int) -> object:
    return await connection.execute(STORE, (number, SYMBOLS))


async def _read(connection: psycopg.AsyncConnection, _: int) -> object:
    return await read_latest_price(connection, "S1")


async def _client(database_url: str, operation: Operation, until: float, counts: list[int]) -> None:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        count = 0
        while time.monotonic() < until:
            await operation(connection, time.monotonic_ns())
            count += 1
        counts.append(count)


async def _background(database_url: str, until: float) -> None:
    """Commit five times a second, so that readers are measured beside a log that has work."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        while time.monotonic() < until:
            await _write(connection, time.monotonic_ns())
            await asyncio.sleep(0.2)


async def _round(database_url: str, writer: LogWriter, operation: Operation, seconds: float, *, logged: bool) -> float:
    await writer.write(candles=True)
    task = asyncio.create_task(writer.run()) if logged else None
    until = time.monotonic() + seconds
    counts: list[int] = []
    clients = [_client(database_url, operation, until, counts) for _ in range(CLIENTS)]
    if operation is _read:
        clients.append(_background(database_url, until))
    await asyncio.gather(*clients)
    if task:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    return sum(counts) / seconds


async def _measure(database_url: str, rounds: int, seconds: float, trades: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(database_url=database_url, log_key_file=str(Path(folder, "key")))
        writer = LogWriter(database_url, settings)
        for name, operation in (("commits of 20 trades", _write), ("latest prices", _read)):
            plain: list[float] = []
            ratios: list[float] = []
            for _ in range(rounds):
                without = await _round(database_url, writer, operation, seconds, logged=False)
                plain.append(without)
                ratios.append(await _round(database_url, writer, operation, seconds, logged=True) / without)
            low, middle, high = statistics.quantiles(ratios)
            print(f"{name:24}{statistics.median(plain):10,.0f} a second, with the log {middle:.3f} [{low:.3f}-{high:.3f}]")
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
            await connection.execute(BULK, (trades,))
        begun = time.monotonic()
        await writer.write(candles=False)
        taken = time.monotonic() - begun
        print(f"a commit of {trades:,} trades: {taken:.1f} s until it is logged, {trades / taken:,.0f} trades a second")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the cost of the transparency log.")
    parser.add_argument("--rounds", type=int, default=10, help="pairs of rounds (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=12, help="length of a round (default: %(default)s)")
    parser.add_argument("--trades", type=int, default=1_000_000, help="trades of the large commit (default: %(default)s)")
    options = parser.parse_args()
    with new_database() as database_url:
        migrations.upgrade(database_url)
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("INSERT INTO symbols (symbol, name) SELECT s, s FROM unnest(%s::text[]) AS s", (SYMBOLS,))
        asyncio.run(_measure(database_url, options.rounds, options.seconds, options.trades))


if __name__ == "__main__":
    main()
