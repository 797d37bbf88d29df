"""The trades of a symbol, page by page."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import LiteralString

from market_data.queries.row_pages import (
    Column,
    Connection,
    KeyReaders,
    Order,
    Page,
    RowFormat,
    RowKey,
    csv_time,
    cut,
    packed_key,
)

TRADE_JSON: LiteralString = """
    '{"symbol":"' || symbol
    || '","price":' || trim_scale(price)
    || ',"volume":' || trim_scale(volume)
    || ',"timestamp":"'
    || replace(to_char(time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000Z', 'Z')
    || '","trade_id":' || trade_id || '}'
"""

# Each for all rows of `page`, in an order. Without the quotes that `to_json` puts around a time.
ROWS: Mapping[RowFormat, tuple[LiteralString, LiteralString]] = {
    "json": (f"string_agg({TRADE_JSON}, ','", ")"),
    "csv": (
        """
        replace(string_agg(
            concat_ws(
                ',', symbol, trim_scale(price), trim_scale(volume), to_json(time AT TIME ZONE 'UTC') || 'Z', trade_id
            ) || E'\\n',
            ''
        """,
        "), '\"', '')",
    ),
    "packed": (
        """
        string_agg(
            timestamptz_send(time) || int8send(trade_id) || float8send(price::float8) || float8send(volume::float8),
            ''
        """,
        ")",
    ),
}
PACKED_TRADE: Mapping[str, Column] = {
    "timestamp": "time",
    "trade_id": "integer",
    "price": "number",
    "volume": "number",
}
"""The columns of a packed trade."""

ORDERS: Mapping[Order, LiteralString] = {
    "asc": "time ASC, trade_id ASC",
    "desc": "time DESC, trade_id DESC",
}
# The plain bounds of time stand beside the comparisons of rows, which alone would not exclude any chunk.
TRADES: Mapping[tuple[Order, RowFormat], LiteralString] = {
    (order, form): f"""
        SELECT {begin} ORDER BY {by} {end}, count(*)
        FROM (
            SELECT symbol, time, trade_id, price, volume
            FROM trades
            WHERE symbol = %(symbol)s
                AND time >= %(start)s AND (time, trade_id) >= (%(start)s, %(start_id)s::bigint)
                AND time <= %(end)s AND (time, trade_id) < (%(end)s, %(end_id)s::bigint)
            ORDER BY {by}
            LIMIT %(limit)s + 1
        ) AS page
    """
    for order, by in ORDERS.items()
    for form, (begin, end) in ROWS.items()
}


async def read_trades(
    connection: Connection,
    symbol: str,
    start: datetime,
    end: datetime,
    limit: int,
    *,
    order: Order = "desc",
    after: RowKey | None = None,
    form: RowFormat = "json",
) -> Page:
    """Trades of a symbol in a range; with `after`, those that follow that one in this order."""
    first, beyond = (start, LOWEST_ID), (end, LOWEST_ID)
    if after and order == "asc":
        first = _next(after)
    elif after:
        beyond = after
    cursor = connection.cursor(binary=True)
    for from_key, to_key in _windows(first, beyond, order):
        parameters = {
            "symbol": symbol,
            "start": from_key[0],
            "start_id": from_key[1],
            "end": to_key[0],
            "end_id": to_key[1],
            "limit": limit,
        }
        # Not prepared: a plan for all parameters would look at every chunk, however few are read.
        await cursor.execute(TRADES[order, form], parameters, prepare=False)
        ((rows, count),) = await cursor.fetchall()
        if count > limit or (from_key, to_key) == (first, beyond):
            return cut(form, rows, count, count, limit, KEY)
    raise AssertionError("the last window is the whole range")


WINDOWS = (timedelta(days=8), timedelta(days=60), timedelta(days=500))


def _windows(first: RowKey, beyond: RowKey, order: Order) -> Iterator[tuple[RowKey, RowKey]]:
    """Where to look for a page: at the near end of a range at first, and farther while too little is found there.

    To plan for a chunk costs a tenth of a millisecond whether it is read or not, so the first page of a history of years
    would cost more with every week.
    """
    for width in WINDOWS:
        if beyond[0] - first[0] > 2 * width:
            near = first[0] + width if order == "asc" else beyond[0] - width
            yield (first, (near, LOWEST_ID)) if order == "asc" else ((near, LOWEST_ID), beyond)
    yield first, beyond


LOWEST_ID, HIGHEST_ID = -(2**63), 2**63 - 1


def _next(key: RowKey) -> RowKey:
    """The lowest key above one."""
    time, trade_id = key
    return (time, trade_id + 1) if trade_id < HIGHEST_ID else (time + timedelta(microseconds=1), LOWEST_ID)


def _csv_key(line: str) -> RowKey:
    *_, time, trade_id = line.split(",")
    return csv_time(time), int(trade_id)


KEY = KeyReaders(_csv_key, packed_key)
