"""A simulated database with leases, and the trades of the feed."""

from collections.abc import Callable
from typing import Any, NamedTuple

from helpers.simulation.connection import SimulatedConnection

from market_data.queries.latest_prices import LAST_PRICES
from market_data.queries.leases import ACQUIRE_LEASE, RELEASE_LEASE
from market_data.queries.symbols import INSERT_LISTINGS
from market_data.queries.trade_writes import STORE_FEED_TRADES

MAX_LEASE_SECONDS = 60


class Held(NamedTuple):
    holder: str
    expires: float


class LeaseTable:
    """Executes the statements of leases; `tests/database/test_leases.py` compares it with a real database."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.held: dict[str, Held] = {}
        self.on_takeover: Callable[[Held], None] = lambda _: None
        """Called with the expired lease that another holder acquires."""
        self.on_acquire: Callable[[str, bool], None] = lambda _holder, _acquired: None
        """Called with each process that tries to acquire or extend the lease, and the result."""
        self.on_store: Callable[[str, bool], None] = lambda _holder, _stored: None
        """Called with the holder of each batch of the feed, and False if it was not stored."""
        self._before: dict[SimulatedConnection, tuple[str, Held | None]] = {}
        """Locked row of each open transaction, with its values before."""

    def execute(self, connection: SimulatedConnection, query: str, parameters: Any) -> list[Any] | None:
        if query == ACQUIRE_LEASE:
            return self._acquire(connection, **parameters)
        if query == RELEASE_LEASE:
            name, holder = parameters
            if name in self.held and self.held[name].holder == holder:
                del self.held[name]
            return []
        if query == STORE_FEED_TRADES:
            seconds, name, holder, *_ = parameters
            mine = name in self.held and self.held[name].holder == holder
            if mine:
                self.held[name] = Held(holder, self.clock() + seconds)
            self.on_store(holder, mine)
            return [(mine,)]
        assert query in (INSERT_LISTINGS, LAST_PRICES), query
        return []

    def _acquire(self, connection: SimulatedConnection, name: str, holder: str, seconds: float) -> list[tuple[bool]] | None:
        if any(locked == name for other, (locked, _) in self._before.items() if other is not connection):
            return None
        now, before = self.clock(), self.held.get(name)
        if before and before.holder != holder:
            if now <= before.expires <= now + MAX_LEASE_SECONDS:
                self.on_acquire(holder, False)
                return []
            self.on_takeover(before)
        self.on_acquire(holder, True)
        self.held[name] = Held(holder, now + seconds)
        if connection.in_transaction:
            self._before.setdefault(connection, (name, before))
        return [(True,)]

    def end_transaction(self, connection: SimulatedConnection, *, commit: bool) -> None:
        name, before = self._before.pop(connection, (None, None))
        if name is None or commit:
            return
        if before:
            self.held[name] = before
        else:
            self.held.pop(name, None)
