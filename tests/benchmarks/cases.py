"""The measured reads, each as an HTTP request and as a call without HTTP."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import cycle
from urllib.parse import urlencode

from filled import DAY, START, SYMBOLS

from market_data.database.pool import Database
from market_data.models import CandleList, LatestPrice, TradeList
from market_data.queries.candles import CandleRange, read_candles
from market_data.queries.latest_prices import read_each_latest_price
from market_data.queries.snapshots import Snapshots, read_snapshots
from market_data.queries.trades import TradeRange, read_trades


@dataclass(frozen=True)
class Case:
    """A measured read."""

    name: str
    paths: list[str]
    """Paths, each requested by an equal number of connections."""
    read: Callable[[Database], Awaitable[object]]
    """The read without HTTP, before encoding."""


def _latest(name: str, symbols: list[str]) -> Case:
    turns = cycle(symbols)

    async def read(database: Database) -> LatestPrice:
        (latest,), _ = await database.read_batched(read_each_latest_price, next(turns))
        return latest

    return Case(name, [f"/price/latest?symbol={symbol}" for symbol in symbols], read)


def _snapshots(symbols: list[str]) -> Case:
    async def read(database: Database) -> Snapshots:
        return await database.read(read_snapshots, tuple(symbols))

    return Case(f"{len(symbols)} snapshots", [f"/snapshots?symbols={','.join(symbols)}"], read)


def _candles(start: datetime, count: int) -> Case:
    end = start + timedelta(minutes=count)

    async def read(database: Database) -> CandleList:
        page = await database.read(read_candles, CandleRange("AAPL", "1m", start, end), count)
        assert page.count == count
        return CandleList("AAPL", "1m", start, end, count, page.rows, None)

    return Case(f"{count:,} candles", [f"/candles?{_query(start, end, count)}&interval=1m"], read)


def _trades(start: datetime, count: int) -> Case:
    end = start + timedelta(days=1)

    async def read(database: Database) -> TradeList:
        page = await database.read(read_trades, TradeRange("AAPL", start, end), count)
        assert page.count == count
        return TradeList("AAPL", start, end, count, count, page.rows, None)

    return Case(f"{count:,} trades", [f"/trades?{_query(start, end, count)}"], read)


def _query(start: datetime, end: datetime, limit: int) -> str:
    return urlencode({"symbol": "AAPL", "start": start.isoformat(), "end": end.isoformat(), "limit": limit})


CASES = [
    _latest("latest price", SYMBOLS[:1]),
    _latest("latest of five", SYMBOLS),
    _candles(DAY, 60),
    _candles(DAY, 1440),
    _trades(DAY, 100),
    _trades(DAY, 1000),
    _candles(START, 10000),
]
"""The last one is the largest response of the service, to measure its memory."""

ALL_CASES = [_snapshots(SYMBOLS), *CASES]
"""With reads that the peers of `compare.py` lack."""
