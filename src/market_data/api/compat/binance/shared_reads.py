"""Reads that the streams of all clients of a worker share: ranks of trades, and figures of the last 24 hours."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final
from weakref import WeakKeyDictionary

from litestar import WebSocket

from market_data.api.compat.binance.figures import Figures, figures_of
from market_data.api.compat.names import asked_names
from market_data.database.coalescing import RequestCoalescer
from market_data.database.pool import Database
from market_data.names import Names
from market_data.queries.snapshots import read_snapshots
from market_data.queries.trades import TradeKey, read_ranks
from market_data.services import services_of

MAX_RANKS: Final = 20_000
"""Ranks of the newest events that are kept: some MB."""

MAX_NAMED: Final = 1000
"""Symbols that a statement names; for more, it reads all."""

EventKey = tuple[TradeKey, int]
"""Key of a trade, and version of its event."""


class SharedReads:
    """Clients that wait at the same time share a statement, and the rank of an event is read once for all of them."""

    def __init__(self, database: Database, names: Names) -> None:
        self._database = database
        self._names = names
        self._ranks: dict[EventKey, int] = {}
        self._wanted_ranks: set[EventKey] = set()
        self._rank_runs = RequestCoalescer[None](self._read_ranks)
        self._wanted_symbols: set[str] = set()
        self._figure_runs = RequestCoalescer[None](self._read_figures)

    async def ranks(self, keys: Sequence[EventKey]) -> list[int]:
        """Return the ranks of the trades of some events.

        Raises:
            DatabaseUnavailable: They can't be read.
        """
        while missing := [key for key in keys if key not in self._ranks]:
            self._wanted_ranks.update(missing)
            await self._rank_runs.get(None)
        return [self._ranks[key] for key in keys]

    async def _read_ranks(self, _: None) -> None:
        wanted = [key for key in self._wanted_ranks if key not in self._ranks]
        self._wanted_ranks = set()
        excess = len(self._ranks) + len(wanted) - max(MAX_RANKS, len(wanted))
        for old in [*islice(self._ranks, max(0, excess))]:
            del self._ranks[old]
        keys = [key._replace(symbol=self._names.key_of(key.symbol)) for key, _ in wanted]
        ranks = await self._database.read(read_ranks, keys)
        self._ranks.update(zip(wanted, ranks, strict=True))

    async def figures(self, symbols: Collection[str]) -> Mapping[str, Figures]:
        """Return the figures of some symbols, of which those without a trade have none, and maybe of others.

        Raises:
            DatabaseUnavailable: They can't be read.
        """
        self._wanted_symbols.update(symbols)
        return await self._figure_runs.get(None)

    async def _read_figures(self, _: None) -> Mapping[str, Figures]:
        wanted, self._wanted_symbols = self._wanted_symbols, set()
        named = sorted(wanted) if len(wanted) <= MAX_NAMED else None
        by_key = None if named is None else asked_names(self._names, named)
        snapshots = await self._database.read(read_snapshots, None if by_key is None else list(by_key))
        rows = self._names.rename_json(snapshots.rows, by_key)
        return {figures.symbol: figures for figures in figures_of(rows, datetime.now(UTC))}


_SHARED: Final = WeakKeyDictionary[Database, SharedReads]()


def shared_reads_of(socket: WebSocket[Any, Any, Any]) -> SharedReads:
    """Return the reads of the worker of a connection."""
    services = services_of(socket)
    database = services.database
    if (found := _SHARED.get(database)) is None:
        found = _SHARED[database] = SharedReads(database, services.names)
    return found
