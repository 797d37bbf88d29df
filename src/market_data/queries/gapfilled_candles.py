"""The candles of a symbol with those of the buckets in which nothing was traded."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal, LiteralString

from market_data.queries.candles import FORMS, KEY, rows
from market_data.queries.intervals import INTERVALS, LENGTHS, WEEK_START
from market_data.queries.row_pages import Connection, Order, Page, RowFormat, RowKey, cut

Fill = Literal["previous", "null"]
"""What the candle of an empty bucket has for prices: the close before it, or none."""

# Weeks lead fast to a close that lies far back; `locf` asks only where the first bucket of the page is an empty one.
CLOSES: Mapping[tuple[LiteralString, Fill], LiteralString] = {
    (interval, fill): (
        "max(close)"
        if fill == "null"
        else f"""
            locf(max(close), coalesce(
                (
                    SELECT before.close
                    FROM candles_{interval} AS before
                    WHERE before.symbol = %(symbol)s
                        AND before.bucket >= time_bucket(INTERVAL '168 hours', %(start)s)
                        AND before.bucket < %(start)s
                    ORDER BY before.bucket DESC
                    LIMIT 1
                ),
                (
                    SELECT before.close
                    FROM candles_1w AS before
                    WHERE before.symbol = %(symbol)s
                        AND before.bucket < time_bucket(INTERVAL '168 hours', %(start)s)
                    ORDER BY before.bucket DESC
                    LIMIT 1
                )
            ))
        """
    )
    for interval in LENGTHS
    for fill in ("previous", "null")
}
ORDERS: tuple[Order, ...] = ("asc", "desc")
GAPFILLED_CANDLES: Mapping[tuple[str, Fill, Order, RowFormat], LiteralString] = {
    (interval, fill, order, form): f"""
        SELECT {rows(form, order, filled=True)}, count(*), count(*) FILTER (WHERE NOT filled)
        FROM (
            SELECT
                bucket, close,
                coalesce(open, close) AS open,
                coalesce(high, close) AS high,
                coalesce(low, close) AS low,
                coalesce(volume, 0) AS volume,
                coalesce(trade_count, 0) AS trade_count,
                (turnover / nullif(volume, 0))::float8 AS vwap,
                bucket + INTERVAL '{LENGTHS[interval]}' <= now() AS closed,
                trade_count IS NULL AS filled
            FROM (
                SELECT
                    time_bucket_gapfill(INTERVAL '{LENGTHS[interval]}', candle.bucket, %(start)s, %(end)s) AS bucket,
                    max(open) AS open, max(high) AS high, max(low) AS low, {close} AS close,
                    max(volume) AS volume, max(turnover) AS turnover, max(trade_count) AS trade_count
                FROM candles_{interval} AS candle
                WHERE candle.symbol = %(symbol)s AND candle.bucket >= %(start)s AND candle.bucket < %(end)s
                GROUP BY 1
            ) AS gapless
        ) AS page
    """
    for (interval, fill), close in CLOSES.items()
    for order in ORDERS
    for form in FORMS
}


async def read_gapfilled_candles(
    connection: Connection,
    symbol: str,
    interval: str,
    start: datetime,
    end: datetime,
    limit: int,
    *,
    fill: Fill,
    order: Order = "asc",
    after: RowKey | None = None,
    form: RowFormat = "json",
) -> Page:
    """A candle for each bucket that starts in a range and has begun; with `after`, those that follow in this order.

    The database is asked for the buckets of the page only, whose bounds are known before.
    """
    width = INTERVALS[interval]

    def buckets_before(time: datetime) -> int:
        return -((WEEK_START - time) // width)

    first = buckets_before(start)
    beyond = min(buckets_before(end), buckets_before(datetime.now(UTC)))
    if after and order == "asc":
        first = buckets_before(after[0]) + 1
    elif after:
        beyond = min(beyond, buckets_before(after[0]))
    if order == "asc":
        beyond = min(beyond, first + limit + 1)
    else:
        first = max(first, beyond - limit - 1)
    if first >= beyond:
        return cut(form, None, 0, 0, limit, KEY)
    parameters = {"symbol": symbol, "start": WEEK_START + first * width, "end": WEEK_START + beyond * width}
    cursor = connection.cursor(binary=True)
    await cursor.execute(GAPFILLED_CANDLES[interval, fill, order, form], parameters, prepare=True)
    ((page, count, found),) = await cursor.fetchall()
    return cut(form, page, count, found, limit, KEY)
