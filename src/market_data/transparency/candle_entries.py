"""Leaves of an entry of candles, as they are as of one version, while other clients write.

Many candles are read page by page, outside a transaction, which would block other clients of the embedded engine, and with
it every request. Meanwhile commits change some of them. So the candles of these commits are read afterwards, in
one snapshot, and replace those that were read before; all others have stayed as they were. If these are many as well, they
are read in the same way: in rounds, each of which has the candles of the commits since the round before. Rounds end when one
has at most `MAX_SNAPSHOT_TRADES` trades, or at least half as many as the round before. The last round is read in the
snapshot, whatever its size, so an entry never waits for the writers to pause. It blocks other clients of the embedded engine
for at most the trades that were committed during the round before.
"""

import asyncio
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain
from typing import NamedTuple

from market_data.database.connection import Connection
from market_data.proof.merkle import leaf_hash, root_of
from market_data.queries.intervals import INTERVALS
from market_data.queries.log import PART
from market_data.queries.log_appends import CandlesPart
from market_data.queries.log_candle_leaves import read_candle_leaves
from market_data.queries.log_candles import Changed, read_changed, read_watermarks

MAX_SNAPSHOT_TRADES = 5_000
"""Trades whose candles are read in one snapshot: a few pages of 30 ms on the embedded engine."""

COMPRESSION_LEVEL = 1
"""The fastest."""

ORDER = {interval: -place for place, interval in enumerate(INTERVALS)}

Key = tuple[int, str, int]
"""Place of a leaf among others: by interval, from the coarsest, symbol and time."""


class Candles(NamedTuple):
    """Candles that have changed between two versions, as they are as of the second."""

    version: int
    committed_at: datetime
    leaf_count: int
    parts: list[CandlesPart]


class _Leaves:
    """Ordered leaves in compressed pages, which take a fifth of the memory. Each can be taken once."""

    def __init__(self) -> None:
        self._pages: deque[bytes] = deque()

    def append(self, page: Iterable[str]) -> None:
        self._pages.append(_compressed(page))

    def pages(self) -> Iterator[list[str]]:
        while self._pages:
            yield zlib.decompress(self._pages.popleft()).decode().split("\n")


def _compressed(leaves: Iterable[str]) -> bytes:
    return zlib.compress("\n".join(leaves).encode(), COMPRESSION_LEVEL)


async def read_candles(connection: Connection, since: int) -> Candles | None:
    """Return the candles that have changed since a version; None if there are none, or if they can't be read yet.

    They can't while too many of them are yet to be refreshed, or if a client has truncated the trades meanwhile.
    """
    rounds: list[_Leaves] = []
    last, count = since, 0
    while True:
        watermarks = await read_watermarks(connection)
        changed = await read_changed(connection, last, watermarks)
        if changed.is_waiting or (changed.is_emptied and rounds):
            return None
        is_smaller = not rounds or changed.trade_count < count / 2
        if changed.trade_count <= MAX_SNAPSHOT_TRADES or not is_smaller:
            break
        rounds.append(await _collect(connection, changed))
        last, count = changed.version, changed.trade_count
    watermarks = await read_watermarks(connection)
    async with connection.transaction():
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        changed = await read_changed(connection, last, watermarks)
        if changed.is_waiting or (changed.is_emptied and rounds):
            return None
        if changed.committed_at is None or not (changed.write_ids or rounds):
            return None
        rounds.append(await _collect(connection, changed))
    return Candles(changed.version, changed.committed_at, *await _split(rounds))


async def _collect(connection: Connection, changed: Changed) -> _Leaves:
    found = _Leaves()
    waiting: list[str] = []
    async for page in read_candle_leaves(connection, changed):
        waiting += page
        if len(waiting) >= PART:
            found.append(waiting)
            waiting = []
    if waiting:
        found.append(waiting)
    return found


async def _split(rounds: Sequence[_Leaves]) -> tuple[int, list[CandlesPart]]:
    """Return the number of leaves, and their parts."""
    pages = rounds[0].pages()
    for newer in rounds[1:]:
        pages = replaced(pages, chain.from_iterable(newer.pages()))
    count = 0
    parts: list[CandlesPart] = []
    for leaves in _parts(pages):
        count += len(leaves)
        parts.append(CandlesPart(root_of(leaf_hash(leaf.encode()) for leaf in leaves), _compressed(leaves)))
        await asyncio.sleep(0)  # requests take turns
    return count, parts


def replaced(pages: Iterable[list[str]], newer: Iterable[str]) -> Iterator[list[str]]:
    """Yield ordered pages of leaves, with newer ones in the place of those of the same candles, or in between."""
    rest = ((_key(leaf), leaf) for leaf in newer)
    waiting = next(rest, None)
    for page in pages:
        last = _key(page[-1])
        found: dict[Key, str] = {}
        while waiting and waiting[0] <= last:
            found[waiting[0]] = waiting[1]
            waiting = next(rest, None)
        if found:
            yield [leaf for _, leaf in sorted(({_key(leaf): leaf for leaf in page} | found).items())]
        else:
            yield page
    if waiting:
        yield [waiting[1]]
    for _, leaf in rest:
        yield [leaf]


def _key(leaf: str) -> Key:
    # Without a parser of JSON, which takes four times as long: neither symbols nor intervals have escaped characters.
    _, _, _, symbol, _, interval, figures = leaf.split('"', 6)
    return ORDER[interval], symbol, int(figures.split(",", 2)[1])


def _parts(pages: Iterable[list[str]]) -> Iterator[list[str]]:
    waiting: list[str] = []
    for page in pages:
        waiting += page
        while len(waiting) >= PART:
            yield waiting[:PART]
            waiting = waiting[PART:]
    if waiting:
        yield waiting
