"""The candles of a symbol with a candle for each bucket in which nothing was traded."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import LiteralString, NamedTuple

from market_data.queries.adjustment import CANDLE_FIGURES, adjustment_parameters, parts_of, rounded_page, stepped_candles_of
from market_data.queries.candles import (
    CANDLE_COLUMNS,
    ORDERS,
    PAGE_SETTLED,
    SETTLED,
    CandleRange,
    Fill,
    aggregate_candles,
    columns_of,
    with_stale,
)
from market_data.queries.intervals import INTERVALS, LENGTHS, STORED, WEEK_START
from market_data.queries.past import AsOf, candles_of, now_of, parameters_of, settled_version_of, version_of
from market_data.queries.prepared import fetch
from market_data.queries.row_pages import (
    BEGINNING,
    ROW_FORMATS,
    Column,
    Connection,
    Order,
    Page,
    RowFormat,
    RowKey,
    page_from_rows,
    page_state,
)

END = datetime(9999, 1, 1, tzinfo=UTC)
FILLS: tuple[Fill, ...] = ("previous", "null")
GAPFILLED: Sequence[LiteralString] = ("bucket", "filled", "trade_count", "write_id", "vwap", "closed", "settled")
"""Columns of a page that an adjustment does not change."""
GAPFILLED_COLUMNS = (*CANDLE_COLUMNS[:-1], Column("filled", "filled", "flag"), CANDLE_COLUMNS[-1])


def close_before(
    interval: LiteralString, *, past: bool, adjusted: bool = False, symbol: LiteralString = "%(symbol)s"
) -> LiteralString:
    """Return the SQL expression of the last close before `start`; null if there is none.

    Weekly candles lead fast to a close far back.
    """
    week: LiteralString = "time_bucket(INTERVAL '168 hours', %(start)s)"
    nearest = candles_of(interval, past=past, adjusted=adjusted, since=week, until="%(start)s", symbol=symbol)
    weekly = candles_of("1w", past=past, adjusted=adjusted, since="'-infinity'", until=week, symbol=symbol)
    return f"""
        coalesce(
            (
                SELECT before.close
                FROM {nearest} AS before
                WHERE before.symbol = {symbol} AND before.bucket >= {week} AND before.bucket < %(start)s
                ORDER BY before.bucket DESC
                LIMIT 1
            ),
            (
                SELECT before.close
                FROM {weekly} AS before
                WHERE before.symbol = {symbol} AND before.bucket < {week}
                ORDER BY before.bucket DESC
                LIMIT 1
            )
        )
    """


def filled_version_of(fill: Fill | None, *, past: bool) -> LiteralString:
    """Return the SQL of the version of an answer, whose prices may come from a candle before `start`."""
    return settled_version_of("%(start)s", past=past) if fill == "previous" else version_of(past=past)


def _close(interval: LiteralString, fill: Fill, *, past: bool, adjusted: bool) -> LiteralString:
    # `locf` evaluates its second argument only if the first bucket of the page is empty.
    before = close_before(interval, past=past, adjusted=adjusted)
    return "max(close)" if fill == "null" else f"locf(max(close), {before})"


def _page(interval: LiteralString, fill: Fill, *, past: bool, adjusted: bool) -> LiteralString:
    source = stepped_candles_of(interval, past=past) if adjusted else candles_of(interval, past=past)
    page: LiteralString = f"""
        SELECT
            bucket, close,
            coalesce(open, close) AS open,
            coalesce(high, close) AS high,
            coalesce(low, close) AS low,
            coalesce(volume, 0) AS volume,
            coalesce(trade_count, 0) AS trade_count, write_id,
            (turnover / nullif(volume, 0))::float8 AS vwap,
            bucket + INTERVAL '{LENGTHS[interval]}' <= {now_of(past=past)} AS closed,
            trade_count IS NULL AS filled,
            {SETTLED[interval]} AS settled
        FROM (
            SELECT
                time_bucket_gapfill(INTERVAL '{LENGTHS[interval]}', candle.bucket, %(start)s, %(end)s) AS bucket,
                max(open) AS open, max(high) AS high, max(low) AS low,
                {_close(interval, fill, past=past, adjusted=adjusted)} AS close,
                max(volume) AS volume, max(turnover) AS turnover, max(trade_count) AS trade_count,
                max(write_id) AS write_id
            FROM {source} AS candle
            WHERE candle.symbol = %(symbol)s AND candle.bucket >= %(start)s AND candle.bucket < %(end)s
            GROUP BY 1
        ) AS gapless
    """
    return rounded_page(page, CANDLE_FIGURES[:-1], GAPFILLED, adjusted=adjusted)


def _statement(
    interval: LiteralString, fill: Fill, order: Order, row_format: RowFormat, *, past: bool, adjusted: bool = False
) -> LiteralString:
    parts = parts_of(adjusted=adjusted, past=past)
    return f"""
        {with_stale(interval, past=past)}{parts.steps}
        SELECT
            {aggregate_candles(row_format, order, GAPFILLED_COLUMNS)}, count(*), count(*) FILTER (WHERE NOT filled),
            {PAGE_SETTLED[interval]}{parts.settled},
            {page_state("sum(page.trade_count)", f"%(end)s + INTERVAL '{LENGTHS[interval]}'")}{parts.state}, sum(close),
            {filled_version_of(fill, past=past)}
        FROM ({_page(interval, fill, past=past, adjusted=adjusted)}) AS page
    """


@lru_cache(1000)
def _adjusted_statement(interval: str, fill: Fill, order: Order, row_format: RowFormat, *, past: bool) -> LiteralString:
    return _statement(STORED[interval], fill, order, row_format, past=past, adjusted=True)


GAPFILLED_CANDLES: Mapping[tuple[bool, str, Fill, Order, RowFormat], LiteralString] = {
    (past, interval, fill, order, row_format): _statement(interval, fill, order, row_format, past=past)
    for past in (False, True)
    for interval in LENGTHS
    for fill in FILLS
    for order in ORDERS
    for row_format in ROW_FORMATS
    if row_format != "arrays"
}
"""By whether the candles are those of a version."""


async def read_gapfilled_candles(
    connection: Connection, candles: CandleRange, limit: int, after: RowKey | None = None, row_format: RowFormat = "json"
) -> Page:
    """Return a candle for each bucket that starts in a range and has begun; with `after`, those that follow that key.

    Only the buckets of the page are queried: their bounds follow from the limit.
    """
    interval, columns = candles.interval, columns_of(row_format, GAPFILLED_COLUMNS)
    first = None
    if candles.start == BEGINNING:
        first = await read_first_bucket(connection, candles.symbol, interval, candles.as_of)
    start, end = _bounds(candles, candles.start if first is None else first.start, limit, after)
    if start >= end:
        return limited_to(first, page_from_rows(row_format, columns, None, 0, limit))
    past, adjustment = parameters_of(candles.as_of), adjustment_parameters(candles.adjustment)
    parameters = {"symbol": candles.symbol, "start": start, "end": end, **past, **adjustment}
    fill = candles.fill or "null"
    statement = GAPFILLED_CANDLES[bool(past), interval, fill, candles.order, row_format]
    if adjustment:
        statement = _adjusted_statement(interval, fill, candles.order, row_format, past=bool(past))
    ((rows, count, stored, settled, state, closes, version),) = await fetch(connection, statement, parameters)
    # The prices of empty buckets may depend on a candle before the range.
    page = page_from_rows(
        row_format,
        columns,
        rows,
        count,
        limit,
        state=(*state, closes),
        from_end=candles.from_end,
        stored=stored,
        settled=settled,
        version=version,
    )
    return limited_to(first, page)


def _bounds(candles: CandleRange, start: datetime, limit: int, after: RowKey | None) -> tuple[datetime, datetime]:
    """Return the start of the first bucket of a page with one more, and the end of its last one."""
    width, order = INTERVALS[candles.interval], candles.reading_order

    def buckets_before(time: datetime) -> int:
        return -((WEEK_START - time) // width)

    first = buckets_before(start)
    beyond = buckets_before(min(candles.end, candles.now))
    if after and order == "asc":
        first = buckets_before(after[0]) + 1
    elif after:
        beyond = min(beyond, buckets_before(after[0]))
    if order == "asc":
        beyond = min(beyond, first + limit + 1)
    else:
        first = max(first, beyond - limit - 1)
    return WEEK_START + first * width, WEEK_START + beyond * width


class FirstBucket(NamedTuple):
    """The bucket with which the candles of a symbol begin."""

    start: datetime
    """END if there is no candle."""
    version: int | None
    """Version at which they begin there; None while candles that are not settled may begin earlier."""


def limited_to(first: FirstBucket | None, page: Page) -> Page:
    """Return a page whose range begins with a bucket that was read before: it is of no version if that has changed since."""
    if first is None or (page.count and page.version == first.version):
        return page
    if page.count:
        return replace(page, version=None)
    settled = page.settled and first.version is not None
    return replace(page, settled=settled, version=first.version if page.version in (None, first.version) else None)


def _first(interval: LiteralString, *, past: bool) -> LiteralString:
    candles = candles_of(interval, past=past)
    return f"""
        SELECT start, {settled_version_of(f"start + INTERVAL '{LENGTHS[interval]}'", past=past)}
        FROM (
            SELECT coalesce(
                (
                    SELECT bucket
                    FROM {candles} AS candle
                    WHERE symbol = %(symbol)s AND bucket >= %(start)s AND bucket < %(end)s
                    ORDER BY bucket
                    LIMIT 1
                ),
                %(end)s
            ) AS start
        ) AS first
    """


FIRST_BUCKET: Mapping[tuple[bool, str], LiteralString] = {
    (past, interval): _first(interval, past=past) for past in (False, True) for interval in LENGTHS
}


async def read_first_bucket(connection: Connection, symbol: str, interval: str, as_of: AsOf | None = None) -> FirstBucket:
    """Return the first bucket of a stored interval. The first week leads fast to it."""
    past = parameters_of(as_of)
    parameters = {"symbol": symbol, "start": BEGINNING, "end": END, **past}
    (row,) = await fetch(connection, FIRST_BUCKET[bool(past), "1w"], parameters, prepare=False)
    week = FirstBucket(*row)
    if week.start == END:
        return week
    parameters |= {"start": week.start, "end": week.start + INTERVALS["1w"]}
    (row,) = await fetch(connection, FIRST_BUCKET[bool(past), interval], parameters, prepare=False)
    first = FirstBucket(*row)
    return first if first.version == week.version else first._replace(version=None)
