"""Idempotent writes of trades that clients send.

The statements of a call run in one transaction at READ COMMITTED: each one sees what other calls with the same trades have
committed before it began.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
from psycopg.errors import CheckViolation
from psycopg.rows import class_row

from market_data.feed.random_walk import FeedTrade
from market_data.models_writes import TradeIn
from market_data.queries.leases import FEED_LEASE
from market_data.queries.row_pages import Connection
from market_data.queries.trades import TradeKey
from market_data.trade_validation import (
    FutureLimit,
    InvalidTrade,
    RejectionReason,
    rfc3339,
    symbol_path,
    unsigned_price,
)

Values = tuple[Decimal, Decimal]
"""Price and volume."""


class ConflictingTrade(InvalidTrade):
    """A trade contradicts a stored or cancelled trade."""


class Outcome(NamedTuple):
    """Numbers of new and of existing trades, and the reasons why others were rejected, by index."""

    stored: int
    existing: int
    rejected: Mapping[int, InvalidTrade]


class Bounds(NamedTuple):
    """Conditions that a trade must meet to be stored now."""

    now: datetime
    horizon: datetime | None
    """Time before which trades have been dropped; None without retention."""
    symbols: Mapping[str, tuple[bool, bool]]
    """The known symbols of the call: if they are active, and if they are signed."""


# TimescaleDB's limit would end writes of old trades into the columnstore, because each decompresses its neighbours.
BOUNDS = """
    SELECT
        clock_timestamp() AS now,
        nullif(retention_horizon(), '-infinity') AS horizon,
        (
            SELECT coalesce(json_object_agg(symbol, ARRAY[active, signed]), '{}') FROM symbols WHERE symbol = ANY (%s)
        ) AS symbols
    FROM set_config('timescaledb.max_tuples_decompressed_per_dml_transaction', '0', true)
"""


async def read_bounds(connection: Connection, symbols: Sequence[str]) -> Bounds:
    """Return the bounds. Lifts TimescaleDB's decompression limit for the rest of the transaction."""
    cursor = connection.cursor(binary=True, row_factory=class_row(Bounds))
    await cursor.execute(BOUNDS, (list(symbols),))
    (row,) = await cursor.fetchall()
    return row


# In the order of their keys, so that two calls with the same trades wait for each other without a deadlock.
STORE_TRADES = """
    WITH given AS MATERIALIZED (
        SELECT symbol, time, trade_id, price, volume, number
        FROM unnest(%s::text[], %s::timestamptz[], %s::bigint[], %s::numeric[], %s::numeric[])
            WITH ORDINALITY AS given (symbol, time, trade_id, price, volume, number)
    ), stored AS (
        INSERT INTO trades (symbol, time, trade_id, price, volume)
        SELECT symbol, time, trade_id, price, volume
        FROM given
        ORDER BY symbol, time, trade_id
        ON CONFLICT (symbol, time, trade_id) DO NOTHING
        RETURNING symbol, time, trade_id
    )
    SELECT given.number
    FROM given
    LEFT JOIN stored USING (symbol, time, trade_id)
    WHERE stored.symbol IS NULL
"""


async def store_trades(connection: Connection, trades: Mapping[TradeKey, TradeIn]) -> list[TradeKey]:
    """Store trades, and return the keys that were stored already, with any values."""
    keys = list(trades)
    numbers = _array([trade.price for trade in trades.values()]), _array([trade.volume for trade in trades.values()])
    cursor = await connection.execute(STORE_TRADES, (*_columns(keys), *numbers))
    return [keys[number - 1] for (number,) in await cursor.fetchall()]


# The bounds, as constants of the statement, exclude chunks.
STORED_VALUES = """
    SELECT given.number, trades.price, trades.volume
    FROM unnest(%s::text[], %s::timestamptz[], %s::bigint[])
        WITH ORDINALITY AS given (symbol, time, trade_id, number)
    JOIN trades USING (symbol, time, trade_id)
    WHERE trades.time BETWEEN %s AND %s
"""


async def read_stored_values(connection: Connection, keys: Sequence[TradeKey]) -> dict[TradeKey, Values]:
    """Return the stored values of those keys that are stored."""
    times = [key.time for key in keys]
    cursor = await connection.execute(STORED_VALUES, (*_columns(keys), min(times), max(times)), prepare=False)
    return {keys[number - 1]: (price, volume) for number, price, volume in await cursor.fetchall()}


CANCEL_TIMES = """
    SELECT number, changed_at
    FROM (
        SELECT DISTINCT ON (given.number) given.number, action, changed_at
        FROM unnest(%s::text[], %s::timestamptz[], %s::bigint[])
            WITH ORDINALITY AS given (symbol, time, trade_id, number)
        JOIN trade_changes USING (symbol, time, trade_id)
        ORDER BY given.number, id DESC
    ) AS last
    WHERE action = 'cancel'
"""


async def read_cancel_times(connection: Connection, keys: Sequence[TradeKey]) -> dict[TradeKey, datetime]:
    """Return the times at which trades were cancelled, for those keys whose last change is a cancel."""
    cursor = await connection.execute(CANCEL_TIMES, _columns(keys))
    return {keys[number - 1]: changed_at for number, changed_at in await cursor.fetchall()}


def _columns(keys: Sequence[TradeKey]) -> tuple[str, str, str]:
    symbols, times, trade_ids = zip(*keys, strict=True)
    return _array(symbols), _array(times), _array(trade_ids)


def _array(values: Sequence[Any]) -> str:
    """Return values as a PostgreSQL array literal.

    msgspec encodes 10,000 times in 1 ms, psycopg in 38. No symbol has a character that needs to be escaped.
    """
    return f"{{{msgspec.json.encode(values)[1:-1].decode()}}}"


async def write_trades(
    connection: Connection, trades: Mapping[int, TradeIn], future_tolerance: float, *, partial: bool
) -> Outcome:
    """Store trades, by index: all of them, or with `partial` those that can be stored.

    Without `partial`, nothing is stored if the outcome has a rejection. `future_tolerance` is in seconds.
    """
    cancelled: dict[TradeKey, datetime] = {}
    while True:
        try:
            async with connection.transaction():
                outcome = await _write(connection, trades, future_tolerance, cancelled, partial=partial)
                if outcome.rejected and not partial:
                    raise _Rejected(outcome)
        except _Overtaken:
            continue
        except _Rejected as rejected:
            return rejected.outcome
        except CheckViolation as error:
            if error.diag.constraint_name not in ("trades_within_retention", "trades_price_positive"):
                raise
            continue  # the horizon has moved, or a symbol has been changed, since the bounds were read
        return outcome


class _Rejected(Exception):
    """Roll back, because trades were rejected. psycopg's `Rollback` would escape if the connection is lost meanwhile."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self.outcome = outcome


class _Overtaken(Exception):
    """Another transaction cancelled trades while they were being stored: roll back and try again."""


async def _write(
    connection: Connection,
    trades: Mapping[int, TradeIn],
    future_tolerance: float,
    cancelled: dict[TradeKey, datetime],
    *,
    partial: bool,
) -> Outcome:
    """Make one attempt.

    Raises:
        _Overtaken: The attempt has to be repeated. `cancelled` then has the trades to leave out.
    """
    bounds = await read_bounds(connection, sorted({trade.symbol for trade in trades.values()}))
    rejected = _reject_out_of_bounds(trades, bounds, future_tolerance)
    if rejected and not partial:
        return Outcome(0, 0, rejected)
    keys = {
        index: TradeKey(trade.symbol, trade.timestamp, trade.trade_id)
        for index, trade in trades.items()
        if index not in rejected
    }
    firsts: dict[TradeKey, TradeIn] = {}
    for index, key in keys.items():
        if key not in cancelled:
            firsts.setdefault(key, trades[index])
    known: dict[TradeKey, Values] = {}
    if firsts:
        present = await store_trades(connection, firsts)
        if present:
            known = await read_stored_values(connection, present)
        if len(known) < len(present):
            raise _Overtaken  # one was cancelled after it had caused the conflict
        stored = [key for key in firsts if key not in known]
        # Read last: no cancel that is committed later can have made room for these.
        new_cancels = await read_cancel_times(connection, stored) if stored else {}
        if new_cancels:
            cancelled |= new_cancels
            raise _Overtaken
    return _compare(trades, keys, firsts, known, cancelled, rejected)


def _reject_out_of_bounds(trades: Mapping[int, TradeIn], bounds: Bounds, tolerance: float) -> dict[int, InvalidTrade]:
    now, horizon, known = bounds
    limit = FutureLimit(now, tolerance)
    latest = limit.latest
    rejected: dict[int, InvalidTrade] = {}
    for index, trade in trades.items():
        symbol, time = trade.symbol, trade.timestamp
        if symbol not in known:
            detail = f"there is no symbol {symbol}; POST /symbols adds it"
            rejected[index] = InvalidTrade("symbol", detail, "unknown_symbol")
            continue
        is_active, is_signed = known[symbol]
        if not is_active:
            detail = f"{symbol} is not active; PATCH {symbol_path(symbol)} activates it"
            rejected[index] = InvalidTrade("symbol", detail, "inactive_symbol")
        elif not is_signed and trade.price <= 0:
            rejected[index] = unsigned_price(symbol, trade.price)
        elif horizon is not None and time < horizon:
            detail = "is before the retention horizon; trades before it are dropped"
            rejected[index] = InvalidTrade("timestamp", detail, "expired")
        elif time > latest:
            rejected[index] = limit.reject(time)
    return rejected


def _compare(
    trades: Mapping[int, TradeIn],
    keys: Mapping[int, TradeKey],
    firsts: Mapping[TradeKey, TradeIn],
    known: Mapping[TradeKey, Values],
    cancelled: Mapping[TradeKey, datetime],
    rejected: dict[int, InvalidTrade],
) -> Outcome:
    """Compare each trade with the one that is stored under its key now."""
    for index, key in keys.items():
        trade = trades[index]
        reason: RejectionReason = "conflict"
        if key in cancelled:
            detail = f"this trade was cancelled at {rfc3339(cancelled[key])}"
            reason = "cancelled"
        elif key in known and known[key] != (trade.price, trade.volume):
            detail = STORED_DIFFERENTLY.format(*known[key])
        elif key not in known and (trade.price, trade.volume) != (firsts[key].price, firsts[key].volume):
            detail = GIVEN_DIFFERENTLY
        else:
            continue
        rejected[index] = ConflictingTrade("trade_id", detail, reason)
    stored = len(firsts) - len(known)
    return Outcome(stored, len(trades) - len(rejected) - stored, rejected)


STORED_DIFFERENTLY = (
    "the trade with this identity is stored with price {:f} and volume {:f}; POST /trades/correct changes it, and a "
    "trade_id distinguishes trades of one instant"
)
GIVEN_DIFFERENTLY = (
    "an earlier trade of this call has the same identity and another price or volume; a trade_id distinguishes trades of "
    "one instant"
)


# One statement, so that only the lease's holder stores trades. A batch that is stored twice, after a connection was lost
# between the commit and its confirmation, is there once. Inactive symbols get no trades.
STORE_FEED_TRADES = """
    WITH mine AS (
        UPDATE leases
        SET expires_at = clock_timestamp() + make_interval(secs => %s)
        WHERE name = %s AND holder = %s
        RETURNING true
    ), stored AS (
        INSERT INTO trades (time, symbol, trade_id, price, volume)
        SELECT time, symbol, trade_id, price, volume
        FROM unnest(%s::timestamptz[], %s::text[], %s::bigint[], %s::numeric[], %s::numeric[])
            AS trade (time, symbol, trade_id, price, volume)
        WHERE EXISTS (SELECT FROM mine)
            AND NOT EXISTS (SELECT FROM symbols WHERE symbols.symbol = trade.symbol AND NOT active)
        ON CONFLICT (symbol, time, trade_id) DO NOTHING
    )
    SELECT EXISTS (SELECT FROM mine)
"""


async def store_feed_trades(connection: Connection, holder: str, seconds: float, batch: Sequence[FeedTrade]) -> bool:
    """Store a batch and extend the feed's lease; return False and store nothing if another process holds the lease."""
    columns = [list(column) for column in zip(*batch, strict=True)]
    cursor = await connection.execute(STORE_FEED_TRADES, (seconds, FEED_LEASE, holder, *columns))
    row = await cursor.fetchone()
    return bool(row and row[0])
