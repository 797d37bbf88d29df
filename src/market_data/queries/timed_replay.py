"""Reads of a replay in the order of time: the trades of one version, and the candles that they have begun."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import args_row, scalar_row

from market_data.queries.replay import PLAYED_COLUMNS, WANTED, PastCandle, PlayedTrade, Symbols
from market_data.queries.trades import TradeKey


class PastWrites(NamedTuple):
    """A version by the writes that had been committed."""

    version: int
    newest: int
    late: list[int]
    """Lower ones that had not been committed."""


PAST_WRITES = """
    SELECT version, newest, late
    FROM newest_version() AS version CROSS JOIN LATERAL writes_as_of(version, 'infinity')
"""


async def read_newest_writes(connection: AsyncConnection[Any]) -> PastWrites:
    """Return the newest version."""
    cursor = connection.cursor(row_factory=args_row(PastWrites))
    await cursor.execute(PAST_WRITES)
    (found,) = await cursor.fetchall()
    return found


TIMED_TRADES = f"""
    SELECT {PLAYED_COLUMNS}
    FROM (
        SELECT past.symbol, past.time, past.trade_id, past.price, past.volume, past.write_id
        FROM {WANTED}
        CROSS JOIN LATERAL past_trades(%(newest)s, %(late)s::bigint[], %(since)s, %(until)s) AS past
        WHERE past.symbol = wanted.symbol
    ) AS found
    WHERE (time, symbol, trade_id) > (%(after_time)s, %(after_symbol)s, %(after_id)s::bigint)
    ORDER BY time, symbol, trade_id
    LIMIT %(limit)s
"""


async def read_timed_trades(
    connection: AsyncConnection[Any],
    writes: PastWrites,
    since: TradeKey,
    until: datetime,
    symbols: Symbols,
    limit: int,
    *,
    exact: bool,
) -> list[PlayedTrade]:
    """Return the trades of a version after a key and before a time, in the order of time, symbol and trade_id."""
    cursor = connection.cursor(binary=True, row_factory=args_row(PlayedTrade))
    parameters: dict[str, Any] = {
        "symbols": None if symbols is None else list(symbols),
        "newest": writes.newest,
        "late": writes.late,
        "exact": exact,
        "since": since.time,
        "until": until,
        "after_time": since.time,
        "after_symbol": since.symbol,
        "after_id": since.trade_id,
        "limit": limit,
    }
    await cursor.execute(TIMED_TRADES, parameters, prepare=False)
    return await cursor.fetchall()


# Minutes that have ended from candles, the last one from trades.
BEGUN_CANDLES = """
    SELECT
        symbol, bucket, first(open, minute), max(high), min(low), last(close, minute), sum(volume), sum(turnover),
        sum(trade_count)::bigint
    FROM unnest(%(symbols)s::text[], %(buckets)s::timestamptz[]) AS wanted (symbol, bucket)
    CROSS JOIN LATERAL (
        SELECT c.bucket, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trade_count
        FROM candles_as_of('1m', %(version)s, wanted.symbol, wanted.bucket, date_trunc('minute', %(until)s, 'UTC')) AS c
        UNION ALL
        SELECT
            date_trunc('minute', %(until)s, 'UTC'), first(t.price, t.time ORDER BY t.trade_id), max(t.price), min(t.price),
            last(t.price, t.time ORDER BY t.trade_id DESC), sum(t.volume), sum(t.price * t.volume), count(*)
        FROM past_trades(
            %(newest)s, %(late)s::bigint[], greatest(wanted.bucket, date_trunc('minute', %(until)s, 'UTC')), %(until)s
        ) AS t
        WHERE t.symbol = wanted.symbol
        HAVING count(*) > 0
    ) AS minutes (minute, open, high, low, close, volume, turnover, trade_count)
    GROUP BY symbol, bucket
"""


async def read_begun_candles(
    connection: AsyncConnection[Any], writes: PastWrites, keys: Sequence[tuple[str, datetime]], until: datetime
) -> list[PastCandle]:
    """Return the candles of some symbols and buckets of a version, from their trades before a time."""
    cursor = connection.cursor(binary=True, row_factory=args_row(PastCandle))
    parameters: dict[str, Any] = {
        **writes._asdict(),
        "symbols": [key[0] for key in keys],
        "buckets": [key[1] for key in keys],
        "until": until,
    }
    await cursor.execute(BEGUN_CANDLES, parameters, prepare=False)
    return await cursor.fetchall()


TRADED_SYMBOLS = "SELECT symbol FROM latest_trades WHERE %(symbols)s::text[] IS NULL OR symbol = ANY (%(symbols)s)"


async def read_traded_symbols(connection: AsyncConnection[Any], symbols: Symbols) -> list[str]:
    """Return the symbols that have trades."""
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(TRADED_SYMBOLS, {"symbols": None if symbols is None else list(symbols)}, prepare=False)
    return await cursor.fetchall()
