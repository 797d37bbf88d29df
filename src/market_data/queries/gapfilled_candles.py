"""The candles of a symbol with a candle for each bucket in which nothing was traded."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, LiteralString

from market_data.queries.candles import (
    CANDLE_COLUMNS,
    ORDERS,
    PAGE_SETTLED,
    SETTLED,
    WITH_STALE,
    CandleRange,
    aggregate_candles,
    columns_of,
)
from market_data.queries.intervals import INTERVALS, LENGTHS, WEEK_START
from market_data.queries.row_pages import ROW_FORMATS, Column, Connection, Order, Page, RowFormat, RowKey, page_from_rows

Fill = Literal["previous", "null"]
"""Prices of the candle of an empty bucket: the close before it, or none."""


@dataclass(frozen=True)
class GapfilledRange(CandleRange):
    """A range of candles without gaps."""

    fill: Fill = "previous"


GAPFILLED_COLUMNS = (*CANDLE_COLUMNS[:-1], Column("filled", "filled", "flag"), CANDLE_COLUMNS[-1])

# Weekly candles lead fast to a close far back; `locf` evaluates this only if the first bucket of the page is empty.
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
GAPFILLED_CANDLES: Mapping[tuple[str, Fill, Order, RowFormat], LiteralString] = {
    (interval, fill, order, row_format): f"""
        {WITH_STALE[interval]}
        SELECT {aggregate_candles(row_format, order, GAPFILLED_COLUMNS)}, count(*), count(*) FILTER (WHERE NOT filled),
            {PAGE_SETTLED[interval]}
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
                trade_count IS NULL AS filled,
                {SETTLED[interval]} AS settled
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
    for row_format in ROW_FORMATS
}


async def read_gapfilled_candles(
    connection: Connection, candles: GapfilledRange, limit: int, after: RowKey | None = None, row_format: RowFormat = "json"
) -> Page:
    """Return a candle for each bucket that starts in a range and has begun; with `after`, those that follow that key.

    Only the buckets of the page are queried: their bounds follow from the limit.
    """
    interval, order = candles.interval, candles.order
    width = INTERVALS[interval]

    def buckets_before(time: datetime) -> int:
        return -((WEEK_START - time) // width)

    first = buckets_before(candles.start)
    beyond = min(buckets_before(candles.end), buckets_before(datetime.now(UTC)))
    if after and order == "asc":
        first = buckets_before(after[0]) + 1
    elif after:
        beyond = min(beyond, buckets_before(after[0]))
    if order == "asc":
        beyond = min(beyond, first + limit + 1)
    else:
        first = max(first, beyond - limit - 1)
    columns = columns_of(row_format, GAPFILLED_COLUMNS)
    if first >= beyond:
        return page_from_rows(row_format, columns, None, 0, limit)
    parameters = {"symbol": candles.symbol, "start": WEEK_START + first * width, "end": WEEK_START + beyond * width}
    cursor = connection.cursor(binary=True)
    await cursor.execute(GAPFILLED_CANDLES[interval, candles.fill, order, row_format], parameters, prepare=True)
    ((rows, count, stored, settled),) = await cursor.fetchall()
    return page_from_rows(row_format, columns, rows, count, limit, stored=stored, settled=settled)
