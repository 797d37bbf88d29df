"""Measure reads as of a version beside the plain reads: `uv run python tests/benchmarks/past.py`.

On the server in TEST_DATABASE_URL (a superuser's DSN), else on the embedded engine: a year of trades of a symbol, one a
minute, stored week by week; then late, corrected and cancelled trades all over the year. Each read is repeated as of

- the newest version, of which nothing has changed,
- the version before the late and changed trades, and
- the version in the middle of the year, after which half of the trades were stored.

They take turns in short rounds. Figures are medians; ratios are to the plain read of the same round, in brackets the lowest
and the highest.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial

import psycopg
from filled import new_database

from market_data.database import migrations
from market_data.queries.candles import CandleRange, read_candles
from market_data.queries.latest_prices import read_latest_prices
from market_data.queries.past import AsOf, read_as_of
from market_data.queries.trades import TradeRange, read_trades

WEEKS = 52
BEGINNING = datetime(2025, 2, 3, tzinfo=UTC)
END = BEGINNING + timedelta(weeks=WEEKS)
DAY = END - timedelta(days=180)

STORE = """
    INSERT INTO trades (time, symbol, trade_id, price, volume)
    SELECT time, 'AAPL', 0, round((180 + random())::numeric, 2), 1
    FROM generate_series(%s, %s::timestamptz - INTERVAL '1 s', INTERVAL '1 minute') AS time
"""
LATE = """
    INSERT INTO trades (time, symbol, trade_id, price, volume)
    SELECT time, 'AAPL', 1, 181, 1 FROM generate_series(%s, %s::timestamptz, INTERVAL '7 hours 13 minutes') AS time
"""
CHANGES = (
    "UPDATE trades SET price = price + 1 WHERE trade_id = 0 AND extract(epoch FROM time)::bigint / 60 % 1009 = 0",
    "DELETE FROM trades WHERE trade_id = 0 AND extract(epoch FROM time)::bigint / 60 % 1511 = 0",
)

Read = Callable[[psycopg.AsyncConnection, AsOf | None], Awaitable[object]]


def _fill(database_url: str) -> dict[str, int]:
    """Fill an empty database, and return the versions to read."""
    migrations.upgrade(database_url)
    with psycopg.connect(database_url, autocommit=True) as connection:

        def version() -> int:
            ((newest,),) = connection.execute("SELECT newest_version()").fetchall()
            return newest

        connection.execute("SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs")
        connection.execute("INSERT INTO symbols (symbol, name) VALUES ('AAPL', 'Apple Inc.')")
        middle = 0
        for week in range(WEEKS):
            start = BEGINNING + timedelta(weeks=week)
            connection.execute(STORE, (start, start + timedelta(weeks=1)))
            middle = version() if week == WEEKS // 2 else middle
        unchanged = version()
        connection.execute(LATE, (BEGINNING, END))
        for change in CHANGES:
            connection.execute(change)
        connection.execute("CALL refresh_candles()")
        connection.execute("VACUUM ANALYZE")
        return {"newest": version(), "before the changes": unchanged, "middle of the year": middle}


async def _candles(connection: psycopg.AsyncConnection, as_of: AsOf | None, interval: str, start: datetime) -> object:
    end = END if interval == "1d" else start + timedelta(days=1)
    return await read_candles(connection, CandleRange("AAPL", interval, start, end, as_of=as_of), 10_000)


async def _trades(connection: psycopg.AsyncConnection, as_of: AsOf | None) -> object:
    return await read_trades(connection, TradeRange("AAPL", DAY, DAY + timedelta(days=1), as_of=as_of), 1000)


async def _latest(connection: psycopg.AsyncConnection, as_of: AsOf | None) -> object:
    return await read_latest_prices(connection, ("AAPL",), as_of)


CASES: Mapping[str, Read] = {
    "a day of 1m candles": partial(_candles, interval="1m", start=DAY),
    "a year of 1d candles": partial(_candles, interval="1d", start=BEGINNING),
    "1,000 trades": _trades,
    "latest price": _latest,
}


async def _measure(database_url: str, versions: Mapping[str, int], rounds: int) -> None:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        moments: dict[str, AsOf | None] = {"plain": None}
        for name, version in versions.items():
            moments[name] = await read_as_of(connection, version, END)
        print(f"{'':22}{'plain ms':>10}" + "".join(f"{name:>32}" for name in versions))
        for name, read in CASES.items():
            seconds: dict[str, list[float]] = {moment: [] for moment in moments}
            for _ in range(rounds + 3):
                for moment, as_of in moments.items():
                    begun = time.perf_counter()
                    await read(connection, as_of)
                    seconds[moment].append(time.perf_counter() - begun)
            plain = seconds.pop("plain")[3:]
            cells = [
                f"{statistics.median(ratios):.1f} [{min(ratios):.1f}-{max(ratios):.1f}]"
                for each in seconds.values()
                for ratios in [[past / now for past, now in zip(each[3:], plain, strict=True)]]
            ]
            print(f"{name:22}{statistics.median(plain) * 1e3:10.2f}" + "".join(f"{cell:>32}" for cell in cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure reads as of a version beside the plain reads.")
    parser.add_argument("--rounds", type=int, default=25, help="rounds (default: %(default)s)")
    options = parser.parse_args()
    with new_database() as database_url:
        print("filling a database …", flush=True)
        asyncio.run(_measure(database_url, _fill(database_url), options.rounds))


if __name__ == "__main__":
    main()
