"""What stores trades that others send, each of them once.

The functions of a call run in one transaction, each statement on what has been committed when it begins: what another call
with the same trades does at the same time is seen by the statements after it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from psycopg import Rollback
from psycopg.errors import CheckViolation
from psycopg.rows import class_row

from market_data.feed.random_walk import FeedTrade
from market_data.queries.leases import FEED_LEASE
from market_data.queries.row_pages import Connection
from market_data.trade_validation import InvalidTrade, NewTrade

TradeKey = tuple[str, int, int]
"""Symbol, instant in microseconds since 1970, trade_id."""

Values = tuple[Decimal, Decimal]
"""Price and volume."""


def identity(trade: NewTrade) -> TradeKey:
    """What tells a trade apart from all others."""
    return trade.symbol, trade.instant, trade.trade_id


class Bounds(NamedTuple):
    """The database's time, and the oldest one that it takes (None: any), in microseconds since 1970; and the symbols."""

    now: int
    horizon: int | None
    symbols: Mapping[str, bool]
    """Those that were asked for and are known, and whether they are active."""


# The limit would end the storing of old trades into the columnstore, for each of which the neighbours are unpacked.
BOUNDS = """
    SELECT
        (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now,
        (extract(epoch FROM nullif(retention_horizon(), '-infinity')) * 1000000)::bigint AS horizon,
        (SELECT coalesce(json_object_agg(symbol, active), '{}') FROM symbols WHERE symbol = ANY (%s)) AS symbols
    FROM set_config('timescaledb.max_tuples_decompressed_per_dml_transaction', '0', true)
"""


async def bounds(connection: Connection, symbols: Sequence[str]) -> Bounds:
    """The bounds of what may be stored now. Lifts a limit of TimescaleDB for the rest of the transaction."""
    cursor = connection.cursor(binary=True, row_factory=class_row(Bounds))
    await cursor.execute(BOUNDS, (list(symbols),))
    (row,) = await cursor.fetchall()
    return row


# In the order of their identities, so that two calls with the same trades wait for each other, and never in a circle.
STORE_TRADES = """
    WITH given AS MATERIALIZED (
        SELECT symbol, time, trade_id, price, volume, number
        FROM unnest(%s::text[], %s::text[]::timestamptz[], %s::bigint[], %s::text[]::numeric[], %s::text[]::numeric[])
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


async def store_trades(connection: Connection, trades: Sequence[NewTrade]) -> list[NewTrade]:
    """Store trades, of which no two have one identity. Those that were there already, with whatever values."""
    prices, volumes = [trade.price for trade in trades], [trade.volume for trade in trades]
    cursor = await connection.execute(STORE_TRADES, (*_identities(trades), prices, volumes))
    return [trades[int(number) - 1] for (number,) in await cursor.fetchall()]


# The bounds, as constants of the statement, keep it from looking at all chunks.
VALUES_OF = """
    SELECT given.number, trades.price, trades.volume
    FROM unnest(%s::text[], %s::text[]::timestamptz[], %s::bigint[])
        WITH ORDINALITY AS given (symbol, time, trade_id, number)
    JOIN trades USING (symbol, time, trade_id)
    WHERE trades.time BETWEEN %s AND %s
"""


async def values_of(connection: Connection, trades: Sequence[NewTrade]) -> dict[TradeKey, Values]:
    """What is stored under the identities of trades; without those that are not there."""
    bounds = [find(trades, key=lambda trade: trade.instant).time for find in (min, max)]
    cursor = await connection.execute(VALUES_OF, (*_identities(trades), *bounds), prepare=False)
    return {identity(trades[int(number) - 1]): (price, volume) for number, price, volume in await cursor.fetchall()}


CANCELS_OF = """
    SELECT number, changed_at
    FROM (
        SELECT DISTINCT ON (given.number) given.number, action, changed_at
        FROM unnest(%s::text[], %s::text[]::timestamptz[], %s::bigint[])
            WITH ORDINALITY AS given (symbol, time, trade_id, number)
        JOIN trade_changes USING (symbol, time, trade_id)
        ORDER BY given.number, id DESC
    ) AS last
    WHERE action = 'cancel'
"""


async def cancels_of(connection: Connection, trades: Sequence[NewTrade]) -> dict[TradeKey, datetime]:
    """Which of some trades were last cancelled, and when."""
    cursor = await connection.execute(CANCELS_OF, _identities(trades))
    return {identity(trades[int(number) - 1]): changed_at for number, changed_at in await cursor.fetchall()}


def _identities(trades: Sequence[NewTrade]) -> tuple[list[str], list[str], list[int]]:
    """As columns."""
    return [trade.symbol for trade in trades], [trade.time for trade in trades], [trade.trade_id for trade in trades]


class Outcome(NamedTuple):
    """What has become of trades: how many are new, how many were there, and why the others were not stored, by index."""

    stored: int
    existing: int
    rejected: Mapping[int, InvalidTrade]
    """By the index of the trade."""


class ConflictingTrade(InvalidTrade):
    """A trade contradicts what is stored, or what has been cancelled."""


async def write_trades(
    connection: Connection, trades: Mapping[int, NewTrade], future_tolerance: float, *, partial: bool
) -> Outcome:
    """Store trades, by their index: all of them, or with `partial` those that can be.

    Without `partial`, nothing is stored where the outcome has a rejection.
    """
    cancelled: dict[TradeKey, datetime] = {}
    while True:
        try:
            async with connection.transaction():
                outcome = await _write(connection, trades, future_tolerance, cancelled, partial=partial)
                if outcome.rejected and not partial:
                    raise Rollback
        except _Overtaken:
            continue
        except CheckViolation as error:
            if error.diag.constraint_name != "trades_within_retention":
                raise
            continue  # the horizon has moved since it was asked for
        return outcome


class _Overtaken(Exception):
    """Trades were cancelled while they were being stored."""


async def _write(
    connection: Connection,
    trades: Mapping[int, NewTrade],
    future_tolerance: float,
    cancelled: dict[TradeKey, datetime],
    *,
    partial: bool,
) -> Outcome:
    """One attempt.

    Raises:
        _Overtaken: It has to be undone, and made again.
    """
    rejected: dict[int, InvalidTrade] = await _refused(connection, trades, future_tolerance)
    if rejected and not partial:
        return Outcome(0, 0, rejected)
    firsts: dict[TradeKey, NewTrade] = {}
    for index, trade in trades.items():
        if index not in rejected and identity(trade) not in cancelled:
            firsts.setdefault(identity(trade), trade)
    known: dict[TradeKey, Values] = {}
    if firsts:
        candidates = list(firsts.values())
        present = await store_trades(connection, candidates)
        if present:
            known = await values_of(connection, present)
        if len(known) < len(present):
            raise _Overtaken  # one was cancelled after it had been in the way
        stored = [trade for trade in candidates if identity(trade) not in known]
        # Only now: a cancel that was not committed before can't have made room for any of these.
        back = await cancels_of(connection, stored) if stored else {}
        if back:
            cancelled |= back
            raise _Overtaken
    return _outcome(trades, firsts, known, cancelled, rejected)


async def _refused(connection: Connection, trades: Mapping[int, NewTrade], tolerance: float) -> dict[int, InvalidTrade]:
    """Why some of the trades can't be stored, whatever else is."""
    now, horizon, known = await bounds(connection, sorted({trade.symbol for trade in trades.values()}))
    latest = now + tolerance * 1_000_000
    refused: dict[int, InvalidTrade] = {}
    for index, trade in trades.items():
        if trade.symbol not in known:
            refused[index] = InvalidTrade("symbol", f"there is no symbol {trade.symbol}; POST /symbols adds it")
        elif not known[trade.symbol]:
            refused[index] = InvalidTrade(
                "symbol", f"{trade.symbol} is not active; PATCH /symbols/{trade.symbol} activates it"
            )
        elif horizon is not None and trade.instant < horizon:
            refused[index] = InvalidTrade(
                "timestamp", "is beyond the retention horizon, from where trades have been dropped"
            )
        elif trade.instant > latest:
            ahead = (trade.instant - now) / 1_000_000
            refused[index] = InvalidTrade(
                "timestamp", f"is {ahead:,.0f} s ahead of the clock, and FUTURE_TOLERANCE_SECONDS is {tolerance:g}"
            )
    return refused


def _outcome(
    trades: Mapping[int, NewTrade],
    firsts: Mapping[TradeKey, NewTrade],
    known: Mapping[TradeKey, Values],
    cancelled: Mapping[TradeKey, datetime],
    rejected: dict[int, InvalidTrade],
) -> Outcome:
    """Each trade against what is stored now under its identity."""
    stored = existing = 0
    for index, trade in trades.items():
        if index in rejected:
            continue
        key = identity(trade)
        if key in cancelled:
            rejected[index] = ConflictingTrade("trade_id", f"this trade was cancelled at {_shown(cancelled[key])}")
        elif key in known:
            if known[key] == _values(trade):
                existing += 1
            else:
                rejected[index] = ConflictingTrade("trade_id", STORED_OTHERWISE.format(*known[key]))
        elif trade is firsts[key]:
            stored += 1
        elif _values(trade) == _values(firsts[key]):
            existing += 1
        else:
            rejected[index] = ConflictingTrade("trade_id", GIVEN_OTHERWISE)
    return Outcome(stored, existing, rejected)


STORED_OTHERWISE = (
    "the trade with this identity is stored with price {:f} and volume {:f}; POST /trades/correct changes it, and a "
    "trade_id tells apart the trades of one instant"
)
GIVEN_OTHERWISE = (
    "an earlier trade of this call has the same identity and another price or volume; a trade_id tells apart the trades of "
    "one instant"
)


def _values(trade: NewTrade) -> Values:
    return Decimal(trade.price), Decimal(trade.volume)


def _shown(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


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
