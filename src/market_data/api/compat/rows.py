"""Reads of candles and trades for foreign protocols: by the services, ranges and queries of `/candles` and `/trades`."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec
from litestar import Request

from market_data.api.compat.names import asked_names, rows_of_keys, rows_of_names
from market_data.api.compat.parameters import bad_parameter
from market_data.api.http.consistency import read_source
from market_data.api.http.naming import loaded_names
from market_data.errors import Gone
from market_data.queries.action_lists import read_adjusted_candles
from market_data.queries.adjustment import Adjustment
from market_data.queries.candles import CANDLE_COLUMNS, CandleRange, SessionKind
from market_data.queries.intervals import DERIVED, MAX_SECONDS_DAYS, MULTIPLES, WIDTHS
from market_data.queries.retention import read_dropped_before
from market_data.queries.row_pages import BEGINNING, PACKED_EPOCH, UNIX_EPOCH, Order, Page, RowFormat, packed_layout
from market_data.queries.symbol_rows import SymbolKey, SymbolRows, read_symbol_rows
from market_data.queries.trades import TradeRange, read_trades
from market_data.trade_validation import rfc3339

MAX_SECONDS_RANGE: Final = timedelta(days=MAX_SECONDS_DAYS)

DAY: Final = timedelta(days=1)

EPOCH_SECONDS: Final = int((PACKED_EPOCH - UNIX_EPOCH).total_seconds())
"""Unix time of the times of packed rows, which are in microseconds since then."""

_BARS: Final = packed_layout(CANDLE_COLUMNS)


class Bar(NamedTuple):
    """A candle of the format `packed`."""

    time: int
    """Start of the bucket, in microseconds since `PACKED_EPOCH`."""
    open: float
    high: float
    low: float
    close: float
    volume: float
    vwap: float
    """NaN where the volume is 0."""
    trade_count: int
    closed: bool
    settled: bool

    @property
    def seconds(self) -> int:
        """Start of the bucket as Unix time."""
        return self.time // 1_000_000 + EPOCH_SECONDS


def bars_of(page: Page) -> Iterator[Bar]:
    """Yield the candles of a page of the format `packed`."""
    return map(Bar._make, _BARS.iter_unpack(page.rows))


def columns_of(page: Page) -> list[list[Any]]:
    """Return the columns of a page of the format `packed`, in the order of the fields of `Bar`. There must be rows."""
    return [list(column) for column in zip(*_BARS.iter_unpack(page.rows), strict=True)]


class ExactBar(NamedTuple):
    """A candle of the format `arrays`: times in microseconds since 1970, decimals with every stored digit."""

    time: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    vwap: float | None
    trade_count: int
    closed: bool
    settled: bool
    turnover: str


class ExactTrade(NamedTuple):
    """A trade of the format `arrays`."""

    symbol: str
    price: str
    volume: str
    time: int
    """Microseconds since 1970."""
    trade_id: int


_exact_bars: Final = msgspec.json.Decoder(list[ExactBar]).decode
_exact_trades: Final = msgspec.json.Decoder(list[ExactTrade]).decode


def exact_bars_of(page: Page) -> list[ExactBar]:
    """Return the candles of a page of the format `arrays`."""
    return _exact_bars(f"[{page.rows}]")


def trades_of(page: Page) -> list[ExactTrade]:
    """Return the trades of a page of the format `arrays`."""
    return _exact_trades(f"[{page.rows}]")


async def read_bars(
    request: Request[Any, Any, Any],
    symbols: Sequence[str],
    interval: str,
    start: datetime,
    end: datetime,
    limit: int,
    *,
    order: Order = "asc",
    from_end: bool = False,
    after: Sequence[SymbolKey] = (),
    row_format: RowFormat = "packed",
    session: SessionKind = "all",
    adjustment: Adjustment = "raw",
    on: date | None = None,
) -> SymbolRows:
    """Return candles whose buckets start in a half-open range; with `from_end`, the newest ones, sorted by `order`.

    Unknown symbols have none. With `on`, symbols are names of that day.

    Raises:
        BadParameters: A range of seconds is too long.
        Gone: It needs trades that retention has dropped.
    """
    if is_of_seconds(interval):
        start = await _start_of_seconds(request, start, end)
    by_key = asked_names(await loaded_names(request), symbols, on)
    rows = CandleRange(next(iter(by_key)), interval, start, end, order, from_end, session=session, adjustment=adjustment)
    chosen = rows, list(by_key), limit, rows_of_keys(by_key, after), row_format
    found = await read_source(request).read(read_symbol_rows, read_adjusted_candles, *chosen, in_shares=False)
    return rows_of_names(by_key, found)


def session_of(interval: str) -> SessionKind:
    """Return the trades that a bar has by default: days and longer ones are those of the exchange, if it has sessions."""
    return "regular" if WIDTHS[interval] >= DAY else "all"


async def read_trade_rows(
    request: Request[Any, Any, Any],
    symbols: Sequence[str],
    start: datetime,
    end: datetime,
    limit: int,
    *,
    order: Order = "asc",
    from_end: bool = False,
    after: Sequence[SymbolKey] = (),
    row_format: RowFormat = "arrays",
    on: date | None = None,
) -> SymbolRows:
    """Return trades of a half-open range; with `from_end`, the newest ones, sorted by `order`. Unknown symbols have none."""
    by_key = asked_names(await loaded_names(request), symbols, on)
    rows = TradeRange(next(iter(by_key)), start, end, order, from_end)
    chosen = rows, list(by_key), limit, rows_of_keys(by_key, after), row_format
    return rows_of_names(by_key, await read_source(request).read(read_symbol_rows, read_trades, *chosen, in_shares=False))


def is_of_seconds(interval: str) -> bool:
    """Return True if the candles of an interval are computed from trades."""
    found = DERIVED.get(interval) or MULTIPLES.get(interval)
    return found is not None and found.source == "trades"


async def _start_of_seconds(request: Request[Any, Any, Any], start: datetime, end: datetime) -> datetime:
    dropped_before = await read_source(request).read(read_dropped_before)
    if start == BEGINNING:
        return max(min(end, datetime.now(UTC)) - MAX_SECONDS_RANGE, dropped_before or BEGINNING)
    if end - start > MAX_SECONDS_RANGE:
        raise bad_parameter("start", f"must be at most {MAX_SECONDS_DAYS} days before the end, for intervals of seconds")
    if dropped_before and start < dropped_before:
        raise Gone(f"The trades before {rfc3339(dropped_before)} were dropped; start there, or ask for minutes.")
    return start
