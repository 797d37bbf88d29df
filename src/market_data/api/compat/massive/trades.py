"""`/massive/v3/trades` and `/massive/v2/last/trade`."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final, NamedTuple

from litestar import Request, get
from litestar.response.base import ASGIResponse
from msgspec import UNSET, Raw, Struct, UnsetType, field

from market_data.api.compat.massive.rows import list_response, make_cursor, read_cursor, read_texts, trade_text
from market_data.api.compat.massive.values import (
    DAY,
    TickerParameter,
    next_page,
    no_data,
    read_order,
    read_times,
    request_id,
    symbol_of,
)
from market_data.api.compat.parameters import (
    ForeignOperation,
    bad_parameter,
    foreign_responses,
    query,
    read_number,
)
from market_data.api.compat.rows import read_trade_rows, trades_of
from market_data.api.http.caching import NO_STORE
from market_data.api.http.handlers import json_response
from market_data.api.http.past import version_headers
from market_data.models import doc
from market_data.queries.row_pages import BEGINNING, Order
from market_data.queries.symbol_rows import SymbolRows
from market_data.trade_validation import shown

DEFAULT_LIMIT: Final = 1_000
MAX_LIMIT: Final = 50_000

_FORMS: Final = "a date, or Unix nanoseconds"


class ForeignTrade(Struct, frozen=True):
    """A trade."""

    conditions: list[int]
    exchange: Annotated[int, doc("Always 0.", 0)]
    id: Annotated[str, doc("`trade_id`, which is unique together with the time.", "0")]
    participant_timestamp: Annotated[int, doc("Time, in Unix nanoseconds.", 1770546600123456000)]
    price: Annotated[float, doc("Price.", 189.44)]
    sequence_number: Annotated[int, doc("Time, in Unix microseconds: trades of the same instant share it.")]
    sip_timestamp: Annotated[int, doc("The same as `participant_timestamp`.", 1770546600123456000)]
    size: Annotated[float, doc("Volume.", 3)]


class ForeignTrades(Struct, frozen=True):
    """Trades of one symbol."""

    status: str
    request_id: str
    count: int
    results: list[ForeignTrade]
    next_url: Annotated[str, doc("Address of the next page; left out of the last one.")] | UnsetType = UNSET


class LastTradeFigures(Struct, frozen=True):
    """The latest trade of a symbol."""

    T: Annotated[str, doc("Symbol.", "AAPL")]
    p: Annotated[Raw, doc("Price.", 189.44)]
    s: Annotated[Raw, doc("Volume.", 3)]
    t: Annotated[int, doc("Time, in Unix nanoseconds.", 1770546600123456000)]
    y: Annotated[int, doc("The same.", 1770546600123456000)]
    q: Annotated[int, doc("Time, in Unix microseconds.", 1770546600123456)]
    i: Annotated[str, doc("`trade_id`.", "0")]
    x: Annotated[int, doc("Always 0.", 0)] = 0
    c: list[int] = field(default_factory=list[int])


class LastTrade(Struct, frozen=True):
    """The latest trade."""

    status: str
    request_id: str
    results: LastTradeFigures


class _Range(NamedTuple):
    """Half-open range of time."""

    start: datetime
    end: datetime


def _latest_end() -> datetime:
    """Return a time after all trades. With one in the far future, the database takes three times as long."""
    return datetime.now(UTC) + 2 * DAY


def _range_of(at: str | None, gte: str | None, gt: str | None, lte: str | None, lt: str | None) -> _Range:
    """Return the instants that all bounds allow. A date means its whole day."""
    given = {"timestamp": at, "timestamp.gte": gte, "timestamp.gt": gt, "timestamp.lte": lte, "timestamp.lt": lt}
    times = {name: read_times(name, text, "nanoseconds") for name, text in given.items() if text is not None}
    starts = [times[name].first for name in ("timestamp", "timestamp.gte") if name in times]
    starts += [times[name].end for name in ("timestamp.gt",) if name in times]
    ends = [times[name].end for name in ("timestamp", "timestamp.lte") if name in times]
    ends += [times[name].first for name in ("timestamp.lt",) if name in times]
    return _Range(max(starts, default=BEGINNING), min(ends, default=_latest_end()))


@get(
    "/v3/trades/{ticker:path}",
    summary="Trades",
    description="The trades of a symbol, by time. The bounds of time apply together; a date means its whole day in UTC.",
    operation_class=ForeignOperation,
    responses=foreign_responses(ForeignTrades, "The trades."),
)
async def massive_trades(
    request: Request[Any, Any, Any],
    ticker: TickerParameter,
    timestamp: Annotated[str | None, query("timestamp", f"Time: {_FORMS}.", "2026-02-08")] = None,
    gte: Annotated[str | None, query("timestamp.gte", f"First time: {_FORMS}.")] = None,
    gt: Annotated[str | None, query("timestamp.gt", f"Time before the first: {_FORMS}.")] = None,
    lte: Annotated[str | None, query("timestamp.lte", f"Last time: {_FORMS}.")] = None,
    lt: Annotated[str | None, query("timestamp.lt", f"Time after the last: {_FORMS}.")] = None,
    order: Annotated[str | None, query("order", "`asc` or `desc` (default).", "desc")] = None,
    limit: Annotated[str | None, query("limit", f"Trades of a page, up to {MAX_LIMIT}; {DEFAULT_LIMIT}.")] = None,
    sort: Annotated[str | None, query("sort", "`timestamp`, the only one.", "timestamp")] = None,
    cursor: Annotated[str | None, query("cursor", "Place of the next page, from `next_url`.")] = None,
) -> ASGIResponse:
    maximum = read_number("limit", limit, DEFAULT_LIMIT, MAX_LIMIT)
    direction: Order = read_order("order", order, "desc")
    if (sort or "timestamp") != "timestamp":
        raise bad_parameter("sort", f"must be timestamp, not {shown(sort or '')}")
    start, end = _range_of(timestamp, gte, gt, lte, lt)
    symbol = symbol_of(ticker)
    if symbol is None or start >= end:
        return list_response({}, [], {})
    parameters = "trades", symbol, timestamp, gte, gt, lte, lt, direction
    after = read_cursor(cursor, parameters, symbol)

    async def read(chunk: int, keys: Any) -> SymbolRows:
        return await read_trade_rows(request, [symbol], start, end, chunk, order=direction, after=keys)

    found = await read_texts(read, lambda page: [*map(trade_text, trades_of(page))], maximum, after)
    if not found.following:
        return list_response({}, found.rows, {}, found.version)
    page = next_page(request, ("v3", "trades", symbol), {"cursor": make_cursor(parameters, found.following[0])})
    return list_response({"next_url": page.url}, found.rows, page.headers, found.version)


@get(
    "/v2/last/trade/{ticker:path}",
    summary="Last trade",
    description="The latest trade of a symbol.",
    operation_class=ForeignOperation,
    responses=foreign_responses(LastTrade, "The trade."),
)
async def massive_last_trade(request: Request[Any, Any, Any], ticker: TickerParameter) -> ASGIResponse:
    symbol = symbol_of(ticker)
    if symbol is None:
        raise no_data()
    found = await read_trade_rows(request, [symbol], BEGINNING, _latest_end(), 1, order="desc")
    trades = trades_of(found.pages[0].page)
    if not trades:
        raise no_data()
    trade = trades[0]
    time = trade.time * 1000
    figures = LastTradeFigures(symbol, Raw(trade.price), Raw(trade.volume), time, time, trade.time, str(trade.trade_id))
    return json_response(LastTrade("OK", request_id(), figures), {**NO_STORE, **version_headers(found.version)})
