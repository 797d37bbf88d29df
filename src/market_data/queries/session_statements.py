"""The statements that read candles of sessions."""

from functools import lru_cache
from typing import LiteralString, NamedTuple

from market_data.queries.adjustment import (
    CANDLE_FIGURES,
    adjusted_trades_of,
    parts_of,
    rounded_page,
    stepped_candles_of,
)
from market_data.queries.candles import CANDLE_COLUMNS, Fill, aggregate_candles, with_stale
from market_data.queries.derived_candles import FROM_CANDLES, FROM_TRADES, GAPFILLED, gapfilled, page_of
from market_data.queries.gapfilled_candles import GAPFILLED_COLUMNS
from market_data.queries.past import version_of
from market_data.queries.row_pages import Order, RowFormat, page_state
from market_data.queries.schedules import STATE


class SessionStatement(NamedTuple):
    """The properties that make statements differ."""

    source: LiteralString
    """The stored interval of most candles, or `trades`."""
    has_minutes: bool
    """True if some are composed of single minutes as well."""
    length: LiteralString | None
    """Length of buckets within a session as an SQL interval; None for buckets of whole sessions."""
    fill: Fill | None
    order: Order
    reading_order: Order
    row_format: RowFormat
    past: bool
    adjusted: bool


def _label(prefix: LiteralString, n: LiteralString, length: LiteralString | None) -> LiteralString:
    """Return the SQL of the timestamp, the start and the end of the bucket of `time`, in the part with number `n`."""

    def array(name: LiteralString) -> LiteralString:
        return f"(%({prefix}{name})b::timestamptz[])[{n}]"

    if length is None:
        return f"{array('labels')} AS bucket, {array('bucket_starts')} AS bucket_start, {array('bucket_ends')} AS bucket_end"
    grid: LiteralString = f"""
        date_bin(
            INTERVAL '{length}', least(time, {array("closes")} - INTERVAL '1 microsecond'), {array("anchors")}
        )
    """
    start: LiteralString = f"greatest({grid}, {array('firsts')})"
    return f"""
        {start} AS bucket, {start} AS bucket_start,
        CASE
            WHEN {grid} + INTERVAL '{length}' < {array("closes")} THEN {grid} + INTERVAL '{length}'
            ELSE {array("bounds")}
        END AS bucket_end
    """


SOURCE: LiteralString = "open, high, low, close, volume, turnover, trade_count, write_id"
TRADE: LiteralString = "price, volume, trade_id, write_id"

ADJUSTED_SOURCE: LiteralString = """
    open * price_factor AS open, high * price_factor AS high, low * price_factor AS low, close * price_factor AS close,
    volume * volume_factor AS volume, turnover * price_factor * volume_factor AS turnover, trade_count, write_id
"""


def _adjusted_minutes(minutes: LiteralString) -> LiteralString:
    """Return the SQL of minutes with the factors of `steps`, which change between minutes only."""
    return f"""
        SELECT bucket, bucket_start, bucket_end, time, {ADJUSTED_SOURCE}
        FROM ({minutes}) AS minute
        CROSS JOIN LATERAL (
            SELECT
                price_factors[width_bucket(time, moments) + 1] AS price_factor,
                volume_factors[width_bucket(time, moments) + 1] AS volume_factor
            FROM steps
        ) AS factor
    """


def _coarse(statement: SessionStatement) -> LiteralString:
    """Return the SQL of the rows of the source within segments."""
    is_trades = statement.source == "trades"
    time: LiteralString = "time" if is_trades else "bucket"
    if is_trades:
        table: LiteralString = "trades_as_of(%(as_of)s, %(start)s)" if statement.past else "trades"
        table = adjusted_trades_of(table) if statement.adjusted else table
    elif statement.adjusted:
        table = stepped_candles_of(statement.source, past=statement.past, until="%(until)s")
    else:
        version: LiteralString = "%(as_of)s" if statement.past else "NULL"
        found: LiteralString = f"stored_candles('{statement.source}', %(symbol)s, %(start)s, %(until)s, {version})"
        table = f"(SELECT %(symbol)s::text AS symbol, found.* FROM {found} AS found)"
    return f"""
        SELECT {_label("", "(n + 1) / 2", statement.length)}, time, {TRADE if is_trades else SOURCE}
        FROM (
            SELECT
                width_bucket(source.{time}, %(edges)b::timestamptz[]) AS n, source.{time} AS time,
                {TRADE if is_trades else SOURCE}
            FROM {table} AS source
            WHERE source.symbol = %(symbol)s AND source.{time} >= %(start)s AND source.{time} < %(until)s
            OFFSET 0
        ) AS numbered
        WHERE n %% 2 = 1
    """


def _minutes(statement: SessionStatement) -> LiteralString:
    """Return the SQL of the minutes that the source does not have on their own."""
    label = _label("fine_", "(n + 1) / 2", statement.length)
    minutes: LiteralString = f"""
        SELECT {label}, time, {SOURCE}
        FROM (
            SELECT width_bucket(bucket, %(fine_edges)b::timestamptz[]) AS n, bucket AS time, {SOURCE}
            FROM {_found_minutes(past=statement.past)} AS found
            OFFSET 0
        ) AS numbered
    """
    return _adjusted_minutes(minutes) if statement.adjusted else minutes


def _found_minutes(*, past: bool) -> LiteralString:
    if not past:
        return "candle_minutes(%(symbol)s, %(fine_minutes)b::timestamptz[])"
    return f"""
        (
            SELECT bucket, {SOURCE}
            FROM unnest(%(fine_starts)b::timestamptz[], %(fine_ends)b::timestamptz[]) AS part (since, until)
            CROSS JOIN LATERAL candles_as_of('1m', %(as_of)s, %(symbol)s, part.since, part.until)
        )
    """


def _grouped(statement: SessionStatement) -> LiteralString:
    rows = _coarse(statement)
    if statement.has_minutes:
        rows = f"{rows} UNION ALL {_minutes(statement)}"
    figures = (FROM_TRADES if statement.source == "trades" else FROM_CANDLES).replace("source.bucket", "source.time")
    return f"""
        SELECT bucket, min(bucket_start) AS bucket_start, max(bucket_end) AS bucket_end, {figures}
        FROM ({rows}) AS source
        GROUP BY bucket
    """


@lru_cache(100)
def for_symbols(statement: SessionStatement) -> LiteralString:
    """Return a statement that executes another one for each of some symbols, and adds the symbol as the first column."""
    one = session_statement(statement).replace("%(symbol)s::text", "known.symbol").replace("%(symbol)s", "known.symbol")
    return f"""
        SELECT known.symbol, found.*
        FROM unnest(%(symbols)s::text[]) AS known (symbol)
        CROSS JOIN LATERAL ({one}) AS found
    """


FILLED_BUCKETS: LiteralString = (
    "unnest(%(filled_labels)s::timestamptz[], %(filled_starts)s::timestamptz[], %(filled_ends)s::timestamptz[])"
)


@lru_cache(1000)
def session_statement(statement: SessionStatement) -> LiteralString:
    """Return a statement."""
    fill, past = statement.fill, statement.past
    columns = CANDLE_COLUMNS if fill is None else GAPFILLED_COLUMNS
    from_trades, adjusted = statement.source == "trades", statement.adjusted
    parts = parts_of(adjusted=adjusted, past=past)
    candles = _grouped(statement)
    if fill is not None:
        candles = gapfilled(candles, fill, "%(close_before)s::numeric", FILLED_BUCKETS, ("bucket_start", "bucket_end"))
    page = page_of(candles, fill, statement.reading_order, past=past, start="bucket_start")
    return f"""
        {with_stale("1m" if from_trades else statement.source, past=past or from_trades)}{parts.steps}
        SELECT
            {aggregate_candles(statement.row_format, statement.order, columns)},
            count(*), count(*) FILTER (WHERE NOT filled),
            NOT tstzrange(%(start)s, %(until)s) && (SELECT times FROM stale){parts.settled},
            {page_state("sum(page.trade_count)", "%(until)s")}{parts.state},
            {"'{}'::bigint[]" if past else STATE}, {version_of(past=past)}
        FROM ({rounded_page(page, CANDLE_FIGURES, GAPFILLED, adjusted=adjusted)}) AS page
    """
