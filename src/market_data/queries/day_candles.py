"""The candles of all symbols on one day: of their regular sessions, or of the day in UTC."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, LiteralString

from market_data.queries.adjustment import DECIMALS, Adjustment
from market_data.queries.bucket_candles import COLUMNS
from market_data.queries.intervals import WEEK_START
from market_data.queries.row_pages import Connection, aggregate_rows
from market_data.queries.schedules import TradingSession

QUARTER: Final = timedelta(minutes=15)

DAY_SESSIONS = """
    SELECT
        calendar, day, opens_at, closes_at, break_starts_at, break_ends_at, pre_opens_at, post_closes_at, auction_ends_at
    FROM sessions
    WHERE day = %s AND calendar IN (SELECT calendar FROM symbols)
"""

WHOLE_DAYS: LiteralString = """
    SELECT symbol, bucket AS since, open, high, low, close, volume, turnover, trade_count
    FROM candles_1d
    WHERE bucket >= %(day)s AND bucket <= %(day)s
        AND symbol IN (SELECT symbol FROM symbols WHERE calendar = '24/7')
"""


def _parts(interval: LiteralString, prefix: LiteralString) -> LiteralString:
    """Return the SQL of the candles of an interval in parts of sessions."""
    return f"""
        SELECT found.symbol, found.bucket, found.open, high, low, found.close, volume, turnover, trade_count
        FROM unnest(
            %({prefix}calendars)s::text[], %({prefix}starts)s::timestamptz[], %({prefix}ends)s::timestamptz[]
        ) AS part (calendar, since, until)
        CROSS JOIN LATERAL (
            SELECT symbol, bucket, open, high, low, close, volume, turnover, trade_count
            FROM candles_{interval}
            WHERE bucket >= part.since AND bucket < part.until
            OFFSET 0
        ) AS found
        JOIN symbols ON symbols.symbol = found.symbol AND symbols.calendar = part.calendar
    """


OF_SESSIONS: LiteralString = f"""
    SELECT
        symbol, min(bucket) AS since, first(open, bucket) AS open, max(high) AS high, min(low) AS low,
        last(close, bucket) AS close, sum(volume) AS volume, sum(turnover) AS turnover,
        sum(trade_count)::bigint AS trade_count
    FROM ({_parts("15m", "quarter_")} UNION ALL {_parts("1m", "minute_")}) AS part
    GROUP BY symbol
"""

FOUND: LiteralString = "SELECT symbol, since, open, high, low, close, volume, turnover, trade_count FROM found"

# Factors are computed only for symbols that have an action from that day on.
ADJUSTED: LiteralString = f"""
    SELECT
        symbol, since, round(open * price, {DECIMALS}) AS open, round(high * price, {DECIMALS}) AS high,
        round(low * price, {DECIMALS}) AS low, round(close * price, {DECIMALS}) AS close,
        round(volume * factor, {DECIMALS}) AS volume, turnover * price * factor AS turnover, trade_count
    FROM found
    CROSS JOIN LATERAL (
        SELECT price_factors[1] AS price, volume_factors[1] AS factor
        FROM adjustment_steps(symbol, %(adjustment)s, NULL::bigint, since)
    ) AS steps
    WHERE symbol IN (SELECT symbol FROM corporate_actions WHERE ex_date >= %(day)s::date - 1)
    UNION ALL
    {FOUND}
    WHERE symbol NOT IN (SELECT symbol FROM corporate_actions WHERE ex_date >= %(day)s::date - 1)
"""


def _statement(*, sessions: bool, adjusted: bool) -> LiteralString:
    found: LiteralString = f"{WHOLE_DAYS} UNION ALL {OF_SESSIONS}" if sessions else WHOLE_DAYS
    rows: LiteralString = ADJUSTED if adjusted else FOUND
    return f"""
        WITH found AS MATERIALIZED ({found})
        SELECT {aggregate_rows("arrays", COLUMNS, "symbol")}
        FROM (
            SELECT
                symbol, %(day)s::timestamptz AS bucket, open, high, low, close, volume, trade_count,
                (turnover / nullif(volume, 0))::float8 AS vwap
            FROM ({rows}) AS candle
        ) AS page
    """


DAY_CANDLES: Final[Mapping[tuple[bool, bool], LiteralString]] = {
    (sessions, adjusted): _statement(sessions=sessions, adjusted=adjusted)
    for sessions in (False, True)
    for adjusted in (False, True)
}


async def read_day_candles(connection: Connection, day: datetime, adjustment: Adjustment) -> str:
    """Return the candles of all symbols on a day, given as midnight UTC, sorted by symbol.

    They are elements of a JSON array, in the format `arrays` with the columns COLUMNS.
    """
    cursor = connection.cursor()
    await cursor.execute(DAY_SESSIONS, (day.date(),))
    parameters: dict[str, Any] = {"day": day, "adjustment": adjustment}
    for prefix in ("quarter_", "minute_"):
        parameters |= {f"{prefix}calendars": [], f"{prefix}starts": [], f"{prefix}ends": []}
    sessions = await cursor.fetchall()
    for calendar, *times in sessions:
        for start, end, is_quarters in _ranges(TradingSession(*times)):
            prefix = "quarter_" if is_quarters else "minute_"
            parameters[f"{prefix}calendars"].append(calendar)
            parameters[f"{prefix}starts"].append(start)
            parameters[f"{prefix}ends"].append(end)
    # Not prepared: a generic plan would scan every chunk.
    await cursor.execute(DAY_CANDLES[bool(sessions), adjustment != "raw"], parameters, prepare=False)
    ((rows,),) = await cursor.fetchall()
    return rows or ""


def _ranges(session: TradingSession) -> list[tuple[datetime, datetime, bool]]:
    """Return the parts of a regular session, and True for those that whole quarters of an hour cover."""
    found: list[tuple[datetime, datetime, bool]] = []
    for segment in session.segments("regular"):
        fits = all((time - WEEK_START) % QUARTER == timedelta(0) for time in (segment.start, segment.close))
        if fits:
            found.append((segment.start, segment.close, True))
        start = segment.close if fits else segment.start
        if start < segment.end:
            found.append((start, segment.end, False))
    return found
