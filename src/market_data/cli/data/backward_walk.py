"""A random walk backward in time, and its trades as binary COPY data. No I/O.

The walk is in the logarithm of the price, in floating point, so that its volatility is that of the listing at any rate. The
prices of trades are rounded to cents, up or down at random in proportion to the fraction; rounding does not feed back into
the walk. The walk is reflected at 1.00.
"""

import math
from collections.abc import Iterable
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from market_data.feed.random_walk import MIN_CENTS, VOLUME_MEDIAN, VOLUME_SIGMA, YEAR_SECONDS, Listing

MAX_CENTS = 10**10 - 1
"""Largest number in three digits of base 10,000, two before and one after the decimal point."""

MIN_LOG = math.log(MIN_CENTS)

POSTGRES_EPOCH = 946_684_800_000_000
"""2000-01-01 in microseconds since 1970."""

SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"

INTEGER, SHORT = ">i4", ">i2"
NUMERIC: list[tuple[Any, ...]] = [
    ("length", INTEGER), ("digits", SHORT), ("weight", SHORT), ("sign", SHORT), ("scale", SHORT), ("digit", SHORT, (3,)),
]  # fmt: skip

Array = NDArray[Any]


class BackwardWalk:
    """Trades of one symbol, one step apart, before an existing trade.

    Times are microseconds since 1970, steps are microseconds.
    """

    def __init__(self, listing: Listing, step: int, *, time: int, cents: float, seed: int) -> None:
        self._symbol = listing.symbol.encode()
        self.step = step
        self._deviation = listing.volatility * math.sqrt(step / 1e6 / YEAR_SECONDS)
        self._log = math.log(min(max(cents, MIN_CENTS), MAX_CENTS))
        self._seed = (seed, crc32(self._symbol))
        self.time = time
        """Time of the earliest trade so far."""

    def steps_to(self, since: int) -> int:
        """Return the number of trades from `since` (inclusive) to the earliest so far."""
        return max(0, (self.time - since) // self.step)

    def back_to(self, since: int) -> tuple[Array, Array, Array]:
        """Walk back to `since`. Returns times, prices and volumes (in hundredths) of the new trades, the newest first.

        The random numbers depend only on the seed, the symbol and `since`.
        """
        count = self.steps_to(since)
        random = np.random.default_rng([*self._seed, since % 2**64])
        times = self.time - self.step * np.arange(1, count + 1, dtype=np.int64)
        logs = self._log + np.cumsum(random.standard_normal(count) * self._deviation)
        logs -= np.minimum(np.minimum.accumulate(logs - MIN_LOG), 0)
        cents = np.floor(np.exp(logs) + random.random(count)).astype(np.int64).clip(MIN_CENTS, MAX_CENTS)
        volumes = np.rint(np.exp(math.log(VOLUME_MEDIAN * 100) + VOLUME_SIGMA * random.standard_normal(count)))
        if count:
            self.time, self._log = int(times[-1]), float(logs[-1])
        return times, cents, volumes.astype(np.int64).clip(1, MAX_CENTS)

    def copy_rows(self, since: int) -> bytes:
        """Walk back to `since`. Returns rows of `COPY trades (time, symbol, price, volume) FROM STDIN (FORMAT binary)`."""
        times, cents, volumes = self.back_to(since)
        rows = np.full(len(times), self._row())
        rows["time"] = times - POSTGRES_EPOCH
        for name, hundredths in (("price", cents), ("volume", volumes)):
            whole, fraction = np.divmod(hundredths, 100)
            digit = rows[name]["digit"]
            digit[:, 0], digit[:, 1] = np.divmod(whole, 10_000)
            digit[:, 2] = fraction * 100
        return rows.tobytes()

    def _row(self) -> Any:
        """Return a row with the values that all rows share."""
        length = len(self._symbol)
        kind = np.dtype([
            ("fields", SHORT), ("time_length", INTEGER), ("time", ">i8"), ("symbol_length", INTEGER),
            ("symbol", f"S{length}"), ("price", NUMERIC), ("volume", NUMERIC),
        ])  # fmt: skip
        number = (14, 3, 1, 0, 2, (0, 0, 0))
        return np.array((4, 8, 0, length, self._symbol, number, number), kind)


def copy_data(walks: Iterable[BackwardWalk], since: int) -> bytes:
    """Walk back to `since`. Returns the trades of all walks as complete COPY data."""
    return b"".join((SIGNATURE, *(walk.copy_rows(since) for walk in walks), TRAILER))
