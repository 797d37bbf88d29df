"""Reads of a replay: commits in their order with the trades that each stored or changed, and candles as of a version."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, LiteralString, NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import args_row, scalar_row

from market_data.queries.intervals import LENGTHS
from market_data.queries.row_pages import json_members
from market_data.queries.trades import TRADE_COLUMNS, TradeKey

Symbols = Collection[str] | None
"""Symbols of a replay; None for all."""

WANTED: LiteralString = """
    (SELECT symbol FROM symbols WHERE %(symbols)s::text[] IS NULL OR symbol = ANY (%(symbols)s)) AS wanted
"""


class PlayedCommit(NamedTuple):
    """A commit of a replay."""

    version: int
    kind: str
    write_id: int
    committed_at: datetime
    trade_count: int
    first_time: datetime | None
    """Smallest time of its trades; None without trades, and before the year 1."""
    last_time: datetime | None
    closed_until: datetime
    has_reloads: bool
    """True if trades of it were streamed as ranges."""


PLAYED_COMMIT: LiteralString = """
    version, kind, coalesce(write_id, -1), committed_at, trade_count, first_time, last_time, closed_until,
    EXISTS (SELECT FROM reloads WHERE reloads.write_id = commits.write_id)
"""

COMMITS = f"""
    SELECT {PLAYED_COMMIT}
    FROM commits
    WHERE version > %s AND version <= %s
    ORDER BY version
    LIMIT %s
"""


async def read_commits(connection: AsyncConnection[Any], after: int, until: int, limit: int) -> list[PlayedCommit]:
    """Return the commits above a version, up to another one."""
    cursor = connection.cursor(binary=True, row_factory=args_row(PlayedCommit))
    await cursor.execute(COMMITS, (after, until, limit), prepare=False)
    return await cursor.fetchall()


LATE_COMMITS = f"""
    SELECT {PLAYED_COMMIT}
    FROM (
        SELECT version, kind, write_id, committed_at, trade_count, first_time, last_time, closed_until
        FROM commits
        WHERE version <= %(version)s AND version > version_at(
            (SELECT committed_at - INTERVAL '1 hour' FROM commits WHERE version <= %(version)s ORDER BY version DESC LIMIT 1)
        ) AND (
            kind = 'revise'
            OR kind <> 'close' AND first_time < date_trunc('minute', committed_at, 'UTC') - INTERVAL '1 minute'
        )
        ORDER BY version DESC
        LIMIT 1000
    ) AS commits
    ORDER BY version
"""


async def read_late_commits(connection: AsyncConnection[Any], version: int) -> list[PlayedCommit]:
    """Return the commits of late trades and of revisions in the hour before a version, and its own."""
    cursor = connection.cursor(binary=True, row_factory=args_row(PlayedCommit))
    await cursor.execute(LATE_COMMITS, {"version": version}, prepare=False)
    return await cursor.fetchall()


class PlayedTrade(NamedTuple):
    """A trade as a write stored it, also if it was changed later."""

    write_id: int
    symbol: str
    time: datetime
    trade_id: int
    price: str
    """Without trailing zeros, as `volume`."""
    volume: str
    exact_price: Decimal
    """With all zeros, as `exact_volume`. Read only for candles."""
    exact_volume: Decimal

    @property
    def key(self) -> TradeKey:
        """Its primary key."""
        return TradeKey(self.symbol, self.time, self.trade_id)

    @property
    def members(self) -> str:
        """Members of the JSON object of its event. PostgreSQL would take three times as long to format them."""
        return (
            f'"symbol":"{self.symbol}","price":{self.price},"volume":{self.volume},'
            f'"timestamp":"{self.time.isoformat()[:-6]}Z","trade_id":{self.trade_id}'
        )


PLAYED_COLUMNS: LiteralString = """
    write_id, symbol, time, trade_id, trim_scale(price)::text, trim_scale(volume)::text,
    CASE WHEN %(exact)s THEN price END, CASE WHEN %(exact)s THEN volume END
"""

AREAS: LiteralString = "unnest(%(since)s::timestamptz[], %(until)s::timestamptz[]) AS area (since, until)"

# Symbol by symbol, because that is the index. The bounds of all areas are constants, which exclude chunks from the plan.
STORED_TRADES = f"""
    SELECT {PLAYED_COLUMNS}
    FROM (
        SELECT stored.symbol, stored.time, stored.trade_id, stored.price, stored.volume, stored.write_id
        FROM {WANTED}
        CROSS JOIN {AREAS}
        CROSS JOIN LATERAL (
            SELECT t.symbol, t.time, t.trade_id, t.price, t.volume, t.write_id
            FROM trades AS t
            WHERE t.symbol = wanted.symbol AND t.time >= area.since AND t.time <= area.until
                AND t.time >= %(first)s AND t.time <= %(last)s AND t.write_id = ANY (%(writes)s)
            UNION ALL
            SELECT c.symbol, c.time, c.trade_id, c.price_before, c.volume_before, c.write_id_before
            FROM trade_changes AS c
            WHERE c.symbol = wanted.symbol AND c.time >= area.since AND c.time <= area.until
                AND c.write_id_before = ANY (%(writes)s) AND c.action <> 'truncate'
        ) AS stored
    ) AS found
    WHERE (time, symbol, trade_id) > (%(after_time)s, %(after_symbol)s, %(after_id)s::bigint)
    ORDER BY time, symbol, trade_id
    LIMIT %(limit)s
"""

Area = tuple[datetime, datetime]
"""A closed range of time."""


async def read_stored_trades(
    connection: AsyncConnection[Any],
    writes: Sequence[int],
    areas: Sequence[Area],
    symbols: Symbols,
    after: TradeKey | None = None,
    limit: int | None = None,
    *,
    exact: bool,
) -> list[PlayedTrade]:
    """Return the trades that some writes stored or corrected, in the order of time, symbol and trade_id.

    `areas` are disjoint ranges, outside which there are none. With `after`, those with a greater key.
    """
    cursor = connection.cursor(binary=True, row_factory=args_row(PlayedTrade))
    first, last = areas[0][0], areas[-1][1]
    parameters: dict[str, Any] = {
        "symbols": None if symbols is None else list(symbols),
        "since": [area[0] for area in areas],
        "until": [area[1] for area in areas],
        "first": first,
        "last": last,
        "writes": list(writes),
        "exact": exact,
        "after_time": after.time if after else first,
        "after_symbol": after.symbol if after else "",
        "after_id": after.trade_id if after else 0,
        "limit": limit,
    }
    # Not prepared: a generic plan would visit every chunk, here and below.
    await cursor.execute(STORED_TRADES, parameters, prepare=False)
    return await cursor.fetchall()


class Reload(NamedTuple):
    """A range of trades of a symbol that a write stored as bulk history."""

    symbol: str
    since: datetime
    until: datetime
    """Exclusive."""


async def read_reloads(connection: AsyncConnection[Any], write: int) -> list[Reload]:
    """Return the ranges of a write that were streamed instead of their trades."""
    cursor = connection.cursor(binary=True, row_factory=args_row(Reload))
    await cursor.execute("SELECT symbol, since, until FROM reloads WHERE write_id = %s", (write,))
    return await cursor.fetchall()


class PlayedChange(NamedTuple):
    """A trade that a write corrected, cancelled or moved."""

    write_id: int
    symbol: str
    time: datetime
    trade_id: int
    is_correction: bool
    moved_to: datetime | None
    members: str
    """Members of the JSON object of its event, without `change`, `latest` and the version."""


CHANGES = f"""
    SELECT write_id, symbol, time, trade_id, is_correction, moved_to, {json_members(TRADE_COLUMNS)}
    FROM (
        SELECT
            id, write_id, symbol, time, trade_id, action = 'correct' AS is_correction, moved_to,
            coalesce(price_after, price_before) AS price, coalesce(volume_after, volume_before) AS volume
        FROM trade_changes
        WHERE write_id = ANY (%(writes)s) AND action <> 'truncate'
            AND (%(symbols)s::text[] IS NULL OR symbol = ANY (%(symbols)s))
    ) AS change
    ORDER BY id
"""


async def read_changes(connection: AsyncConnection[Any], writes: Sequence[int], symbols: Symbols) -> list[PlayedChange]:
    """Return the changes of some writes in the order in which they happened."""
    cursor = connection.cursor(binary=True, row_factory=args_row(PlayedChange))
    wanted = None if symbols is None else list(symbols)
    await cursor.execute(CHANGES, {"writes": list(writes), "symbols": wanted}, prepare=False)
    return await cursor.fetchall()


class PastLatest(NamedTuple):
    """The latest trade of a symbol as of a version."""

    symbol: str
    time: datetime
    trade_id: int
    members: str
    """Members of the JSON object of the trade."""

    @property
    def key(self) -> TradeKey:
        """Its primary key."""
        return TradeKey(self.symbol, self.time, self.trade_id)


PAST_LATEST = f"""
    SELECT symbol, time, trade_id, {json_members(TRADE_COLUMNS)}
    FROM latest_trades_as_of(%(version)s, %(symbols)s::text[])
"""


async def read_past_latest(connection: AsyncConnection[Any], version: int, symbols: Symbols) -> list[PastLatest]:
    """Return the latest trades as of a version."""
    cursor = connection.cursor(binary=True, row_factory=args_row(PastLatest))
    wanted = None if symbols is None else list(symbols)
    await cursor.execute(PAST_LATEST, {"version": version, "symbols": wanted}, prepare=False)
    return await cursor.fetchall()


class PastCandle(NamedTuple):
    """A candle as of a version."""

    symbol: str
    bucket: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    turnover: Decimal
    trade_count: int


PAST_CANDLES: Mapping[str, LiteralString] = {
    interval: f"""
        SELECT wanted.symbol, c.bucket, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trade_count
        FROM unnest(%(symbols)s::text[], %(buckets)s::timestamptz[]) AS wanted (symbol, bucket)
        CROSS JOIN LATERAL candles_as_of(
            '{interval}', %(version)s, wanted.symbol, wanted.bucket, wanted.bucket + INTERVAL '1 microsecond'
        ) AS c
    """
    for interval in LENGTHS
}


async def read_past_candles(
    connection: AsyncConnection[Any], interval: str, version: int, keys: Sequence[tuple[str, datetime]]
) -> list[PastCandle]:
    """Return the candles of some symbols and buckets as of a version."""
    cursor = connection.cursor(binary=True, row_factory=args_row(PastCandle))
    parameters = {"version": version, "symbols": [key[0] for key in keys], "buckets": [key[1] for key in keys]}
    await cursor.execute(PAST_CANDLES[interval], parameters, prepare=False)
    return await cursor.fetchall()


# Of the commits that are played, the last one whose trades may have been dropped.
LAST_INCOMPLETE = """
    SELECT max(committed_at)
    FROM commits
    CROSS JOIN retention
    WHERE version > %s AND (
        version <= truncated_version
        OR version <= dropped_version AND first_time < dropped_before AND kind IN ('store', 'correct', 'cancel')
    )
"""


async def read_last_incomplete(connection: AsyncConnection[Any], after: int) -> datetime | None:
    """Return the time of the last commit above a version of which trades have been dropped; None without one."""
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(LAST_INCOMPLETE, (after,), prepare=False)
    (found,) = await cursor.fetchall()
    return found
