"""Trades of the growth benchmark: a reproducible history of any length, as arrays.

On the first day, Thursday 2 November 2023, all symbols trade. In the following year, 20 symbols trade from 12:00 to 13:00.
After that, these 20 trade every eight seconds, and each other symbol four times on every third day. So each size has a page
of trades at its oldest end, a year of days and a full day of minutes, and only the time between them grows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import numpy as np
import pyarrow as pa

Array = np.ndarray[Any, Any]

START = datetime(2023, 11, 2, tzinfo=UTC)
"""Time of the first trade, at the start of a chunk."""
DENSE = START + timedelta(days=365)
"""Start of the period in which all symbols trade."""
STEP_SECONDS = 8
LIQUID = 20
BURST = 4
"""Trades a day of an illiquid symbol, on the days on which it trades."""

HOUR = 3_600_000_000
"""Microseconds, the unit of all times in the arrays, which count from 1970."""
POSTGRES_EPOCH = 946_684_800_000_000
YEAR_SECONDS = 365 * 86_400
VOLATILITY = 0.3
BATCH = 250_000

ROW = np.dtype(
    [
        ("fields", ">i2"),
        ("time_size", ">i4"),
        ("time", ">i8"),
        ("symbol_size", ">i4"),
        ("symbol", "S5"),
        ("trade_id_size", ">i4"),
        ("trade_id", ">i8"),
        ("price_size", ">i4"),
        ("price", ">i2", (6,)),
        ("volume_size", ">i4"),
        ("volume", ">i2", (6,)),
    ]
)
"""A row in COPY's binary format. All rows have one size, because all values have the same number of digits."""


@dataclass(frozen=True)
class Trades:
    """Trades ordered by time; symbols are numbers, prices and volumes are in hundredths."""

    time: Array
    symbol: Array
    trade_id: Array
    price: Array
    volume: Array

    def __len__(self) -> int:
        return len(self.time)

    def columns(self) -> tuple[Array, Array, Array, Array, Array]:
        """Return the arrays in the order of the table's columns."""
        return self.time, self.symbol, self.trade_id, self.price, self.volume

    def __getitem__(self, rows: slice | Array) -> "Trades":
        return Trades(*(column[rows] for column in self.columns()))

    def encoded(self, names: Array) -> bytes:
        """Return the data for `COPY … (time, symbol, trade_id, price, volume) FROM STDIN (FORMAT binary)`."""
        rows = np.empty(len(self), ROW)
        rows["fields"] = 5
        for size in ("time_size", "trade_id_size"):
            rows[size] = 8
        rows["time"] = self.time - POSTGRES_EPOCH
        rows["symbol_size"] = 5
        rows["symbol"] = names[self.symbol]
        rows["trade_id"] = self.trade_id
        for name, value in (("price", self.price), ("volume", self.volume)):
            rows[f"{name}_size"] = 12
            rows[name][:, :4] = (2, 0, 0, 2)  # digits of base 10,000; weight of the first; sign; decimals
            rows[name][:, 4] = value // 100
            rows[name][:, 5] = value % 100 * 100
        return b"PGCOPY\n\xff\r\n\0" + bytes(8) + rows.tobytes() + b"\xff\xff"

    def arrow(self, names: Array) -> pa.Table:
        """Return the trades for Parquet: sorted by symbol and time; times have no time zone."""
        rows = self[np.lexsort((self.time, self.symbol))]
        dictionary = pa.array([name.decode() for name in names])
        return pa.table(
            {
                "time": pa.array(rows.time).cast(pa.timestamp("us")),
                "symbol": pa.DictionaryArray.from_arrays(pa.array(rows.symbol.astype(np.int32)), dictionary),
                "trade_id": pa.array(rows.trade_id),
                "price": _decimals(rows.price),
                "volume": _decimals(rows.volume),
            }
        )


def joined(parts: list[Trades]) -> Trades:
    """Concatenate trades."""
    return Trades(*(np.concatenate(columns) for columns in zip(*(part.columns() for part in parts), strict=True)))


def _decimals(hundredths: Array) -> pa.Array:
    halves = np.zeros((len(hundredths), 2), np.int64)  # a decimal has 16 bytes, little-endian
    halves[:, 0] = hundredths
    return pa.Array.from_buffers(pa.decimal128(12, 2), len(hundredths), [None, pa.py_buffer(halves.tobytes())])


class History:
    """Generator of trades from START on."""

    def __init__(self, symbols: int) -> None:
        self.liquid = min(LIQUID, symbols)
        self.names = np.array([f"L{i:04}" if i < self.liquid else f"S{i:04}" for i in range(symbols)], "S5")
        self._random = np.random.default_rng(20231102)
        self._level = self._random.uniform(np.log(20), np.log(900), symbols)
        self._known = np.zeros(symbols, np.int64)
        self._days = self._generate()
        self._rest: Trades | None = None

    def take(self, number: int) -> Iterator[Trades]:
        """Yield the next trades in batches, `number` trades in total."""
        while number > 0:
            day = self._rest or next(self._days)
            part, rest = day[: min(number, BATCH)], day[min(number, BATCH) :]
            self._rest = rest if len(rest) else None
            number -= len(part)
            yield part

    def _generate(self) -> Iterator[Trades]:
        first = int(START.timestamp()) * 1_000_000
        illiquid = np.arange(self.liquid, len(self.names))
        yield self._dense_day(first, illiquid)
        for day in range(1, 365, 28):
            noons = [first + (each * 24 + 12) * HOUR for each in range(day, min(day + 28, 365))]
            yield joined([self._steps(noon, 24, 150) for noon in noons])
        for day in count(365):
            yield self._dense_day(first + day * 24 * HOUR, illiquid[day % 3 :: 3])

    def _dense_day(self, start: int, others: Array, seconds: int = STEP_SECONDS) -> Trades:
        parts = [self._steps(start, 86_400 // seconds, seconds), self._bursts(start, others)]
        trades = joined(parts)
        return trades[np.argsort(trades.time, kind="stable")]

    def _steps(self, start: int, steps: int, seconds: int) -> Trades:
        """Return a trade of each liquid symbol in each step, at a random millisecond."""
        liquid = np.arange(self.liquid)
        times = start + np.arange(steps)[:, None] * seconds * 1_000_000
        times = times + self._random.integers(0, seconds * 1000, (steps, self.liquid)) * 1000
        moves = self._random.normal(0, VOLATILITY * np.sqrt(seconds / YEAR_SECONDS), (steps, self.liquid))
        levels = self._level[liquid] + np.cumsum(moves, axis=0)
        self._level[liquid] = levels[-1]
        trades = self._trades(times, np.broadcast_to(liquid, times.shape), levels, np.arange(steps)[:, None])
        self._known[liquid] += steps
        return trades[np.argsort(trades.time, kind="stable")]

    def _bursts(self, start: int, others: Array) -> Trades:
        """Return BURST trades of each of these symbols, five seconds apart."""
        times = start + self._random.integers(0, 86_340_000, len(others)) * 1000
        times = times[:, None] + np.arange(BURST) * 5_000_000
        self._level[others] += self._random.normal(0, 0.02, len(others))
        levels = self._level[others][:, None] + self._random.normal(0, 0.001, times.shape)
        trades = self._trades(times, np.broadcast_to(others[:, None], times.shape), levels, np.arange(BURST))
        self._known[others] += BURST
        return trades

    def _trades(self, times: Array, symbols: Array, levels: Array, numbers: Array) -> Trades:
        """Return trades with volumes like those of the feed, and trade ids that count per symbol."""
        return Trades(
            times.ravel(),
            symbols.ravel(),
            (self._known[symbols] + numbers + 1).ravel(),
            np.clip(np.rint(np.exp(levels) * 100), 100, 999_999).astype(np.int64).ravel(),
            np.clip(np.rint(self._random.lognormal(np.log(8000), 1.1, times.shape)), 1, 999_999).astype(np.int64).ravel(),
        )
