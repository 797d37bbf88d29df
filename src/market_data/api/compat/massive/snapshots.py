"""Snapshots: `/massive/v2/snapshot` and `/massive/v3/snapshot`."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, get
from litestar.response.base import ASGIResponse
from msgspec import UNSET, Raw, Struct, UnsetType

from market_data.api.compat.massive.reference import selected, ticker_page
from market_data.api.compat.massive.rows import list_response
from market_data.api.compat.massive.snapshot_models import (
    OneTickerSnapshot,
    Session,
    SnapshotBar,
    SnapshotTrade,
    TickerSnapshot,
    TickerSnapshots,
    UniversalMinute,
    UniversalSnapshot,
    UniversalSnapshots,
    UniversalTrade,
)
from market_data.api.compat.massive.values import (
    TickerParameter,
    no_data,
    read_order,
    request_id,
    symbol_of,
    unix_nanoseconds,
)
from market_data.api.compat.names import read_known_symbols, read_named_snapshots
from market_data.api.compat.parameters import ForeignOperation, bad_parameter, foreign_responses, query, read_number
from market_data.api.http.caching import NO_STORE
from market_data.api.http.complete_response import CompleteResponse
from market_data.api.http.handlers import encode, json_response
from market_data.api.http.past import version_headers
from market_data.queries.row_pages import digits_of
from market_data.queries.snapshots import Snapshots

SLICE: Final = 250
"""Snapshots that are translated at a time, so that other requests are served in between."""

MAX_TICKERS: Final = 250
"""Tickers of `ticker.any_of`."""

NO_TICKER: Final = "Ticker not found."


class _Candle(Struct):
    timestamp: datetime
    open: Raw
    high: Raw
    low: Raw
    close: Raw
    volume: Raw
    vwap: float | None
    trade_count: int


class _Latest(Struct):
    price: Raw
    volume: Raw
    timestamp: datetime


class _Snapshot(Struct):
    symbol: str
    latest: _Latest
    day: _Candle | None
    previous_day: _Candle | None
    minute: _Candle | None
    previous_close: Raw
    """`null` without one."""


_split = msgspec.json.Decoder(list[Raw]).decode
_decode = msgspec.json.Decoder(_Snapshot).decode


@get(
    "/v2/snapshot/locale/us/markets/stocks/tickers",
    summary="Snapshots",
    description="Latest trade, bars of the minute, of the UTC day and of the day before; of all symbols that have trades.",
    operation_class=ForeignOperation,
    responses=foreign_responses(TickerSnapshots, "The snapshots, sorted by symbol."),
)
async def massive_snapshots(
    request: Request[Any, Any, Any],
    tickers: Annotated[str | None, query("tickers", "Symbols between commas; all of them by default.", "AAPL,MSFT")] = None,
) -> ASGIResponse:
    found = await _read(request, None if not tickers else tickers.split(","))
    pieces = [encode(_ticker_snapshot(each)) for each in await _decoded(found)]
    head = msgspec.json.encode({"status": "OK", "request_id": request_id(), "count": len(pieces)})
    body = b'%s,"tickers":[%s]}' % (head[:-1], b",".join(pieces))
    return CompleteResponse(body, {**NO_STORE, **version_headers(found.version)})


@get(
    "/v2/snapshot/locale/us/markets/stocks/tickers/{ticker:path}",
    summary="Snapshot",
    description="The same of one symbol.",
    operation_class=ForeignOperation,
    responses=foreign_responses(OneTickerSnapshot, "The snapshot."),
)
async def massive_snapshot(request: Request[Any, Any, Any], ticker: TickerParameter) -> ASGIResponse:
    found = await _read(request, [ticker])
    decoded = await _decoded(found)
    if not decoded:
        raise no_data()
    body = OneTickerSnapshot("OK", request_id(), _ticker_snapshot(decoded[0]))
    return json_response(body, {**NO_STORE, **version_headers(found.version)})


@get(
    "/v3/snapshot",
    summary="Snapshots in pages",
    description="Snapshots sorted by symbol. With `ticker.any_of`, an unknown symbol has an error in its place.",
    operation_class=ForeignOperation,
    responses=foreign_responses(UniversalSnapshots, "The snapshots."),
)
async def massive_universal_snapshots(
    request: Request[Any, Any, Any],
    ticker: Annotated[str | None, query("ticker", "One symbol.")] = None,
    any_of: Annotated[str | None, query("ticker.any_of", "Symbols between commas.", "AAPL,MSFT")] = None,
    gt: Annotated[str | None, query("ticker.gt", "Symbol before the first.")] = None,
    gte: Annotated[str | None, query("ticker.gte", "First symbol.")] = None,
    lt: Annotated[str | None, query("ticker.lt", "Symbol after the last.")] = None,
    lte: Annotated[str | None, query("ticker.lte", "Last symbol.")] = None,
    kind: Annotated[str | None, query("type", "`stocks`, the only one.", "stocks")] = None,
    order: Annotated[str | None, query("order", "`asc` (default) or `desc`.")] = None,
    limit: Annotated[str | None, query("limit", "Snapshots of a page, up to 250; 10.")] = None,
) -> ASGIResponse:
    maximum = read_number("limit", limit, 10, 250)
    direction = read_order("order", order, "asc")
    known = {each.symbol: each for each in await read_known_symbols(request)}
    named = any_of.split(",") if any_of else [ticker] if ticker else None
    if named and len(named) > MAX_TICKERS:
        raise bad_parameter("ticker.any_of", f"has {len(named)} tickers; name at most {MAX_TICKERS} at a time")
    names = {symbol_of(name) or name.upper() for name in named} if named is not None else set(known)
    wanted = selected(names if kind in (None, "", "stocks") else (), direction, gt=gt, gte=gte, lt=lt, lte=lte)
    page = ticker_page(request, ("v3", "snapshot"), wanted, maximum, direction)
    found = await _read(request, [name for name in page.tickers if name in known])
    by_symbol = {each.symbol: each for each in await _decoded(found)}
    results = [_universal(name, known[name].name if name in known else None, by_symbol.get(name)) for name in page.tickers]
    return list_response(page.members, [encode(each).decode() for each in results], page.headers, found.version)


async def _read(request: Request[Any, Any, Any], tickers: Sequence[str] | None) -> Snapshots:
    """Return the snapshots of some tickers, or of all. Those that can be no symbol have none."""
    if tickers is None:
        return await read_named_snapshots(request, None)
    chosen = tuple(sorted({symbol for symbol in map(symbol_of, tickers) if symbol}))
    if not chosen:
        return Snapshots("", 0, None)
    return await read_named_snapshots(request, chosen)


async def _decoded(found: Snapshots) -> Sequence[_Snapshot]:
    pieces = _split(f"[{found.rows}]")
    decoded: list[_Snapshot] = []
    for first in range(0, len(pieces), SLICE):
        decoded += map(_decode, pieces[first : first + SLICE])
        await asyncio.sleep(0)
    return decoded


def _bar(candle: _Candle | None, day_volume: Raw | None = None) -> SnapshotBar | UnsetType:
    if candle is None:
        return UNSET
    time = unix_nanoseconds(candle.timestamp) // 1_000_000
    vwap = UNSET if candle.vwap is None else candle.vwap
    figures = candle.open, candle.high, candle.low, candle.close, candle.volume, candle.trade_count, time, vwap
    return SnapshotBar(*figures, UNSET if day_volume is None else day_volume)


def _change(found: _Snapshot) -> tuple[Raw | UnsetType, float | UnsetType]:
    """Return the change since the close before the day, exact and in percent."""
    before = digits_of(found.previous_close)
    if before == "null":
        return UNSET, UNSET
    close = Decimal(before)
    change = Decimal(digits_of(found.latest.price)) - close
    return Raw(f"{change:f}"), float(100 * change / close) if close > 0 else UNSET


def _ticker_snapshot(found: _Snapshot) -> TickerSnapshot:
    time = unix_nanoseconds(found.latest.timestamp)
    is_today = found.minute is not None and found.day is not None and found.minute.timestamp >= found.day.timestamp
    day_volume = found.day.volume if found.day and is_today else None
    trade = SnapshotTrade(found.latest.price, found.latest.volume, time)
    bars = _bar(found.day), _bar(found.previous_day), _bar(found.minute, day_volume)
    return TickerSnapshot(found.symbol, time, trade, *bars, *_change(found))


def _universal(ticker: str, name: str | None, found: _Snapshot | None) -> UniversalSnapshot:
    if name is None:
        return UniversalSnapshot(ticker=ticker, error="NOT_FOUND", message=NO_TICKER)
    described = UniversalSnapshot(ticker=ticker, name=name, type="stocks", market_status="open")
    if found is None:
        return described
    change, percent = _change(found)
    day, minute, price = found.day, found.minute, found.latest.price
    session = Session(
        price=price,
        close=price,
        open=day.open if day else UNSET,
        high=day.high if day else UNSET,
        low=day.low if day else UNSET,
        volume=day.volume if day else UNSET,
        previous_close=UNSET if change is UNSET else found.previous_close,
        change=change,
        change_percent=percent,
    )
    time = unix_nanoseconds(found.latest.timestamp)
    last_minute: UniversalMinute | UnsetType = UNSET
    if minute:
        figures = minute.open, minute.high, minute.low, minute.close, minute.volume, minute.trade_count
        start = unix_nanoseconds(minute.timestamp)
        last_minute = UniversalMinute(*figures, start, UNSET if minute.vwap is None else minute.vwap)
    trade = UniversalTrade(price, found.latest.volume, time, time)
    return msgspec.structs.replace(described, session=session, last_trade=trade, last_minute=last_minute)
