"""The candles of all symbols in one bucket."""

from collections.abc import Mapping
from datetime import datetime
from typing import LiteralString

from market_data.queries.candles import CANDLE_COLUMNS
from market_data.queries.intervals import LENGTHS
from market_data.queries.row_pages import Column, Connection, aggregate_rows

COLUMNS = (Column("symbol", "symbol", "text"), *(column for column in CANDLE_COLUMNS if column.kind != "flag"))

BUCKET_CANDLES: Mapping[str, LiteralString] = {
    interval: f"""
        SELECT {aggregate_rows("arrays", COLUMNS, "symbol")}
        FROM (
            SELECT
                symbol, bucket, open, high, low, close, volume, trade_count,
                (turnover / nullif(volume, 0))::float8 AS vwap
            FROM candles_{interval}
            WHERE bucket >= %(bucket)s AND bucket <= %(bucket)s
        ) AS page
    """
    for interval in LENGTHS
}


async def read_bucket_candles(connection: Connection, interval: str, bucket: datetime) -> str:
    """Return the candles of a stored interval whose bucket starts at a time, sorted by symbol.

    They are elements of a JSON array, in the format `arrays` with the columns COLUMNS.
    """
    cursor = connection.cursor()
    # Not prepared: a generic plan would scan every chunk.
    await cursor.execute(BUCKET_CANDLES[interval], {"bucket": bucket}, prepare=False)
    ((rows,),) = await cursor.fetchall()
    return rows or ""
