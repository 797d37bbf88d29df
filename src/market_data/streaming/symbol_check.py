"""Check of the symbols that clients subscribe to, with one statement for all that wait for it."""

from collections.abc import Sequence

from market_data.database.coalescing import RequestCoalescer
from market_data.database.pool import Database
from market_data.queries.symbols import unknown_symbols


class SymbolCheck:
    """Thousands of clients that return after a restart, each with other symbols, need a few statements."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._given: set[str] = set()
        """Symbols of the calls that wait for the next statement."""
        self._coalescer = RequestCoalescer[None](self._read)

    async def unknown(self, symbols: Sequence[str]) -> list[str]:
        """Return the symbols that are unknown.

        Raises:
            DatabaseUnavailable: They can't be read.
        """
        self._given.update(symbols)
        unknown = await self._coalescer.get(None)
        return [symbol for symbol in symbols if symbol in unknown]

    async def _read(self, _: None) -> frozenset[str]:
        given, self._given = self._given, set()
        return frozenset(await self._database.read(unknown_symbols, sorted(given)))
