"""`/binance/api/v3/klines` and `uiKlines`."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from litestar import Request, get
from litestar.response.base import ASGIResponse

from market_data.api.compat.binance.values import (
    BAD_INTERVAL,
    FAR_FUTURE,
    INVALID_VALUE,
    BinanceError,
    milliseconds,
    missing,
    read_bounds,
    read_limit,
    read_symbol,
    require_known,
)
from market_data.api.compat.parameters import ForeignOperation, foreign_responses, query
from market_data.api.compat.rows import (
    MAX_SECONDS_RANGE,
    ExactBar,
    exact_bars_of,
    read_bars,
    read_trade_rows,
    trades_of,
)
from market_data.api.http.caching import NO_STORE
from market_data.api.http.complete_response import CompleteResponse
from market_data.api.http.consistency import read_source
from market_data.api.http.handlers import encode
from market_data.api.http.past import version_headers
from market_data.queries.gapfilled_candles import read_first_bucket
from market_data.queries.intervals import DERIVED, WIDTHS, next_bucket
from market_data.queries.row_pages import BEGINNING, UNIX_EPOCH
from market_data.trade_validation import shown

INTERVALS: Final[Sequence[str]] = (
    *("1s", "1m", "3m", "5m", "15m", "30m"),
    *("1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M"),
)

LENGTHS: Final[Mapping[str, int]] = {name: WIDTHS[name] // timedelta(milliseconds=1) for name in INTERVALS if name != "1M"}
"""Lengths in milliseconds; those of months differ."""

UTC_ZONES: Final = ("", "0", "00:00", "+00:00", "-00:00", "+0:00", "-0:00", "+0", "-0")

LONG_PAGES: Final = 100
"""Pages of a range whose first bucket is looked up before it is read."""

MAX_PARTS: Final = 100
"""Parts of a range of seconds, each with trades, that are read for a page."""

Kline = tuple[int, str, str, str, str, str, int, str, int, str, str, str]
"""Open time, open, high, low, close, volume, close time, turnover, number of trades, and zeros for the unknown figures of
takers. Times in milliseconds."""

SymbolQuery = Annotated[str | None, query("symbol", "Symbol; required.", "AAPL")]
IntervalQuery = Annotated[str | None, query("interval", f"One of {', '.join(INTERVALS)}; required.", "1m")]
StartQuery = Annotated[str | None, query("startTime", "First open time, in milliseconds; the oldest candles from there.")]
EndQuery = Annotated[str | None, query("endTime", "Last open time, in milliseconds, inclusive; now by default.")]
LimitQuery = Annotated[str | None, query("limit", "Number of candles, 1 to 1000; 500 by default.", "500")]
ZoneQuery = Annotated[str | None, query("timeZone", "Only 0: buckets are those of UTC.", "0")]

DESCRIPTION: Final = (
    "Candles, oldest first: the first ones from `startTime` on, the last ones up to `endTime`, or the newest ones. Each is "
    "an array of open time, open, high, low, close, volume, close time, turnover, number of trades, and three zeros: the "
    "side that took a trade is unknown."
)


@get(
    "/klines",
    summary="Candles",
    description=DESCRIPTION,
    operation_class=ForeignOperation,
    responses=foreign_responses(list[Kline], "The candles."),
)
async def binance_klines(
    request: Request[Any, Any, Any],
    symbol: SymbolQuery = None,
    interval: IntervalQuery = None,
    start_time: StartQuery = None,
    end_time: EndQuery = None,
    limit: LimitQuery = None,
    time_zone: ZoneQuery = None,
) -> ASGIResponse:
    return await _klines(request, symbol, interval, start_time, end_time, limit, time_zone)


@get(
    "/uiKlines",
    summary="Candles for charts",
    description=f"The same as `klines`. {DESCRIPTION}",
    operation_class=ForeignOperation,
    responses=foreign_responses(list[Kline], "The candles."),
)
async def binance_ui_klines(
    request: Request[Any, Any, Any],
    symbol: SymbolQuery = None,
    interval: IntervalQuery = None,
    start_time: StartQuery = None,
    end_time: EndQuery = None,
    limit: LimitQuery = None,
    time_zone: ZoneQuery = None,
) -> ASGIResponse:
    return await _klines(request, symbol, interval, start_time, end_time, limit, time_zone)


async def _klines(
    request: Request[Any, Any, Any],
    symbol: str | None,
    interval: str | None,
    start_time: str | None,
    end_time: str | None,
    limit: str | None,
    time_zone: str | None,
) -> ASGIResponse:
    name = read_symbol(symbol)
    if not interval:
        raise missing("interval")
    if interval not in INTERVALS:
        raise BinanceError(
            BAD_INTERVAL, "interval", f"Invalid interval: {shown(interval)} is not in {', '.join(INTERVALS)}."
        )
    if time_zone is not None and time_zone.strip() not in UTC_ZONES:
        detail = f"Data sent for parameter 'timeZone' is not valid: {shown(time_zone)}; only 0 (UTC) is supported."
        raise BinanceError(INVALID_VALUE, "timeZone", detail)
    start, end = read_bounds(start_time, end_time)
    bars, version = await _read_bars(request, name, interval, start, end, read_limit(limit))
    if not bars:
        await require_known(request, [name])
    return CompleteResponse(encode(klines_of(bars, interval)), {**NO_STORE, **version_headers(version)})


def klines_of(bars: Sequence[ExactBar], interval: str) -> list[Kline]:
    """Return candles in Binance's form."""
    length = LENGTHS.get(interval)
    rows: list[Kline] = []
    for time, opened, high, low, close, volume, _, count, _, _, turnover in bars:
        start = time // 1000
        end = start + length if length else _month_end(start)
        rows.append((start, opened, high, low, close, volume, end - 1, turnover, count, "0", "0", "0"))
    return rows


def _month_end(start: int) -> int:
    return milliseconds(next_bucket(UNIX_EPOCH + timedelta(milliseconds=start), "1M", None))


async def _read_bars(
    request: Request[Any, Any, Any],
    symbol: str,
    interval: str,
    start: datetime | None,
    end: datetime | None,
    limit: int,
) -> tuple[list[ExactBar], int | None]:
    """Return the first candles of a range, or the newest ones if it has no start, with the version of the data."""
    if start is None:
        found = await read_bars(
            request, [symbol], interval, BEGINNING, end or datetime.now(UTC), limit, from_end=True, row_format="arrays"
        )
        return exact_bars_of(found.pages[0].page), found.version
    beyond = end or FAR_FUTURE
    if interval == "1s":
        return await _read_seconds(request, symbol, start, beyond, limit)
    if interval in DERIVED and beyond - start > LONG_PAGES * limit * WIDTHS[interval]:
        first = await read_source(request).read(read_first_bucket, symbol, DERIVED[interval].source)
        start = max(start, first.start - WIDTHS[interval])
    if start >= beyond:
        return [], None
    found = await read_bars(request, [symbol], interval, start, beyond, limit, row_format="arrays")
    return exact_bars_of(found.pages[0].page), found.version


async def _read_seconds(
    request: Request[Any, Any, Any], symbol: str, start: datetime, end: datetime, limit: int
) -> tuple[list[ExactBar], int | None]:
    """Return the first candles of a second in a range, which are computed from trades of at most some days at a time.

    Each part begins at the first trade that follows, so that times without trades cost nothing.
    """
    bars: list[ExactBar] = []
    version: int | None = None
    whole = start.replace(microsecond=0)
    start = whole if whole == start else whole + timedelta(seconds=1)
    for _ in range(MAX_PARTS):
        next_trades = await read_trade_rows(request, [symbol], start, end + timedelta(seconds=1), 1, order="asc")
        trades = trades_of(next_trades.pages[0].page)
        if not trades:
            break
        start = UNIX_EPOCH + timedelta(seconds=trades[0].time // 1_000_000)
        until = min(start + MAX_SECONDS_RANGE, end)
        if start >= until:
            break
        found = await read_bars(request, [symbol], "1s", start, until, limit - len(bars), row_format="arrays")
        bars += exact_bars_of(found.pages[0].page)
        version, start = found.version, until
        if len(bars) >= limit:
            break
    return bars, version
