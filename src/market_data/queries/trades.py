"""The trades of a symbol, page by page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import LiteralString, NamedTuple

from psycopg.rows import scalar_row

from market_data.queries.adjustment import Adjustment, adjusted_trades_of, adjustment_parameters, parts_of, rounded
from market_data.queries.past import AsOf, parameters_of, version_of
from market_data.queries.prepared import fetch
from market_data.queries.row_pages import (
    READING_ORDERS,
    ROW_FORMATS,
    Column,
    Connection,
    Order,
    Page,
    RowFormat,
    RowKey,
    aggregate_rows,
    json_object,
    page_from_rows,
    page_state,
)


class TradeKey(NamedTuple):
    """Primary key of a trade."""

    symbol: str
    time: datetime
    trade_id: int


@dataclass(frozen=True)
class TradeRange:
    """Trades of a symbol in a half-open range of time."""

    symbol: str
    start: datetime
    end: datetime
    order: Order = "desc"
    from_end: bool = False
    """True to read the newest rows first although they are sorted by rising time."""
    as_of: AsOf | None = None
    adjustment: Adjustment = "raw"

    @property
    def reading_order(self) -> Order:
        """Order in which pages follow each other."""
        return "desc" if self.from_end else self.order


TRADE_COLUMNS = (
    Column("symbol", "symbol", "text"),
    Column("price", "price", "decimal"),
    Column("volume", "volume", "decimal"),
    Column("timestamp", "time", "time"),
    Column("trade_id", "trade_id", "integer"),
)
TRADE_JSON = json_object(TRADE_COLUMNS)

ORDERS: Mapping[Order, LiteralString] = {
    "asc": "time ASC, trade_id ASC",
    "desc": "time DESC, trade_id DESC",
}
# The plain bounds of time stand beside the row comparisons, which alone would not exclude any chunk.
RANGE: LiteralString = """
    symbol = %(symbol)s
        AND time >= %(start)s AND (time, trade_id) >= (%(start)s, %(start_id)s::bigint)
        AND time <= %(end)s AND (time, trade_id) < (%(end)s, %(end_id)s::bigint)
"""


def _rows(order: Order, *, past: bool) -> LiteralString:
    """Return the SQL of the rows of a page and one more, in the order in which they are read."""
    end: LiteralString = f"ORDER BY {ORDERS[order]} LIMIT %(limit)s + 1"
    if not past:
        return f"SELECT symbol, time, trade_id, price, volume, write_id FROM trades WHERE {RANGE} {end}"
    # As past_trades(), but with limits that stop the scans.
    return f"""
        SELECT symbol, time, trade_id, price, volume, write_id
        FROM (
            (
                SELECT symbol, time, trade_id, price, volume, write_id
                FROM trades
                WHERE {RANGE} AND write_id <= (SELECT newest FROM writes)
                    AND write_id <> ALL ((SELECT late FROM writes)::bigint[])
                {end}
            )
            UNION ALL
            (
                SELECT symbol, time, trade_id, price_before, volume_before, write_id_before
                FROM trade_changes
                WHERE {RANGE} AND action <> 'truncate'
                    AND (write_id > (SELECT newest FROM writes) OR write_id = ANY ((SELECT late FROM writes)::bigint[]))
                    AND write_id_before <= (SELECT newest FROM writes)
                    AND write_id_before <> ALL ((SELECT late FROM writes)::bigint[])
                {end}
            )
        ) AS found
        {end}
    """


@lru_cache(100)
def _adjusted_statement(order: Order, reading_order: Order, row_format: RowFormat, *, past: bool) -> LiteralString:
    parts = parts_of(adjusted=True, past=past)
    columns = rounded(("price", "volume"), adjusted=True)
    page = adjusted_trades_of(f"({_rows(reading_order, past=past)})")
    return f"""
        {WRITES if past else "WITH one AS (SELECT 1)"}{parts.steps}
        SELECT
            {aggregate_rows(row_format, TRADE_COLUMNS, ORDERS[order])}, count(*),
            {page_state("count(*)", "%(end)s + INTERVAL '1 microsecond'")}{parts.state},
            CASE WHEN true{parts.settled} THEN {version_of(past=past)} END
        FROM (SELECT symbol, time, trade_id, {columns}, write_id FROM {page} AS exact) AS page
    """


WRITES: LiteralString = "WITH writes AS MATERIALIZED (SELECT * FROM writes_as_of(%(as_of)s, 'infinity'))"

TRADES: Mapping[tuple[bool, Order, Order, RowFormat], LiteralString] = {
    (past, order, reading_order, row_format): f"""
        {WRITES if past else ""}
        SELECT
            {aggregate_rows(row_format, TRADE_COLUMNS, ORDERS[order])}, count(*),
            {page_state("count(*)", "%(end)s + INTERVAL '1 microsecond'")}, {version_of(past=past)}
        FROM ({_rows(reading_order, past=past)}) AS page
    """
    for past in (False, True)
    for order, reading_order in READING_ORDERS
    for row_format in ROW_FORMATS
}
"""By whether the rows are those of a version."""


def _statement(trades: TradeRange, row_format: RowFormat) -> LiteralString:
    order, reading_order, past = trades.order, trades.reading_order, bool(trades.as_of)
    if trades.adjustment == "raw":
        return TRADES[past, order, reading_order, row_format]
    return _adjusted_statement(order, reading_order, row_format, past=past)


async def read_trades(
    connection: Connection, trades: TradeRange, limit: int, after: RowKey | None = None, row_format: RowFormat = "json"
) -> Page:
    """Return trades of a range; with `after`, those that follow that key in the order of the range.

    Raises:
        psycopg.DatabaseError: Trades of the version have been dropped (`past.translate_error`).
    """
    end = trades.as_of.clipped_end(trades.start, trades.end) if trades.as_of else trades.end
    first, beyond = (trades.start, MIN_ID), (end, MIN_ID)
    order = trades.reading_order
    if after and order == "asc":
        first = _next(after)
    elif after:
        beyond = after
    for from_key, to_key in _windows(first, beyond, order):
        parameters = {
            "symbol": trades.symbol,
            "start": from_key[0],
            "start_id": from_key[1],
            "end": to_key[0],
            "end_id": to_key[1],
            "limit": limit,
            **parameters_of(trades.as_of),
            **adjustment_parameters(trades.adjustment),
        }
        # Not prepared: a generic plan would visit every chunk, however few are read.
        statement = _statement(trades, row_format)
        ((rows, count, state, version),) = await fetch(connection, statement, parameters, prepare=False)
        if count > limit or (from_key, to_key) == (first, beyond):
            page = page_from_rows(
                row_format, TRADE_COLUMNS, rows, count, limit, state=state, from_end=trades.from_end, version=version
            )
            if trades.as_of:
                reached = page.last[0] if page.last and order == "desc" else first[0]
                await connection.execute(REQUIRE_KEPT, (trades.as_of.version, reached), prepare=True)
            return page
    raise AssertionError("the last window is the whole range")


REQUIRE_KEPT = "SELECT newest FROM writes_as_of(%s, %s)"
"""Fails if trades since a time, as of a version, have been dropped."""

WINDOWS = (timedelta(days=8), timedelta(days=60), timedelta(days=500))


def _windows(first: RowKey, beyond: RowKey, order: Order) -> Iterator[tuple[RowKey, RowKey]]:
    """Yield growing parts of a range, from its near end, and at last the whole range.

    Planning costs 0.1 ms for each chunk, read or not, so the first page of a history of years would become slower every
    week.
    """
    for width in WINDOWS:
        if beyond[0] - first[0] > 2 * width:
            near = first[0] + width if order == "asc" else beyond[0] - width
            yield (first, (near, MIN_ID)) if order == "asc" else ((near, MIN_ID), beyond)
    yield first, beyond


MIN_ID, MAX_ID = -(2**63), 2**63 - 1


def _next(key: RowKey) -> RowKey:
    """Return the lowest key above this one."""
    time, trade_id = key
    return (time, trade_id + 1) if trade_id < MAX_ID else (time + timedelta(microseconds=1), MIN_ID)


# The constant bounds of time exclude chunks from the plan; the row's own time alone would leave all of them in it.
RANKS = """
    SELECT (
        SELECT count(*)
        FROM trades
        WHERE trades.symbol = given.symbol AND trades.time = given.time AND trades.trade_id < given.trade_id
            AND trades.time >= %(first)s AND trades.time <= %(last)s
    )
    FROM unnest(%(symbols)s::text[], %(times)s::timestamptz[], %(trade_ids)s::bigint[])
        WITH ORDINALITY AS given (symbol, time, trade_id, number)
    ORDER BY number
"""


async def read_ranks(connection: Connection, keys: Sequence[TradeKey]) -> list[int]:
    """Return the rank of each key: the number of trades of the same symbol and time with a lower `trade_id`."""
    if not keys:
        return []
    symbols, times, trade_ids = map(list, zip(*keys, strict=True))
    parameters = {"symbols": symbols, "times": times, "trade_ids": trade_ids, "first": min(times), "last": max(times)}
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(RANKS, parameters, prepare=False)
    return await cursor.fetchall()


TRADE_OF_RANK = """
    SELECT trade_id
    FROM trades
    WHERE symbol = %s AND time = %s
    ORDER BY trade_id
    LIMIT 1 OFFSET %s
"""


async def read_trade_of_rank(connection: Connection, symbol: str, time: datetime, rank: int) -> int | None:
    """Return the `trade_id` that has a rank within an instant; None if the instant has fewer trades."""
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(TRADE_OF_RANK, (symbol, time, rank), prepare=False)
    return await cursor.fetchone()
