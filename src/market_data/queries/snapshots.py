"""The latest price, the candles of two days and the figures of the last 24 hours of each symbol, in one statement.

Measured on a server: 5 to 10 ms for 5 symbols with a kept plan, 27 to 50 if planned each time; 0.95 s for 5,000, which are
3.9 MB. As structs, 5,000 would block the event loop while they are decoded and encoded again.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, LiteralString, NamedTuple

from market_data.queries.adjustment import (
    CANDLE_FIGURES,
    DECIMALS,
    Adjustment,
    adjusted_candles_of,
    adjusted_latest_of,
    adjustment_parameters,
    rounded,
    rounded_page,
)
from market_data.queries.candles import CANDLE_COLUMNS, SETTLED, CandleRange, SessionKind, with_stale
from market_data.queries.gapfilled_candles import close_before
from market_data.queries.intervals import INTERVALS, LENGTHS, bucket_start
from market_data.queries.newest_days import read_newest_days
from market_data.queries.past import AsOf, parameters_of, version_of
from market_data.queries.prepared import fetch
from market_data.queries.row_pages import Column, Connection, json_members, json_object

DAY = timedelta(days=1)
BEFORE = timedelta(hours=1)
"""Length of the range before the last 24 hours in which one scan finds the last closes of all symbols."""

MAX_PREPARED_SYMBOLS: Final = 100
"""More symbols are planned each time: 1,000 take 0.25 s then, and 0.55 s with a plan for any number."""

LATEST_COLUMNS = (
    Column("symbol", "symbol", "text"),
    Column("price", "price", "decimal"),
    Column("volume", "volume", "decimal"),
    Column("timestamp", "time", "time"),
)
CHANGE_COLUMNS = (
    Column("change", "price - price_24h_ago", "decimal", nullable=True),
    Column("change_percent", "100 * (price - price_24h_ago) / positive_price", "decimal", nullable=True),
    Column("price_24h_ago", "price_24h_ago", "decimal", nullable=True),
    Column("previous_close", "previous_close", "decimal", nullable=True),
)
LAST_24H_COLUMNS = (
    Column("open", "open", "decimal", nullable=True),
    Column("high", "high", "decimal", nullable=True),
    Column("low", "low", "decimal", nullable=True),
    Column("volume", "volume", "decimal"),
    Column("turnover", "turnover", "decimal"),
    Column("trade_count", "trade_count", "integer"),
    Column("settled", "settled", "flag", is_rarely_false=True),
)


SNAPSHOT: LiteralString = f"""
    '{{"symbol":"' || symbol
    || '","latest":' || {json_object(LATEST_COLUMNS)}
    || ',"day":' || coalesce(day, 'null')
    || ',"previous_day":' || coalesce(previous_day, 'null')
    || ',"minute":' || coalesce(minute, 'null')
    || ',' || {json_members(CHANGE_COLUMNS)}
    || ',"last_24h":' || figures || '}}'
"""
NOT_TRADED: LiteralString = """'{"open":null,"high":null,"low":null,"volume":0,"turnover":0,"trade_count":0}'"""

# By the times of the trade, because a condition on its bucket would read the candles of all symbols.
MINUTE: LiteralString = """
    symbol = latest.symbol AND bucket > latest.time - INTERVAL '1 minute' AND bucket <= latest.time
    ORDER BY bucket DESC
    LIMIT 1
"""


def _latest(*, past: bool, adjusted: bool) -> LiteralString:
    latest: LiteralString = "latest_trades_as_of(%(as_of)s, %(symbols)s)" if past else "latest_trades"
    return adjusted_latest_of(latest, past=past) if adjusted else latest


def _candles(
    interval: LiteralString,
    condition: LiteralString,
    since: LiteralString,
    until: LiteralString,
    *,
    past: bool,
    adjusted: bool,
) -> LiteralString:
    """Return the SQL of candles as JSON."""
    return f"""
        {with_stale(interval, past=past)}
        SELECT symbol, bucket, close, {json_object(CANDLE_COLUMNS)} AS candle
        FROM (
            SELECT
                symbol, bucket, {rounded(CANDLE_FIGURES[:-1], adjusted=adjusted)}, trade_count,
                (turnover / nullif(volume, 0))::float8 AS vwap,
                bucket + INTERVAL '{LENGTHS[interval]}' <= %(now)s AS closed,
                {SETTLED[interval]} AS settled
            FROM {_all_candles(interval, since, until, past=past, adjusted=adjusted)} AS candle
            WHERE {condition}
        ) AS page
    """


# Functions, which are slower than views, are called only for symbols with actions that may have an effect.
ADJUSTED: LiteralString = """
    adjusted AS MATERIALIZED (
        SELECT symbol
        FROM latest_trades
        WHERE EXISTS (
            SELECT
            FROM corporate_actions
            WHERE corporate_actions.symbol = latest_trades.symbol
                AND ex_date >= (least(time, %(yesterday)s, %(before)s) - INTERVAL '2 days')::date
        )
    ),
"""


def _all_candles(
    interval: LiteralString, since: LiteralString, until: LiteralString, *, past: bool, adjusted: bool
) -> LiteralString:
    """Return the SQL of the candles of all symbols, in a range as of a version or adjusted."""
    if adjusted:
        found = adjusted_candles_of(interval, "known.symbol", since, until, past=past)
        names: LiteralString = "symbols" if past else "adjusted"
        of_functions: LiteralString = f"SELECT found.* FROM {names} AS known CROSS JOIN LATERAL {found} AS found"
        if past:
            return f"({of_functions})"
        return f"""
            (
                SELECT symbol, bucket, {rounded(CANDLE_FIGURES, adjusted=False)}, trade_count, write_id
                FROM candles_{interval}
                WHERE symbol <> ALL (ARRAY(SELECT symbol FROM adjusted))
                UNION ALL
                {of_functions}
            )
        """
    if not past:
        return f"candles_{interval}"
    return f"""
        (
            SELECT known.symbol, found.*
            FROM symbols AS known
            CROSS JOIN LATERAL candles_as_of('{interval}', %(as_of)s, known.symbol, {since}, {until}) AS found
        )
    """


def _last_24h(chosen: LiteralString, *, past: bool, adjusted: bool) -> LiteralString:
    """Return the SQL of the figures of the last 24 hours as JSON, and of the close before."""
    page: LiteralString = f"""
        SELECT
            symbol,
            last(close, bucket) FILTER (WHERE bucket < %(start)s) AS price_before,
            first(open, bucket) FILTER (WHERE bucket >= %(start)s) AS open,
            max(high) FILTER (WHERE bucket >= %(start)s) AS high,
            min(low) FILTER (WHERE bucket >= %(start)s) AS low,
            coalesce(sum(volume) FILTER (WHERE bucket >= %(start)s), 0) AS volume,
            coalesce(sum(turnover) FILTER (WHERE bucket >= %(start)s), 0) AS turnover,
            coalesce(sum(trade_count) FILTER (WHERE bucket >= %(start)s), 0)::bigint AS trade_count,
            NOT tstzrange(%(before)s, %(now)s) && (SELECT times FROM stale) AS settled
        FROM {_all_candles("15m", "%(before)s", "%(tomorrow)s", past=past, adjusted=adjusted)} AS candle
        WHERE {chosen} AND bucket >= %(before)s
        GROUP BY symbol
    """
    figures: Sequence[LiteralString] = ("price_before", "open", "high", "low", "volume", "turnover")
    return f"""
        {with_stale("15m", past=past)}
        SELECT symbol, price_before, {json_object(LAST_24H_COLUMNS)} AS figures
        FROM ({rounded_page(page, figures, ("symbol", "trade_count", "settled"), adjusted=adjusted)}) AS page
    """


# Days that are sessions have been read before.
WITH_SESSIONS: LiteralString = """
    SELECT symbol, bucket, close, candle
    FROM ({days}) AS utc
    WHERE symbol <> ALL (%(session_symbols)s)
    UNION ALL
    SELECT symbol, CASE WHEN is_newest THEN %(today)s ELSE %(yesterday)s END, close, candle
    FROM unnest(
        %(day_symbols)s::text[], %(day_is_newest)s::boolean[], %(day_closes)s::numeric[], %(day_candles)s::text[]
    ) AS given (symbol, is_newest, close, candle)
"""


def _days(chosen: LiteralString, *, past: bool, adjusted: bool, sessions: bool) -> LiteralString:
    condition = f"{chosen} AND bucket >= %(yesterday)s AND bucket < %(tomorrow)s"
    days = _candles("1d", condition, "%(yesterday)s", "%(tomorrow)s", past=past, adjusted=adjusted)
    return WITH_SESSIONS.replace("{days}", days) if sessions else days


def _snapshots(chosen: LiteralString, *, past: bool, adjusted: bool = False, sessions: bool = False) -> LiteralString:
    """Return the statement, with a condition for the symbols."""
    latest = _latest(past=past, adjusted=adjusted)
    minute = "latest.time - INTERVAL '1 minute'", "latest.time + INTERVAL '1 microsecond'"
    price_before = close_before("15m", past=past, adjusted=adjusted, symbol="latest.symbol")
    if adjusted:
        price_before = f"round({price_before}, {DECIMALS})"
    no_trade_today: LiteralString = "time < %(today)s"
    if sessions:
        no_trade_today += " AND symbol <> ALL (%(session_symbols)s)"
    # Without trades yesterday, the price of 24 hours ago is the close before.
    return f"""
        WITH {ADJUSTED if adjusted else ""}days AS MATERIALIZED (
            {_days(chosen, past=past, adjusted=adjusted, sessions=sessions)}
        ), last_24h AS MATERIALIZED (
            {_last_24h(chosen, past=past, adjusted=adjusted)}
        )
        SELECT
            string_agg({SNAPSHOT}, ',' ORDER BY symbol COLLATE "C"), count(*), {version_of(past=past)},
            {"true" if past else "isempty(stale_times(8))"}
        FROM (
            SELECT
                *,
                CASE WHEN price_24h_ago > 0 THEN price_24h_ago END AS positive_price,
                CASE WHEN {no_trade_today} THEN price ELSE coalesce(last_close, price_24h_ago) END AS previous_close
            FROM (
                SELECT
                    latest.symbol, latest.price, latest.volume, latest.time,
                    day.candle AS day, previous_day.candle AS previous_day, minute.candle AS minute,
                    previous_day.close AS last_close,
                    coalesce(figures, {NOT_TRADED}) AS figures,
                    CASE
                        WHEN latest.time < %(start)s THEN latest.price
                        WHEN price_before IS NOT NULL THEN price_before
                        ELSE {price_before}
                    END AS price_24h_ago
                FROM (SELECT symbol, price, volume, time FROM {latest} AS known WHERE {chosen}) AS latest
                LEFT JOIN days AS day ON day.symbol = latest.symbol AND day.bucket = %(today)s
                LEFT JOIN days AS previous_day
                    ON previous_day.symbol = latest.symbol AND previous_day.bucket = %(yesterday)s
                LEFT JOIN last_24h ON last_24h.symbol = latest.symbol
                LEFT JOIN LATERAL ({_candles("1m", MINUTE, *minute, past=past, adjusted=adjusted)}) AS minute ON true
            ) AS found
        ) AS page
    """


@lru_cache(16)
def snapshots_statement(*, past: bool, is_chosen: bool, adjusted: bool = False, sessions: bool = False) -> LiteralString:
    """Return the statement for a version, some symbols, adjusted prices, and days that are sessions."""
    chosen: LiteralString = "symbol = ANY (%(symbols)s)" if is_chosen else "true"
    return _snapshots(chosen, past=past, adjusted=adjusted, sessions=sessions)


class Snapshots(NamedTuple):
    """Elements of a JSON array, sorted by symbol, and their number."""

    rows: str
    symbol_count: int
    version: int | None
    """The newest version when they were read; None if a candle did not contain all trades of that version."""


def snapshot_parameters(now: datetime) -> dict[str, object]:
    """Return the parameters of the statement at a time."""
    today = bucket_start(now, "1d", None)
    start = bucket_start(now - DAY, "15m", None)
    if start < now - DAY:
        start += INTERVALS["15m"]
    return {
        "now": now,
        "today": today,
        "yesterday": today - DAY,
        "tomorrow": today + DAY,
        "start": start,
        "before": start - BEFORE,
    }


async def read_snapshots(
    connection: Connection,
    symbols: Sequence[str] | None,
    as_of: AsOf | None = None,
    now: datetime | None = None,
    adjustment: Adjustment = "raw",
    session: SessionKind = "all",
) -> Snapshots:
    """Return the snapshot of each of these symbols that has a trade, or of all symbols, by default at the current time."""
    past = parameters_of(as_of)
    now = as_of.time if as_of else now or datetime.now(UTC)
    days = None
    if session != "all":
        candles = CandleRange("", "1d", now, now, "desc", as_of=as_of, session=session, adjustment=adjustment)
        days = await read_newest_days(connection, symbols, candles, now)
    parameters = {
        **snapshot_parameters(now),
        **(days.parameters() if days else {}),
        **past,
        **adjustment_parameters(adjustment),
        "symbols": None if symbols is None else list(symbols),
    }
    is_limited = days is not None and bool(days.symbols)
    statement = snapshots_statement(
        past=bool(past), is_chosen=symbols is not None, adjusted=adjustment != "raw", sessions=is_limited
    )
    prepare = symbols is None or len(symbols) <= MAX_PREPARED_SYMBOLS
    ((rows, count, version, settled),) = await fetch(connection, statement, parameters, prepare=prepare)
    is_of_version = settled and (days is None or days.versions == {version})
    return Snapshots(rows or "", count, version if is_of_version else None)
