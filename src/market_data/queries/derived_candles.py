"""Candles of intervals that are not stored: computed at read time from the candles of a finer one, or from trades."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import LiteralString, NamedTuple
from zoneinfo import ZoneInfo

from market_data.queries.adjustment import (
    CANDLE_FIGURES,
    adjusted_trades_of,
    adjustment_parameters,
    parts_of,
    rounded_page,
    stepped_candles_of,
)
from market_data.queries.candles import (
    CANDLE_COLUMNS,
    ORDERS,
    CandleRange,
    Fill,
    aggregate_candles,
    columns_of,
    with_stale,
)
from market_data.queries.gapfilled_candles import (
    GAPFILLED,
    GAPFILLED_COLUMNS,
    close_before,
    filled_version_of,
    limited_to,
    read_first_bucket,
)
from market_data.queries.intervals import Derived, bucket_start, derived, next_bucket
from market_data.queries.past import candles_of, now_of, parameters_of
from market_data.queries.row_pages import (
    BEGINNING,
    Connection,
    Order,
    Page,
    RowFormat,
    RowKey,
    page_from_rows,
    page_state,
)

FUTURE = timedelta(days=366)
"""Trades dated further ahead are in no bucket of a calendar."""

EARLIEST = BEGINNING + timedelta(days=400)
"""Earlier buckets may start before the first time that Python knows."""

FIGURES: LiteralString = "open, high, low, close, volume, turnover, trade_count, write_id"
"""Columns of a stored candle that the following expressions compute, in the same order."""

FROM_TRADES: LiteralString = """
    first(price, time ORDER BY trade_id) AS open,
    max(price) AS high,
    min(price) AS low,
    last(price, time ORDER BY trade_id DESC) AS close,
    sum(volume) AS volume,
    sum(price * volume) AS turnover,
    count(*) AS trade_count,
    max(write_id) AS write_id
"""
FROM_CANDLES: LiteralString = """
    first(open, source.bucket) AS open,
    max(high) AS high,
    min(low) AS low,
    last(close, source.bucket) AS close,
    sum(volume) AS volume,
    sum(turnover) AS turnover,
    sum(trade_count)::bigint AS trade_count,
    max(write_id) AS write_id
"""


def _trades(since: LiteralString, *, past: bool, adjusted: bool = False) -> LiteralString:
    trades: LiteralString = f"trades_as_of(%(as_of)s, {since})" if past else "trades"
    return adjusted_trades_of(trades) if adjusted else trades


HOUR_BEFORE: LiteralString = "%(start)s - INTERVAL '1 hour'"


def _price_before(*, past: bool, adjusted: bool) -> LiteralString:
    """Return the SQL expression of the last price before `start`.

    The price of the newest trade stands first, because the minute of the first bucket may have begun before it.
    """
    return f"""
        coalesce(
            (
                SELECT price
                FROM {_trades(HOUR_BEFORE, past=past, adjusted=adjusted)} AS trade
                WHERE symbol = %(symbol)s AND time >= {HOUR_BEFORE} AND time < %(start)s
                ORDER BY time DESC, trade_id DESC
                LIMIT 1
            ),
            {close_before("1m", past=past, adjusted=adjusted)}
        )
    """


def _source(derived: Derived, *, past: bool, adjusted: bool) -> LiteralString:
    if derived.source == "trades":
        return _trades("%(start)s", past=past, adjusted=adjusted)
    if adjusted:
        return stepped_candles_of(derived.source, past=past, until="%(until)s")
    return candles_of(derived.source, past=past, until="%(until)s")


def _grouped(derived: Derived, *, past: bool, adjusted: bool) -> LiteralString:
    """Return the SQL of all candles whose buckets lie between `start` and `until`."""
    trades = derived.source == "trades"
    table = _source(derived, past=past, adjusted=adjusted)
    time: LiteralString = "source.time" if trades else "source.bucket"
    bucket: LiteralString = f"time_bucket(INTERVAL '{derived.length}', {time})"
    end: LiteralString = f"{bucket} + INTERVAL '{derived.length}'"
    if derived.is_calendar:
        number: LiteralString = f"width_bucket({time}, %(buckets)s::timestamptz[])"
        bucket, end = f"(%(buckets)s::timestamptz[])[{number}]", f"(%(buckets)s::timestamptz[])[{number} + 1]"
    return f"""
        SELECT {bucket} AS bucket, {end} AS bucket_end, {FROM_TRADES if trades else FROM_CANDLES}
        FROM {table} AS source
        WHERE source.symbol = %(symbol)s AND {time} >= %(start)s AND {time} < %(until)s
        GROUP BY 1, 2
    """


@lru_cache(1000)
def _statement(
    derived: Derived,
    fill: Fill | None,
    order: Order,
    reading_order: Order,
    row_format: RowFormat,
    *,
    past: bool,
    adjusted: bool,
) -> LiteralString:
    columns = CANDLE_COLUMNS if fill is None else GAPFILLED_COLUMNS
    candles = _grouped(derived, past=past, adjusted=adjusted)
    if fill is not None:
        candles = _gapfilled(derived, fill, candles, past=past, adjusted=adjusted)
    parts = parts_of(adjusted=adjusted, past=past, since=HOUR_BEFORE if derived.source == "trades" else "%(start)s")
    page = page_of(candles, fill, reading_order, past=past)
    return f"""
        {with_stale(derived.source, past=past or derived.source == "trades")}{parts.steps}
        SELECT
            {aggregate_candles(row_format, order, columns)}, count(*), count(*) FILTER (WHERE NOT filled),
            NOT tstzrange(%(start)s, %(until)s) && (SELECT times FROM stale){parts.settled},
            {page_state("sum(page.trade_count)", "%(until)s")}{parts.state}, CASE WHEN bool_or(filled) THEN sum(close) END,
            {filled_version_of(fill, past=past)}
        FROM ({rounded_page(page, CANDLE_FIGURES, GAPFILLED, adjusted=adjusted)}) AS page
    """


def _gapfilled(derived: Derived, fill: Fill, candles: LiteralString, *, past: bool, adjusted: bool) -> LiteralString:
    before = close_before(derived.source, past=past, adjusted=adjusted)
    if derived.source == "trades":
        before = _price_before(past=past, adjusted=adjusted)
    buckets: LiteralString = "unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[])"
    return gapfilled(candles, fill, before, buckets, ("bucket_end",))


def gapfilled(
    candles: LiteralString, fill: Fill, before: LiteralString, buckets: LiteralString, bounds: Sequence[LiteralString]
) -> LiteralString:
    """Return the SQL of candles with one for each bucket, whose columns are `bucket` and its `bounds`.

    `before` is the SQL of the last price before the first bucket.
    """
    comma: LiteralString = ", "
    columns = comma.join(["bucket", *bounds])
    previous: LiteralString = f"""
        CASE number WHEN 0 THEN {before} ELSE first_value(close) OVER (PARTITION BY number ORDER BY bucket) END
    """
    close: LiteralString = previous if fill == "previous" else "close"
    return f"""
        SELECT
            {columns}, close,
            coalesce(open, close) AS open, coalesce(high, close) AS high, coalesce(low, close) AS low,
            coalesce(volume, 0) AS volume, turnover, coalesce(trade_count, 0) AS trade_count, write_id,
            trade_count IS NULL AS filled
        FROM (
            SELECT {columns}, open, high, low, {close} AS close, volume, turnover, trade_count, write_id
            FROM (
                SELECT
                    {comma.join([f"gapless.{column}" for column in ("bucket", *bounds)])},
                    open, high, low, close, volume, turnover, trade_count, write_id,
                    count(close) OVER (ORDER BY gapless.bucket) AS number
                FROM {buckets} AS gapless ({columns})
                LEFT JOIN ({candles}) AS stored ON stored.bucket = gapless.bucket
            ) AS numbered
        ) AS closed
    """


def page_of(
    candles: LiteralString, fill: Fill | None, reading_order: Order, *, past: bool, start: LiteralString = "bucket"
) -> LiteralString:
    """Return the SQL of the rows of a page and one more, whose buckets go from the column `start` to `bucket_end`."""
    return f"""
        SELECT
            bucket, open, high, low, close, volume, turnover, trade_count, write_id,
            (turnover / nullif(volume, 0))::float8 AS vwap,
            bucket_end <= {now_of(past=past)} AS closed,
            {"false" if fill is None else "filled"} AS filled,
            NOT tstzrange({start}, bucket_end) && (SELECT times FROM stale) AS settled
        FROM ({candles}) AS candle
        ORDER BY bucket {ORDERS[reading_order]}
        LIMIT %(limit)s + 1
    """


class _Window(NamedTuple):
    """Part of a range, from the start of a bucket to the end of one."""

    start: datetime
    until: datetime
    buckets: Sequence[datetime]
    """Starts of its buckets and the end of the last one; empty if the statement computes them."""


async def read_derived_candles(
    connection: Connection, candles: CandleRange, limit: int, after: RowKey | None = None, row_format: RowFormat = "json"
) -> Page:
    """Return candles of a range; with `after`, those that follow that key in the order of the range.

    Reads growing parts of the range, from its near end, until one has enough candles.
    """
    columns = columns_of(row_format, CANDLE_COLUMNS if candles.fill is None else GAPFILLED_COLUMNS)
    how = derived(candles.interval, candles.tz, candles.start, min(candles.end, candles.now + FUTURE))
    if how is None:
        raise ValueError(f"{candles.interval} is stored")
    first = None
    if how.is_calendar or (candles.fill and candles.start == BEGINNING):
        source = "1m" if how.source == "trades" else how.source
        first = await read_first_bucket(connection, candles.symbol, source, candles.as_of)
    start, end = _bounds(candles, None if first is None else first.start, after)
    cursor = connection.cursor(binary=True)
    past, adjustment = parameters_of(candles.as_of), adjustment_parameters(candles.adjustment)
    orders = candles.order, candles.reading_order
    statement = _statement(how, candles.fill, *orders, row_format, past=bool(past), adjusted=bool(adjustment))
    page = page_from_rows(row_format, columns, None, 0, limit)
    for window in _windows(candles, how, start, end, limit):
        parameters = {
            "symbol": candles.symbol,
            "start": window.start,
            "until": window.until,
            "limit": limit,
            "buckets": window.buckets,
            "starts": window.buckets[:-1],
            "ends": window.buckets[1:],
            **past,
            **adjustment,
        }
        await cursor.execute(statement, parameters, prepare=False)
        ((rows, count, stored, settled, state, closes, version),) = await cursor.fetchall()
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
        if page.has_more:
            break
    return limited_to(first, page)


def _bounds(candles: CandleRange, first: datetime | None, after: RowKey | None) -> tuple[datetime, datetime]:
    """Return the bounds of the rest of a range, without times at which there can't be a candle."""
    now = candles.now
    start, end = max(candles.start, EARLIEST), min(candles.end, now + FUTURE)
    if first:
        start = end if first >= end else max(start, bucket_start(first, candles.interval, candles.tz))
    if candles.fill:
        end = min(end, now)
    if after and candles.reading_order == "asc":
        start = next_bucket(after[0], candles.interval, candles.tz)
    elif after:
        end = after[0]
    return start, end


GROWTH = (1, 8, 64)
"""Sizes of the parts of a range, in pages."""


def _windows(candles: CandleRange, how: Derived, start: datetime, end: datetime, limit: int) -> Iterator[_Window]:
    """Yield growing parts of a range, from its near end, and at last the whole range."""
    interval, tz = candles.interval, candles.tz
    start, until = _first_bucket(start, interval, tz), _first_bucket(end, interval, tz)
    if start >= until:
        return
    ascending = candles.reading_order == "asc"
    if not candles.fill and not how.is_calendar:
        for size in GROWTH:
            width = size * (limit + 1) * how.width
            if until - start > 2 * width:
                yield _Window(start, start + width, ()) if ascending else _Window(until - width, until, ())
        yield _Window(start, until, ())
        return
    page = (limit + 1) * how.width
    if candles.fill and not how.is_calendar:
        # Each bucket of the page has a row, so one part is enough.
        start, until = (start, min(until, start + page)) if ascending else (max(start, until - page), until)
    buckets = [start]
    while buckets[-1] < until:
        buckets.append(next_bucket(buckets[-1], interval, tz))
    for size in GROWTH:
        if len(buckets) > 2 * size * (limit + 1):
            near = buckets[: size * (limit + 1) + 1] if ascending else buckets[-size * (limit + 1) - 1 :]
            yield _Window(near[0], near[-1], near)
    yield _Window(start, until, buckets)


def _first_bucket(time: datetime, interval: str, tz: ZoneInfo | None) -> datetime:
    """Return the start of the first bucket that starts at or after a time."""
    start = bucket_start(time, interval, tz)
    return start if start == time else next_bucket(start, interval, tz)
