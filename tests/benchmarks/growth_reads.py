"""Timed reads of the growth benchmark: statements of the service, over a connection like those of its pool."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import Any

from growth_history import START

from market_data.api.http.handlers import encode
from market_data.database.connection import Connection, connect
from market_data.queries.candles import CandleRange, read_candles
from market_data.queries.latest_prices import read_each_latest_price, read_latest_prices
from market_data.queries.trades import TradeRange, read_trades

DAY = timedelta(days=1)
WARM_UP = 6
"""Untimed rounds: PostgreSQL chooses between custom and generic plans after five executions."""
PAGE = 100
DEEP = START + timedelta(hours=12)
"""Start of the deep page, which goes back in time: on the first day, which each size has."""


@dataclass(frozen=True)
class Places:
    """Time ranges of the reads of a table, relative to its newest trade."""

    newest: datetime

    @property
    def beyond(self) -> datetime:
        """End of a range that contains all trades."""
        return self.newest + timedelta(microseconds=1)

    @property
    def midnight(self) -> datetime:
        """End of the last full day."""
        return self.newest.replace(hour=0, minute=0, second=0, microsecond=0)

    @staticmethod
    def of(microseconds: int) -> "Places":
        """Return the ranges for a newest trade at this time, in microseconds from 1970."""
        return Places(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds))


Call = Callable[[Connection, str, Places], Awaitable[object]]


async def _latest(connection: Connection, symbol: str, _: Places) -> bytes:
    return encode((await read_each_latest_price(connection, [symbol]))[symbol].prices)


async def _all_latest(connection: Connection, _: str, __: Places) -> bytes:
    return encode((await read_latest_prices(connection, None)).prices)


async def _minutes(connection: Connection, symbol: str, at: Places) -> str:
    return await _candles(connection, symbol, "1m", at.midnight - DAY, at.midnight)


async def _days(connection: Connection, symbol: str, at: Places) -> str:
    return await _candles(connection, symbol, "1d", at.midnight - 365 * DAY, at.midnight)


async def _candles(connection: Connection, symbol: str, interval: str, start: datetime, end: datetime) -> str:
    page = await read_candles(connection, CandleRange(symbol, interval, start, end), 10_000)
    return f"[{page.rows}]"


async def _first_page(connection: Connection, symbol: str, at: Places) -> str:
    return f"[{(await read_trades(connection, TradeRange(symbol, START, at.beyond), PAGE)).rows}]"


async def _deep_page(connection: Connection, symbol: str, at: Places) -> str:
    return f"[{(await read_trades(connection, TradeRange(symbol, START, at.beyond), PAGE, (DEEP, 0))).rows}]"


# Constant work without a table: its changes show changes of the machine.
NOTHING = "SELECT string_agg(sqrt(i)::text, ',') FROM generate_series(1, 2000) AS i"


async def _nothing(connection: Connection, _: str, __: Places) -> object:
    cursor = await connection.execute(NOTHING, prepare=True)
    return await cursor.fetchall()


READS: Mapping[str, Call] = {
    "latest price of one symbol": _latest,
    "latest prices of all symbols": _all_latest,
    "a day of 1m candles": _minutes,
    "a year of 1d candles": _days,
    "first page of trades": _first_page,
    "page at the oldest end": _deep_page,
}
DRIFT = "no table at all"


def time_reads(database_url: str, symbols: Sequence[str], at: Places, rounds: int) -> dict[str, float]:
    """Return the median milliseconds by read; the reads take turns, and each round has another symbol."""
    return asyncio.run(_time_reads(database_url, symbols, at, rounds))


async def _time_reads(database_url: str, symbols: Sequence[str], at: Places, rounds: int) -> dict[str, float]:
    calls = {**READS, DRIFT: _nothing}
    figures: dict[str, list[float]] = {name: [] for name in calls}
    turns = cycle(symbols)
    async with await connect(database_url, 600) as connection:
        for turn in range(WARM_UP + rounds):
            symbol = next(turns)
            for name, call in calls.items():
                start = time.perf_counter()
                await call(connection, symbol, at)
                if turn >= WARM_UP:
                    figures[name].append((time.perf_counter() - start) * 1000)
    return {name: statistics.median(times) for name, times in figures.items()}


def answers(database_url: str, symbol: str, at: Places) -> dict[str, Any]:
    """Return the JSON of the service by read."""

    async def read() -> dict[str, Any]:
        async with await connect(database_url, 600) as connection:
            return {name: await call(connection, symbol, at) for name, call in READS.items()}

    return asyncio.run(read())
