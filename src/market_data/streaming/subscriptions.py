"""What a client listens to."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from market_data.queries.intervals import INTERVALS

CHANNELS: Mapping[str, str | None] = {"trades": None, **{f"candles_{interval}": interval for interval in INTERVALS}}
"""The channels, and the interval of each that tells of candles."""

Symbols = frozenset[str] | None
"""Some symbols, or None for all: those too that are yet to come."""


@dataclass(frozen=True)
class Subscription:
    """Channels, each with the symbols that are wanted of it."""

    items: frozenset[tuple[str, Symbols]] = frozenset()

    @classmethod
    def to(cls, channels: Iterable[str], symbols: Symbols) -> Self:
        """The same symbols of some channels."""
        return cls(frozenset((channel, symbols) for channel in channels))

    @cached_property
    def channels(self) -> Mapping[str, Symbols]:
        """The symbols by channel."""
        return dict(self.items)

    @property
    def symbols(self) -> Symbols:
        """The symbols that are wanted of any channel."""
        wanted: set[str] = set()
        for symbols in self.channels.values():
            if symbols is None:
                return None
            wanted |= symbols
        return frozenset(wanted)

    @cached_property
    def candles(self) -> bool:
        """Whether any candles are wanted."""
        return any(CHANNELS[channel] for channel in self.channels)

    def wants(self, channel: str, symbol: str) -> bool:
        """Whether it has a symbol's events of a channel."""
        if channel not in self.channels:
            return False
        symbols = self.channels[channel]
        return symbols is None or symbol in symbols

    def __or__(self, other: "Subscription") -> "Subscription":
        """What is in one of two."""
        return union([self, other])

    def __sub__(self, other: "Subscription") -> "Subscription":
        """What is not in another one, of which all symbols take away the whole channel.

        Raises:
            ValueError: Some symbols are to be taken away from all.
        """
        left: dict[str, Symbols] = {}
        for channel, mine in self.channels.items():
            gone = other.channels.get(channel, frozenset[str]())
            if gone is None:
                continue
            if mine is None and gone:
                raise ValueError(f"{channel} is subscribed for all symbols; leave symbols out to unsubscribe from all of it")
            if mine is None or mine - gone:
                left[channel] = mine if mine is None else mine - gone
        return Subscription(frozenset(left.items()))


def union(subscriptions: Iterable[Subscription]) -> Subscription:
    """What is in any of them."""
    joined: dict[str, Symbols] = {}
    for subscription in subscriptions:
        for channel, symbols in subscription.items:
            known = joined.get(channel, frozenset[str]())
            joined[channel] = None if known is None or symbols is None else known | symbols
    return Subscription(frozenset(joined.items()))
