"""The feed's random walk: seed and clock in, trades out. No I/O.

Steps are normally distributed. The standard deviation is the symbol's annualised volatility, scaled by the square root of
the step's share of a year of 365 days, because the feed never closes. A step of more than ±2% is drawn again, so that no
price jumps.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from random import Random
from typing import NamedTuple

YEAR_SECONDS = 365 * 24 * 3600
MAX_STEP = 0.02
MIN_CENTS = 100
VOLUME_MEDIAN = 80.0
VOLUME_SIGMA = 1.1


@dataclass(frozen=True)
class Listing:
    """A symbol of the feed, in standard Python types: `market-data --help` prints the symbols without loading msgspec."""

    symbol: str
    name: str
    first_cents: int
    volatility: float
    """Annualised: 0.3 is 30%."""


LISTINGS = (
    Listing("AAPL", "Apple Inc.", 270_00, 0.28),
    Listing("GOOGL", "Alphabet Inc. Class A", 285_00, 0.31),
    Listing("MSFT", "Microsoft Corporation", 505_00, 0.25),
    Listing("TSLA", "Tesla, Inc.", 430_00, 0.58),
    Listing("AMZN", "Amazon.com, Inc.", 245_00, 0.33),
)
"""The feed's symbols. One added here appears at the next start."""


class FeedTrade(NamedTuple):
    """A trade of the feed, with the columns of `trades` in the order that `store_feed_trades` binds them."""

    time: datetime
    symbol: str
    trade_id: int
    price: Decimal
    volume: Decimal


class RandomWalk:
    """Random walk of every listing, from its first price or the price that `resume` sets."""

    def __init__(self, listings: tuple[Listing, ...], *, step_seconds: float, seed: int | None = None) -> None:
        self._listings = listings
        self._share_of_year = step_seconds / YEAR_SECONDS
        self._random = Random(seed)
        self._cents: dict[str, float] = {listing.symbol: listing.first_cents for listing in listings}

    def resume(self, last_prices: Mapping[str, Decimal]) -> None:
        """Continue from last prices, by symbol; other symbols keep their price."""
        self._cents.update({symbol: float(price * 100) for symbol, price in last_prices.items()})

    def tick(self, now: datetime) -> Iterator[FeedTrade]:
        """Yield one trade a symbol, all at a timezone-aware time."""
        for listing in self._listings:
            cents = self._step(self._cents[listing.symbol], listing.volatility)
            self._cents[listing.symbol] = cents
            yield FeedTrade(now, listing.symbol, 0, Decimal(cents).scaleb(-2), self._volume())

    def _step(self, cents: float, volatility: float) -> int:
        """Return the next price in cents, at most 2% away and at least 1.00.

        It is rounded up or down at random, weighted by distance: rounded to the nearest cent, a cheap symbol with small
        steps would never move.
        """
        deviation = volatility * math.sqrt(self._share_of_year)
        step = self._random.gauss(0, deviation)
        while abs(step) > MAX_STEP:
            step = self._random.gauss(0, deviation)
        moved = math.floor(cents * (1 + step) + self._random.random())
        lowest, highest = math.ceil(cents * (1 - MAX_STEP)), math.floor(cents * (1 + MAX_STEP))
        return max(min(moved, highest), lowest, MIN_CENTS)

    def _volume(self) -> Decimal:
        """Return a log-normal volume with two decimals, at least 0.01."""
        volume = self._random.lognormvariate(math.log(VOLUME_MEDIAN), VOLUME_SIGMA)
        return max(Decimal(round(volume * 100)), Decimal(1)).scaleb(-2)
