"""The trades of a symbol, page by page."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import LiteralString, NamedTuple

from market_data.queries.row_pages import (
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
TRADES: Mapping[tuple[Order, RowFormat], LiteralString] = {
    (order, row_format): f"""
        SELECT {aggregate_rows(row_format, TRADE_COLUMNS, order_by)}, count(*)
        FROM (
            SELECT symbol, time, trade_id, price, volume
            FROM trades
            WHERE symbol = %(symbol)s
                AND time >= %(start)s AND (time, trade_id) >= (%(start)s, %(start_id)s::bigint)
                AND time <= %(end)s AND (time, trade_id) < (%(end)s, %(end_id)s::bigint)
            ORDER BY {order_by}
            LIMIT %(limit)s + 1
        ) AS page
    """
    for order, order_by in ORDERS.items()
    for row_format in ROW_FORMATS
}


async def read_trades(
    connection: Connection, trades: TradeRange, limit: int, after: RowKey | None = None, row_format: RowFormat = "json"
) -> Page:
    """Return trades of a range; with `after`, those that follow that key in the order of the range."""
    first, beyond = (trades.start, MIN_ID), (trades.end, MIN_ID)
    if after and trades.order == "asc":
        first = _next(after)
    elif after:
        beyond = after
    cursor = connection.cursor(binary=True)
    for from_key, to_key in _windows(first, beyond, trades.order):
        parameters = {
            "symbol": trades.symbol,
            "start": from_key[0],
            "start_id": from_key[1],
            "end": to_key[0],
            "end_id": to_key[1],
            "limit": limit,
        }
        # Not prepared: a generic plan would visit every chunk, however few are read.
        await cursor.execute(TRADES[trades.order, row_format], parameters, prepare=False)
        ((rows, count),) = await cursor.fetchall()
        if count > limit or (from_key, to_key) == (first, beyond):
            return page_from_rows(row_format, TRADE_COLUMNS, rows, count, limit)
    raise AssertionError("the last window is the whole range")


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
