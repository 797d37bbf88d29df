"""The statements that read candles of sessions."""

from functools import lru_cache
from typing import LiteralString, NamedTuple

from market_data.queries.adjustment import (
    CANDLE_FIGURES,
    adjusted_trades_of,
    parts_of,
    rounded_page,
)
from market_data.queries.candles import CANDLE_COLUMNS, Fill, aggregate_candles, with_stale
from market_data.queries.derived_candles import FROM_CANDLES, FROM_TRADES, GAPFILLED, gapfilled, page_of
from market_data.queries.gapfilled_candles import GAPFILLED_COLUMNS
from market_data.queries.past import version_of
from market_data.queries.row_pages import Order, RowFormat, page_state
from market_data.queries.schedules import STATE


class SessionStatement(NamedTuple):
    """The properties that make statements differ."""

    levels: tuple[LiteralString, ...]
    """The stored intervals of its candles, by rising length; none to read trades."""
    length: LiteralString | None
    """Length of buckets within a session as an SQL interval; None for buckets of whole sessions."""
    fill: Fill | None
    order: Order
    reading_order: Order
    row_format: RowFormat
    past: bool
    adjusted: bool


def _array(name: LiteralString) -> LiteralString:
    return f"%({name})b::timestamptz[]"


def _element(name: LiteralString) -> LiteralString:
    return f"({_array(name)})[n]"


def _bucket(length: LiteralString) -> LiteralString:
    """Return the SQL of the timestamp, the start and the end of the bucket of `time`, in the segment with number `n`."""
    grid: LiteralString = f"""
        date_bin(INTERVAL '{length}', least(time, {_element("closes")} - INTERVAL '1 microsecond'), {_element("anchors")})
    """
    start: LiteralString = f"greatest({grid}, {_element('firsts')})"
    return f"""
        {start} AS bucket, {start} AS bucket_start,
        CASE
            WHEN {grid} + INTERVAL '{length}' < {_element("closes")} THEN {grid} + INTERVAL '{length}'
            ELSE {_element("bounds")}
        END AS bucket_end
    """


SOURCE: LiteralString = "open, high, low, close, volume, turnover, trade_count, write_id"
TRADE: LiteralString = "price, volume, trade_id, write_id"

ADJUSTED_SOURCE: LiteralString = """
    open * price_factor AS open, high * price_factor AS high, low * price_factor AS low, close * price_factor AS close,
    volume * volume_factor AS volume, turnover * price_factor * volume_factor AS turnover, trade_count, write_id
"""


def _past_minutes(*, adjusted: bool) -> LiteralString:
    """Return the SQL of minutes as of a version, read in ranges: all of a year would be computed one by one."""
    minutes: LiteralString = f"""
        SELECT bucket, {SOURCE}
        FROM (
            SELECT min(minute) AS since, max(minute) + INTERVAL '1 minute' AS until
            FROM (
                SELECT minute, minute - number * INTERVAL '1 minute' AS part
                FROM unnest({_array("candles_1m")}) WITH ORDINALITY AS given (minute, number)
            ) AS numbered
            GROUP BY part
        ) AS range
        CROSS JOIN LATERAL candles_as_of('1m', %(as_of)s, %(symbol)s, since, until)
    """
    if not adjusted:
        return minutes
    # Factors change between minutes only.
    return f"""
        SELECT bucket, {ADJUSTED_SOURCE}
        FROM ({minutes}) AS minute
        CROSS JOIN LATERAL (
            SELECT
                price_factors[width_bucket(bucket, moments) + 1] AS price_factor,
                volume_factors[width_bucket(bucket, moments) + 1] AS volume_factor
            FROM steps
        ) AS factor
    """


def _candles(level: LiteralString, *, past: bool, adjusted: bool) -> LiteralString:
    """Return the SQL of the candles of a stored interval."""
    if past and level == "1m":
        return _past_minutes(adjusted=adjusted)
    version: LiteralString = "%(as_of)s" if past else "NULL"
    arguments: LiteralString = f"'{level}', %(symbol)s, {_array(f'candles_{level}')}"
    if adjusted:
        return f"""
            SELECT bucket, {SOURCE}
            FROM steps
            CROSS JOIN LATERAL stepped_parts({arguments}, moments, price_factors, volume_factors, {version})
        """
    return f"SELECT bucket, {SOURCE} FROM candles_at({arguments}, {version})"


def _numbered(statement: SessionStatement) -> LiteralString:
    """Return the SQL of candles or trades, with the number of their segment or, for whole sessions, of their bucket."""
    past, adjusted = statement.past, statement.adjusted
    if statement.levels:
        union: LiteralString = " UNION ALL "
        rows = union.join([_candles(level, past=past, adjusted=adjusted) for level in statement.levels])
        return f"""
            SELECT width_bucket(bucket, {_array("firsts")}) AS n, bucket AS time, {SOURCE}
            FROM ({rows}) AS found
            OFFSET 0
        """
    trades: LiteralString = "trades_as_of(%(as_of)s, %(start)s)" if past else "trades"
    return f"""
        SELECT n, time, {TRADE}
        FROM (
            SELECT width_bucket(time, {_array("firsts")}) AS n, time, {TRADE}
            FROM {adjusted_trades_of(trades) if adjusted else trades} AS trade
            WHERE symbol = %(symbol)s AND time >= %(start)s AND time < %(until)s
            OFFSET 0
        ) AS found
        WHERE time < {_element("bounds")}
    """


def _grouped(statement: SessionStatement) -> LiteralString:
    figures = (FROM_CANDLES if statement.levels else FROM_TRADES).replace("source.bucket", "source.time")
    if statement.length is None:
        return f"""
            SELECT
                {_element("labels")} AS bucket, {_element("firsts")} AS bucket_start, {_element("ends")} AS bucket_end,
                {SOURCE}
            FROM (SELECT n, {figures} FROM ({_numbered(statement)}) AS source GROUP BY n) AS grouped
        """
    return f"""
        SELECT bucket, min(bucket_start) AS bucket_start, max(bucket_end) AS bucket_end, {figures}
        FROM (
            SELECT {_bucket(statement.length)}, time, {SOURCE if statement.levels else TRADE}
            FROM ({_numbered(statement)}) AS numbered
        ) AS source
        GROUP BY bucket
    """


FILLED_BUCKETS: LiteralString = (
    "unnest(%(filled_labels)s::timestamptz[], %(filled_starts)s::timestamptz[], %(filled_ends)s::timestamptz[])"
)


def _page(statement: SessionStatement) -> LiteralString:
    fill = statement.fill
    candles = _grouped(statement)
    if fill is not None:
        candles = gapfilled(candles, fill, "%(close_before)s::numeric", FILLED_BUCKETS, ("bucket_start", "bucket_end"))
    page = page_of(candles, fill, statement.reading_order, past=statement.past, start="bucket_start")
    return rounded_page(page, CANDLE_FIGURES, GAPFILLED, adjusted=statement.adjusted)


@lru_cache(1000)
def session_statement(statement: SessionStatement) -> LiteralString:
    """Return a statement."""
    past, levels = statement.past, statement.levels
    columns = CANDLE_COLUMNS if statement.fill is None else GAPFILLED_COLUMNS
    parts = parts_of(adjusted=statement.adjusted, past=past)
    return f"""
        {with_stale(levels[-1] if levels else "1m", past=past or not levels)}{parts.steps}
        SELECT
            {aggregate_candles(statement.row_format, statement.order, columns)},
            count(*), count(*) FILTER (WHERE NOT filled),
            NOT tstzrange(%(start)s, %(until)s) && (SELECT times FROM stale){parts.settled},
            {page_state("sum(page.trade_count)", "%(until)s")}{parts.state},
            {"'{}'::bigint[]" if past else STATE}, {version_of(past=past)}
        FROM ({_page(statement)}) AS page
    """


@lru_cache(100)
def for_symbols(statement: SessionStatement) -> LiteralString:
    """Return a statement without filling that returns each of some symbols, its candles, and the version of all of them."""
    past = statement.past
    steps = parts_of(adjusted=statement.adjusted, past=past).steps.replace(",", "WITH", 1)
    rows = aggregate_candles(statement.row_format, statement.order, CANDLE_COLUMNS)
    candles = f"{steps} SELECT {rows} FROM ({_page(statement)}) AS page"
    return f"""
        {with_stale(statement.levels[-1], past=past)}
        SELECT
            known.symbol, found.candles,
            CASE WHEN NOT tstzrange(%(start)s, %(until)s) && (SELECT times FROM stale) THEN {version_of(past=past)} END
        FROM unnest(%(symbols)s::text[]) AS known (symbol)
        CROSS JOIN LATERAL ({candles.replace("%(symbol)s", "known.symbol")}) AS found (candles)
    """
