"""Channels and symbols that a client subscribes to."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

from market_data.queries.candles import SessionKind
from market_data.queries.intervals import INTERVALS

REVISIONS: Final = "revisions"
CHANNELS: Final = ("trades", *(f"candles_{interval}" for interval in INTERVALS), REVISIONS)

Symbols = frozenset[str] | None
"""Symbols, or None for all, including future ones."""

SESSION_MARK: Final = ":"
"""Between the name of a channel and the sessions that it is limited to, as in `candles_1h:regular`."""


def channel_of_session(channel: str, session: SessionKind) -> str:
    """Return the channel with only the trades and candles of sessions."""
    return channel if session == "all" else f"{channel}{SESSION_MARK}{session}"


@dataclass(frozen=True)
class Subscription:
    """Channels, each with its symbols."""

    items: frozenset[tuple[str, Symbols]] = frozenset()

    @classmethod
    def to(cls, channels: Iterable[str], symbols: Symbols, session: SessionKind = "all") -> Self:
        """Return a subscription to the same symbols of some channels."""
        return cls(frozenset((channel_of_session(channel, session), symbols) for channel in channels))

    def within(self, session: SessionKind) -> "Subscription":
        """Return the part of a kind of sessions, by the plain names of its channels."""
        parts = [(*channel.partition(SESSION_MARK), some) for channel, some in self.items]
        return Subscription(frozenset((name, some) for name, _, kind, some in parts if (kind or "all") == session))

    @cached_property
    def channels(self) -> Mapping[str, Symbols]:
        """Symbols by channel."""
        return dict(self.items)

    @property
    def symbols(self) -> Symbols:
        """Symbols of all channels together."""
        wanted: set[str] = set()
        for symbols in self.channels.values():
            if symbols is None:
                return None
            wanted |= symbols
        return frozenset(wanted)

    @cached_property
    def candles(self) -> bool:
        """True if it contains a channel of candles, revisions or sessions: they are read after the trades."""
        return any(channel != "trades" for channel in self.channels)

    def includes(self, channel: str | None, symbol: str) -> bool:
        """True if it contains a symbol of a channel, or with None of any channel."""
        if channel is None:
            return any(self.includes(each, symbol) for each in self.channels)
        if channel not in self.channels:
            return False
        symbols = self.channels[channel]
        return symbols is None or symbol in symbols

    def renamed(self, rename: Callable[[str], str]) -> "Subscription":
        """Return the subscription with other names of its symbols."""
        return Subscription(frozenset((channel, some and frozenset(map(rename, some))) for channel, some in self.items))

    def __or__(self, other: "Subscription") -> "Subscription":
        """Return the union of two subscriptions."""
        return union([self, other])

    def __sub__(self, other: "Subscription") -> "Subscription":
        """Return the subscription without another one; all symbols in the other one remove the whole channel.

        Raises:
            ValueError: The other one removes some symbols from all.
        """
        left: dict[str, Symbols] = {}
        for channel, mine in self.channels.items():
            removed = other.channels.get(channel, frozenset[str]())
            if removed is None:
                continue
            if mine is None and removed:
                name = channel.partition(SESSION_MARK)[0]
                raise ValueError(f"{name} is subscribed for all symbols; leave symbols out to unsubscribe from all of it")
            if mine is None or mine - removed:
                left[channel] = mine if mine is None else mine - removed
        return Subscription(frozenset(left.items()))


def union(subscriptions: Iterable[Subscription]) -> Subscription:
    """Return the union of subscriptions."""
    joined: dict[str, Symbols] = {}
    for subscription in subscriptions:
        for channel, symbols in subscription.items:
            known = joined.get(channel, frozenset[str]())
            joined[channel] = None if known is None or symbols is None else known | symbols
    return Subscription(frozenset(joined.items()))
