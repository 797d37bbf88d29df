"""Adjustment of prices and volumes to corporate actions, in SQL: functions of `alembic/sql/actions.sql`.

A statement with an adjustment reads from these parts, and rounds in its outermost select. Statements without one have none.
"""

from collections.abc import Sequence
from typing import Final, Literal, LiteralString, NamedTuple, get_args

Adjustment = Literal["raw", "split", "dividend", "all"]
ADJUSTMENTS: Final[tuple[Adjustment, ...]] = get_args(Adjustment)

DECIMALS: Final = "12"
"""Decimals of adjusted prices, volumes and turnovers, rounded half away from zero."""

SETTLED_CLOSES: Final[LiteralString] = """
    AND (%(adjustment)s = 'split' OR NOT EXISTS (SELECT FROM stale_ranges) OR isempty(stale_times(8)))
"""
"""A further SQL condition: dividends are compared with closes that contain all trades that are committed."""

CANDLE_FIGURES: Final[Sequence[LiteralString]] = ("open", "high", "low", "close", "volume", "turnover")
"""Columns of a candle that an adjustment changes."""


class Parts(NamedTuple):
    """Parts that an adjustment adds to the statement of a page; all are empty without one."""

    steps: LiteralString
    """A common table expression after another one: the factors of `symbol`."""
    settled: LiteralString
    """As SETTLED_CLOSES."""
    state: LiteralString
    """A further element of the `PageState`, which changes with all trades and actions that the factors depend on."""


NO_PARTS: Final = Parts("", "", "")


def parts_of(*, adjusted: bool, past: bool, since: LiteralString = "%(start)s") -> Parts:
    """Return the parts of a statement, for times from `since` on."""
    if not adjusted:
        return NO_PARTS
    steps: LiteralString = f"""
        , steps AS MATERIALIZED (
            SELECT moments, price_factors, volume_factors
            FROM adjustment_steps(%(symbol)s, %(adjustment)s, {_version(past=past)}, {since})
        )
    """
    state: LiteralString = " || (SELECT hashtextextended(steps::text, 0) FROM steps)"
    return Parts(steps, "" if past else SETTLED_CLOSES, state)


def _version(*, past: bool) -> LiteralString:
    return "%(as_of)s::bigint" if past else "NULL::bigint"


def adjusted_candles_of(
    interval: LiteralString, symbol: LiteralString, since: LiteralString, until: LiteralString, *, past: bool
) -> LiteralString:
    """Return the SQL of adjusted candles of a stored interval, whose buckets start in a half-open range."""
    arguments: LiteralString = f"'{interval}', {symbol}, {since}, {until}, %(adjustment)s, {_version(past=past)}"
    return f"(SELECT {symbol}::text AS symbol, found.* FROM adjusted_candles({arguments}) AS found)"


def stepped_candles_of(interval: LiteralString, *, past: bool, until: LiteralString = "%(end)s") -> LiteralString:
    """Return the SQL of adjusted candles of `symbol` from `start` on, with the factors of `steps`."""
    arguments: LiteralString = f"'{interval}', %(symbol)s, %(start)s, {until}, moments, price_factors, volume_factors"
    return f"""
        (
            SELECT %(symbol)s::text AS symbol, found.*
            FROM steps
            CROSS JOIN LATERAL stepped_candles({arguments}, {_version(past=past)}) AS found
        )
    """


def adjusted_trades_of(trades: LiteralString) -> LiteralString:
    """Return the SQL of trades with the factors of `steps`."""
    return f"""
        (
            SELECT
                trade.symbol, trade.time, trade.trade_id,
                trade.price * price_factors[width_bucket(trade.time, moments) + 1] AS price,
                trade.volume * volume_factors[width_bucket(trade.time, moments) + 1] AS volume,
                trade.write_id
            FROM {trades} AS trade
            CROSS JOIN steps
        )
    """


def adjusted_latest_of(trades: LiteralString, *, past: bool) -> LiteralString:
    """Return the SQL of latest trades, each adjusted to the actions that take effect after it, and rounded."""
    return f"""
        (
            SELECT
                trade.symbol, trade.time,
                round(trade.price * price_factors[1], {DECIMALS}) AS price,
                round(trade.volume * volume_factors[1], {DECIMALS}) AS volume
            FROM {trades} AS trade
            CROSS JOIN LATERAL adjustment_steps(trade.symbol, %(adjustment)s, {_version(past=past)}, trade.time) AS steps
        )
    """


def rounded(columns: Sequence[LiteralString], *, adjusted: bool) -> LiteralString:
    """Return the SQL of these columns, rounded if they are adjusted."""
    comma: LiteralString = ", "
    if not adjusted:
        return comma.join(columns)
    return comma.join([f"round({column}, {DECIMALS}) AS {column}" for column in columns])


def rounded_page(
    page: LiteralString, figures: Sequence[LiteralString], others: Sequence[LiteralString], *, adjusted: bool
) -> LiteralString:
    """Return the SQL of the rows of a page, with these columns rounded if they are adjusted, and its other columns."""
    if not adjusted:
        return page
    comma: LiteralString = ", "
    return f"SELECT {rounded(figures, adjusted=True)}, {comma.join(others)} FROM ({page}) AS exact"


def adjustment_parameters(adjustment: Adjustment) -> dict[str, object]:
    """Return the parameters of a statement that these parts add."""
    return {} if adjustment == "raw" else {"adjustment": adjustment}
