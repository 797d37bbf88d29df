"""Leaves of the entries of commits: the trades as a commit stored them, and the changes that it made.

A later change of a trade overwrites it, and keeps the state before in `trade_changes`: so what a commit stored is the
trades with its `write_id`, and the changes with it as `write_id_before`. A page of leaves is one statement, in which each
trade is in one of them. Many leaves are read page by page, without a transaction, which would block
other clients of the embedded engine.
"""

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime, timedelta
from typing import Any, LiteralString, NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import args_row, scalar_row

Connection = AsyncConnection[Any]

PAGE = 2048
"""Leaves of a page."""

NARROW = timedelta(hours=24)
"""In a longer range, trades of a commit of few trades are looked for in the hours whose candles it has changed."""


class Commit(NamedTuple):
    """Row of `commits`."""

    version: int
    kind: str
    write_id: int | None
    committed_at: datetime
    trade_count: int
    first_time: datetime | None
    last_time: datetime | None

    @property
    def stores_trades(self) -> bool:
        """True if it wrote states of trades; a cancel, a truncate and candles did not."""
        return self.kind in {"store", "correct"} and self.first_time is not None


class Leaf(NamedTuple):
    """Hash of a leaf, and the trade that it is of; of a change, None, with its id as `trade_id`."""

    write_id: int
    symbol: str | None
    time: datetime | None
    trade_id: int
    hash: bytes


COMMITS = """
    SELECT version, kind, write_id, committed_at, trade_count, first_time, last_time
    FROM commits
    WHERE version > %(after)s AND version <= coalesce(%(until)s, newest_version())
    ORDER BY version
    LIMIT %(limit)s
"""


async def read_commits(connection: Connection, after: int, limit: int, until: int | None = None) -> list[Commit]:
    """Return visible commits after a version, in the order of versions."""
    cursor = connection.cursor(binary=True, row_factory=args_row(Commit))
    await cursor.execute(COMMITS, {"after": after, "until": until, "limit": limit}, prepare=True)
    return await cursor.fetchall()


STATES: LiteralString = """
    SELECT t.write_id, t.symbol, t.time, t.trade_id, t.price, t.volume
    FROM symbols AS s
    CROSS JOIN LATERAL (
        SELECT t.write_id, t.symbol, t.time, t.trade_id, t.price, t.volume
        FROM trades AS t
        WHERE t.symbol = s.symbol AND t.time >= %(first)s AND t.time <= %(last)s AND t.write_id = ANY (%(stored)s::bigint[])
    ) AS t
"""

# The candle of an hour has the greatest write_id of its trades. Hours that are yet to be refreshed may lack it.
STATES_OF_HOURS: LiteralString = """
    SELECT t.write_id, t.symbol, t.time, t.trade_id, t.price, t.volume
    FROM (
        SELECT c.symbol, c.bucket
        FROM symbols AS s
        CROSS JOIN LATERAL (
            SELECT c.symbol, c.bucket
            FROM candles_1h AS c
            WHERE c.symbol = s.symbol AND c.bucket > %(first)s::timestamptz - INTERVAL '1 hour' AND c.bucket <= %(last)s
                AND c.write_id >= (SELECT min(w) FROM unnest(%(stored)s::bigint[]) AS w)
        ) AS c
        UNION
        SELECT s.symbol, hour
        FROM unnest(stale_times(5) * tstzmultirange(tstzrange(%(first)s, %(last)s, '[]'))) AS r
        CROSS JOIN generate_series(time_bucket(INTERVAL '1 hour', lower(r)), upper(r), INTERVAL '1 hour') AS hour
        CROSS JOIN symbols AS s
    ) AS hours
    CROSS JOIN LATERAL (
        SELECT t.write_id, t.symbol, t.time, t.trade_id, t.price, t.volume
        FROM trades AS t
        WHERE t.symbol = hours.symbol AND t.time >= hours.bucket AND t.time < hours.bucket + INTERVAL '1 hour'
            AND t.write_id = ANY (%(stored)s::bigint[])
    ) AS t
"""

REPLACED: LiteralString = """
    SELECT c.write_id_before, c.symbol, c.time, c.trade_id, c.price_before, c.volume_before
    FROM trade_changes AS c
    WHERE c.write_id_before = ANY (%(stored)s::bigint[]) AND c.action <> 'truncate'
"""

CHANGES: LiteralString = """
    SELECT c.write_id, NULL::text, NULL::timestamptz, c.id, log_leaf_hash(log_change_leaf(c))
    FROM trade_changes AS c
    WHERE c.write_id = ANY (%(changed)s::bigint[])
    ORDER BY c.write_id, c.id
"""


def _trade_leaves(states: LiteralString) -> LiteralString:
    return f"""
        SELECT write_id, symbol, time, trade_id, log_leaf_hash(log_trade_leaf(symbol, time, trade_id, price, volume))
        FROM ({states} UNION ALL {REPLACED}) AS found
        ORDER BY write_id, symbol COLLATE "C", time, trade_id
    """


TRADES_OF_RANGE, TRADES_OF_HOURS = _trade_leaves(STATES), _trade_leaves(STATES_OF_HOURS)


async def read_leaves(connection: Connection, commits: Sequence[Commit]) -> dict[int, list[Leaf]]:
    """Return the leaves of commits of few trades in a common range of time, by `write_id`."""
    stored = [each for each in commits if each.stores_trades]
    changed = [each.write_id for each in commits if each.kind in {"correct", "cancel", "truncate"}]
    cursor = connection.cursor(binary=True, row_factory=args_row(Leaf))
    found: dict[int, list[Leaf]] = {each.write_id: [] for each in commits if each.write_id is not None}
    if stored:
        first = min(each.first_time for each in stored if each.first_time)
        last = max(each.last_time for each in stored if each.last_time)
        parameters = {"first": first, "last": last, "stored": [each.write_id for each in stored]}
        await cursor.execute(TRADES_OF_HOURS if last - first > NARROW else TRADES_OF_RANGE, parameters)
        for leaf in await cursor.fetchall():
            found[leaf.write_id].append(leaf)
    if changed:
        await cursor.execute(CHANGES, {"changed": changed})
        for leaf in await cursor.fetchall():
            found[leaf.write_id].append(leaf)
    return found


ORDERED_SYMBOLS = """SELECT symbol FROM symbols ORDER BY symbol COLLATE "C" """


async def read_ordered_symbols(connection: Connection) -> list[str]:
    """Return all symbols in the order of leaves."""
    cursor = connection.cursor(binary=True, row_factory=scalar_row)
    await cursor.execute(ORDERED_SYMBOLS)
    return await cursor.fetchall()


# Both in their own order and with their own limit, so that each reads no more than a page.
TRADE_PAGE = """
    SELECT
        %(write_id)s::bigint, symbol, time, trade_id,
        log_leaf_hash(log_trade_leaf(symbol, time, trade_id, price, volume))
    FROM (
        (
            SELECT t.symbol, t.time, t.trade_id, t.price, t.volume
            FROM trades AS t
            WHERE t.symbol = %(symbol)s AND t.write_id = %(write_id)s AND t.time >= %(time)s AND t.time <= %(last)s
                AND (t.time, t.trade_id) >= (%(time)s, %(trade_id)s)
            ORDER BY t.time, t.trade_id
            LIMIT %(limit)s
        )
        UNION ALL
        (
            SELECT c.symbol, c.time, c.trade_id, c.price_before, c.volume_before
            FROM trade_changes AS c
            WHERE c.symbol = %(symbol)s AND c.write_id_before = %(write_id)s AND c.action <> 'truncate'
                AND c.time >= %(time)s AND (c.time, c.trade_id) >= (%(time)s, %(trade_id)s)
            ORDER BY c.time, c.trade_id
            LIMIT %(limit)s
        )
    ) AS found
    ORDER BY time, trade_id
    LIMIT %(limit)s
"""

CHANGE_PAGE = """
    SELECT c.write_id, NULL::text, NULL::timestamptz, c.id, log_leaf_hash(log_change_leaf(c))
    FROM trade_changes AS c
    WHERE c.write_id = %(write_id)s AND c.id >= %(id)s
    ORDER BY c.id
    LIMIT %(limit)s
"""

MIN_ID = -(1 << 63)


async def read_leaf_pages(
    connection: Connection, commit: Commit, start: Leaf | None = None, limit: int = PAGE
) -> AsyncGenerator[list[Leaf]]:
    """Yield the leaves of a commit of any number of trades in pages, from one of them on."""
    if commit.stores_trades and (start is None or start.symbol):
        for symbol in await read_ordered_symbols(connection):
            if not start or symbol == start.symbol:
                time, trade_id = (start.time, start.trade_id) if start else (commit.first_time, MIN_ID)
                async for page in _trade_pages(connection, commit, symbol, limit, time, trade_id):
                    yield page
                start = None
    if commit.kind != "store":
        async for page in _change_pages(connection, commit, limit, start.trade_id if start else 0):
            yield page


async def _trade_pages(
    connection: Connection, commit: Commit, symbol: str, limit: int, time: datetime | None, trade_id: int
) -> AsyncGenerator[list[Leaf]]:
    cursor = connection.cursor(binary=True, row_factory=args_row(Leaf))
    parameters = {"write_id": commit.write_id, "symbol": symbol, "last": commit.last_time, "limit": limit}
    while True:
        await cursor.execute(TRADE_PAGE, {**parameters, "time": time, "trade_id": trade_id})
        page = await cursor.fetchall()
        if page:
            yield page
            time, trade_id = page[-1].time, page[-1].trade_id + 1
        if len(page) < limit:
            return


async def _change_pages(connection: Connection, commit: Commit, limit: int, first_id: int) -> AsyncGenerator[list[Leaf]]:
    cursor = connection.cursor(binary=True, row_factory=args_row(Leaf))
    while True:
        await cursor.execute(CHANGE_PAGE, {"write_id": commit.write_id, "id": first_id, "limit": limit})
        page = await cursor.fetchall()
        if page:
            yield page
            first_id = page[-1].trade_id + 1
        if len(page) < limit:
            return
