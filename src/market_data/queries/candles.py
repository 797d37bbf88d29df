"""The candles of a symbol, page by page."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import LiteralString

from market_data.queries.intervals import INTERVALS, LENGTHS
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

CANDLE_FIELDS: LiteralString = """
    '"timestamp":"' || to_char(bucket AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
    || '","open":' || coalesce(trim_scale(open)::text, 'null')
    || ',"high":' || coalesce(trim_scale(high)::text, 'null')
    || ',"low":' || coalesce(trim_scale(low)::text, 'null')
    || ',"close":' || coalesce(trim_scale(close)::text, 'null')
    || ',"volume":' || trim_scale(volume)
    || ',"vwap":' || coalesce(vwap::text, 'null')
    || ',"trade_count":' || trade_count
"""
"""The members of a candle's JSON object, all but `closed`."""

# Each for all rows of `page`, in an order, and with a place for a further column.
JSON: LiteralString = f"""
    '{{' || {CANDLE_FIELDS} || ',"closed":' || closed
"""
CSV: LiteralString = """
    concat_ws(
        ',', %(symbol)s::text, to_json(bucket AT TIME ZONE 'UTC') || 'Z', coalesce(trim_scale(open)::text, ''),
        coalesce(trim_scale(high)::text, ''), coalesce(trim_scale(low)::text, ''), coalesce(trim_scale(close)::text, ''),
        trim_scale(volume), coalesce(vwap::text, ''), trade_count, closed::text
    )
"""
PACKED: LiteralString = """
    timestamptz_send(bucket) || int8send(trade_count)
    || float8send(coalesce(open, 'NaN')::float8) || float8send(coalesce(high, 'NaN')::float8)
    || float8send(coalesce(low, 'NaN')::float8) || float8send(coalesce(close, 'NaN')::float8)
    || float8send(volume::float8) || float8send(coalesce(vwap, 'NaN')) || boolsend(closed)
"""
PACKED_CANDLE: Mapping[str, Column] = {
    "timestamp": "time",
    "trade_count": "integer",
    "open": "number",
    "high": "number",
    "low": "number",
    "close": "number",
    "volume": "number",
    "vwap": "number",
    "closed": "flag",
}
"""The columns of a packed candle."""
PACKED_FILLED_CANDLE: Mapping[str, Column] = {**PACKED_CANDLE, "filled": "flag"}

ORDERS: Mapping[Order, LiteralString] = {"asc": "ASC", "desc": "DESC"}


def rows(form: RowFormat, order: Order, *, filled: bool = False) -> LiteralString:
    """The expression that writes all rows of `page`."""
    by: LiteralString = f"ORDER BY bucket {ORDERS[order]}"
    match form, filled:
        case "json", False:
            return f"string_agg({JSON} || '}}', ',' {by})"
        case "json", _:
            return f"string_agg({JSON} || ',\"filled\":' || filled || '}}', ',' {by})"
        case "csv", False:
            return f"replace(string_agg({CSV} || E'\\n', '' {by}), '\"', '')"
        case "csv", _:
            return f"replace(string_agg({CSV} || ',' || filled || E'\\n', '' {by}), '\"', '')"
        case _, False:
            return f"string_agg({PACKED}, '' {by})"
        case _:
            return f"string_agg({PACKED} || boolsend(filled), '' {by})"


FORMS: tuple[RowFormat, ...] = ("json", "csv", "packed")

CANDLES: Mapping[tuple[str, Order, RowFormat], LiteralString] = {
    (interval, order, form): f"""
        SELECT {rows(form, order)}, count(*)
        FROM (
            SELECT
                bucket, open, high, low, close, volume, trade_count,
                (turnover / nullif(volume, 0))::float8 AS vwap,
                bucket + INTERVAL '{length}' <= now() AS closed
            FROM candles_{interval}
            WHERE symbol = %(symbol)s AND bucket >= %(start)s AND bucket < %(end)s
            ORDER BY bucket {direction}
            LIMIT %(limit)s + 1
        ) AS page
    """
    for interval, length in LENGTHS.items()
    for order, direction in ORDERS.items()
    for form in FORMS
}


# Sorted at the top level, where TimescaleDB reads a view's chunks in order and stops in time. In CANDLES, as in any
# subquery, it reads and sorts the whole range: over a year of minutes 400 ms against one.
CANDLE_BOUND: Mapping[tuple[str, Order], LiteralString] = {
    (interval, order): f"""
        SELECT bucket
        FROM candles_{interval}
        WHERE symbol = %(symbol)s AND bucket >= %(start)s AND bucket < %(end)s
        ORDER BY bucket {direction}
        LIMIT 1 OFFSET %(limit)s
    """
    for interval in LENGTHS
    for order, direction in ORDERS.items()
}


async def read_candles(
    connection: Connection,
    symbol: str,
    interval: str,
    start: datetime,
    end: datetime,
    limit: int,
    *,
    order: Order = "asc",
    after: RowKey | None = None,
    form: RowFormat = "json",
) -> Page:
    """Candles of a symbol whose buckets start in a range; with `after`, those that follow that one in this order.

    First looked for where they are if no bucket is empty, then in as much of the range as it takes.
    """
    if after and order == "asc":
        start = after[0] + timedelta(microseconds=1)
    elif after:
        end = after[0]
    cursor = connection.cursor(binary=True)

    async def read(start: datetime, end: datetime, *, prepare: bool = True) -> Page:
        parameters = {"symbol": symbol, "start": start, "end": end, "limit": limit}
        await cursor.execute(CANDLES[interval, order, form], parameters, prepare=prepare)
        ((page, count),) = await cursor.fetchall()
        return cut(form, page, count, count, limit, KEY)

    reach = (limit + 1) * INTERVALS[interval]
    if end - start <= reach:
        return await read(start, end)
    page = await (read(start, start + reach) if order == "asc" else read(end - reach, end))
    if page.last:
        return page
    parameters = {"symbol": symbol, "start": start, "end": end, "limit": limit}
    # Neither is prepared: a plan for any symbol and range would sort this one as well, and go through the minutes of all
    # symbols for one that has none (a second for a million, against 7 ms).
    await cursor.execute(CANDLE_BOUND[interval, order], parameters, prepare=False)
    for (bound,) in await cursor.fetchall():
        start, end = (start, bound + timedelta(microseconds=1)) if order == "asc" else (bound, end)
    return await read(start, end, prepare=False)


def _csv_key(line: str) -> RowKey:
    return csv_time(line.split(",", 2)[1]), 0


def _packed_key(row: bytes) -> RowKey:
    return packed_key(row)[0], 0


KEY = KeyReaders(_csv_key, _packed_key)
