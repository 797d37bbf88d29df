"""`/massive/v2/aggs` and `/massive/v1/open-close`."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from litestar import Request, get
from litestar.exceptions import NotFoundException
from litestar.params import PathParameter
from litestar.response.base import ASGIResponse
from msgspec import UNSET, Raw, Struct, UnsetType

from market_data.api.compat.massive.rows import bar_text, list_response, make_cursor, read_cursor, read_texts
from market_data.api.compat.massive.values import (
    DAY,
    next_page,
    no_data,
    read_date,
    read_flag,
    read_order,
    read_span,
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
from market_data.api.compat.rows import ExactBar, exact_bars_of, read_bars
from market_data.api.http import parameters
from market_data.api.http.caching import NO_STORE
from market_data.api.http.consistency import read_source
from market_data.api.http.handlers import json_response
from market_data.api.http.past import version_headers
from market_data.models import doc
from market_data.queries.bucket_candles import read_bucket_candles
from market_data.queries.intervals import bucket_start
from market_data.queries.row_pages import BEGINNING, Order
from market_data.queries.symbol_rows import SymbolRows

DEFAULT_LIMIT: Final = 5_000
MAX_LIMIT: Final = 50_000

RANGE: Final = re.compile(r"/?(.+)/range/([^/]+)/([^/]+)/([^/]+)/([^/]+)", re.DOTALL)
PREVIOUS: Final = re.compile(r"/?(.+)/prev", re.DOTALL)
OPEN_CLOSE: Final = re.compile(r"/?(.+)/([^/]+)", re.DOTALL)
"""Forms of paths from their ends, because tickers may contain slashes."""


class Aggregate(Struct, frozen=True):
    """A bar."""

    v: Annotated[float, doc("Volume.", 1250.5)]
    o: Annotated[float, doc("Open.", 189.1)]
    c: Annotated[float, doc("Close.", 189.44)]
    h: Annotated[float, doc("High.", 189.6)]
    l: Annotated[float, doc("Low.", 189.0)]  # noqa: E741 - the name of the protocol
    t: Annotated[int, doc("Start, in Unix milliseconds.", 1770546600000)]
    n: Annotated[int, doc("Number of trades.", 42)]
    vw: Annotated[float, doc("Volume-weighted average price; left out without a volume.", 189.3)] | UnsetType = UNSET
    T: Annotated[str, doc("Symbol; left out of the bars of a range.", "AAPL")] | UnsetType = UNSET


class Aggregates(Struct, frozen=True, rename="camel"):
    """Bars of one symbol, or of all symbols."""

    status: str
    request_id: Annotated[str, msgspec.Meta(description="`X-Request-ID` of the response.")] = msgspec.field(
        name="request_id"
    )
    count: int
    query_count: Annotated[int, doc("Base bars that the limit counts at most for these.", 1)]
    results_count: Annotated[int, doc("Number of bars.", 1)]
    adjusted: bool
    results: list[Aggregate]
    ticker: str | UnsetType = UNSET
    next_url: Annotated[str, doc("Address of the next page; left out of the last one.")] | UnsetType = msgspec.field(
        default=UNSET, name="next_url"
    )


class OpenClose(Struct, frozen=True, rename={"from_": "from"}):
    """Figures of a day."""

    status: str
    request_id: str
    from_: Annotated[str, doc("The day.", "2026-02-08")]
    symbol: Annotated[str, doc("Symbol.", "AAPL")]
    open: Raw
    high: Raw
    low: Raw
    close: Raw
    volume: Raw


class _Wanted(NamedTuple):
    """Bars of a range, as the path says."""

    symbol: str
    multiplier: str
    timespan: str
    start: str
    end: str


@get(
    "/v2/aggs/ticker/{bars:path}",
    summary="Bars",
    description=(
        "`{ticker}/range/{multiplier}/{timespan}/{from}/{to}`: the bars of a range that includes both ends, days in UTC, "
        "weeks from Monday; the bar that contains `from` is included. `{ticker}/prev`: the bar of the last day before today "
        "that has trades. There are no splits to adjust for."
    ),
    operation_class=ForeignOperation,
    responses=foreign_responses(Aggregates, "The bars."),
)
async def massive_aggregates(
    request: Request[Any, Any, Any],
    bars: Annotated[
        str,
        parameters.query(
            "bars", "Ticker and range, or ticker and `prev`.", "AAPL/range/1/day/2026-02-01/2026-02-08", PathParameter
        ),
    ],
    adjusted: Annotated[str | None, query("adjusted", "`true` or `false`, which makes no difference.")] = None,
    sort: Annotated[str | None, query("sort", "`asc` (default) or `desc`.", "asc")] = None,
    limit: Annotated[
        str | None, query("limit", f"Base bars (seconds, minutes or days) of a page, up to {MAX_LIMIT}; {DEFAULT_LIMIT}.")
    ] = None,
    cursor: Annotated[str | None, query("cursor", "Place of the next page, from `next_url`.")] = None,
) -> ASGIResponse:
    is_adjusted = read_flag("adjusted", adjusted, default=True)
    if match := RANGE.fullmatch(bars):
        order = read_order("sort", sort, "asc")
        maximum = read_number("limit", limit, DEFAULT_LIMIT, MAX_LIMIT)
        return await _range(request, _Wanted(*match.groups()), is_adjusted, order, maximum, cursor)
    if match := PREVIOUS.fullmatch(bars):
        return await _previous(request, match[1], is_adjusted)
    raise NotFoundException


async def _range(
    request: Request[Any, Any, Any], wanted: _Wanted, is_adjusted: bool, order: Order, limit: int, cursor: str | None
) -> ASGIResponse:
    span = read_span(wanted.multiplier, wanted.timespan)
    start = bucket_start(read_times("from", wanted.start, "milliseconds").first, span.interval, None)
    end = read_times("to", wanted.end, "milliseconds").end
    if start >= end:
        raise bad_parameter("to", "must not be before from")
    symbol = symbol_of(wanted.symbol)
    if symbol is None:
        return _bars_response(wanted.symbol, [], is_adjusted)
    parameters = "aggs", symbol, span.interval, start, end, order
    after = read_cursor(cursor, parameters, symbol)

    async def read(chunk: int, keys: Any) -> SymbolRows:
        return await read_bars(
            request, [symbol], span.interval, start, end, chunk, order=order, after=keys, row_format="arrays"
        )

    count = max(1, limit // span.base_bars)
    found = await read_texts(read, lambda page: [bar_text(bar) for bar in exact_bars_of(page)], count, after)
    members: dict[str, object] = {"queryCount": len(found.rows) * span.base_bars}
    headers: dict[str, str] = {}
    if found.following:
        segments = "v2", "aggs", "ticker", symbol, "range", wanted.multiplier, wanted.timespan, wanted.start, wanted.end
        page = next_page(request, segments, {"cursor": make_cursor(parameters, found.following[0])})
        members["next_url"] = page.url
        headers.update(page.headers)
    return _bars_response(symbol, found.rows, is_adjusted, members, headers, found.version)


def _bars_response(
    symbol: str | None,
    rows: Any,
    is_adjusted: bool,
    members: Any = None,
    headers: Any = None,
    version: int | None = None,
) -> ASGIResponse:
    given: dict[str, object] = {"ticker": symbol} if symbol else {}
    given |= {"queryCount": len(rows), "resultsCount": len(rows), "adjusted": is_adjusted, **(members or {})}
    return list_response(given, rows, headers or {}, version)


async def _previous(request: Request[Any, Any, Any], ticker: str, is_adjusted: bool) -> ASGIResponse:
    symbol = symbol_of(ticker)
    if symbol is None:
        return _bars_response(ticker, [], is_adjusted)
    today = bucket_start(datetime.now(UTC), "1d", None)
    found = await read_bars(request, [symbol], "1d", BEGINNING, today, 1, order="desc", row_format="arrays")
    rows = [bar_text(bar, symbol) for bar in exact_bars_of(found.pages[0].page)]
    return _bars_response(symbol, rows, is_adjusted, version=found.version)


class _SymbolBar(NamedTuple):
    symbol: str
    time: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    vwap: float | None
    trade_count: int


_decode_bars: Final = msgspec.json.Decoder(list[_SymbolBar]).decode


@get(
    "/v2/aggs/grouped/locale/us/market/stocks/{date:str}",
    summary="Bars of a day",
    description="The bars of all symbols on a day in UTC, sorted by symbol.",
    operation_class=ForeignOperation,
    responses=foreign_responses(Aggregates, "The bars."),
)
async def massive_grouped(
    request: Request[Any, Any, Any],
    date: Annotated[str, parameters.query("date", "The day.", "2026-02-08", PathParameter)],
    adjusted: Annotated[str | None, query("adjusted", "`true` or `false`, which makes no difference.")] = None,
) -> ASGIResponse:
    is_adjusted = read_flag("adjusted", adjusted, default=True)
    rows = await read_source(request).read_coalesced(read_bucket_candles, "1d", read_date("date", date))
    bars = [bar_text(ExactBar(*bar[1:], True, True, ""), bar.symbol) for bar in _decode_bars(f"[{rows}]")]
    return _bars_response(None, bars, is_adjusted)


@get(
    "/v1/open-close/{day:path}",
    summary="Open and close of a day",
    description="`{ticker}/{date}`: the figures of a day in UTC. There is nothing before or after hours.",
    operation_class=ForeignOperation,
    responses=foreign_responses(OpenClose, "The figures."),
)
async def massive_open_close(
    request: Request[Any, Any, Any],
    day: Annotated[str, parameters.query("day", "Ticker and day.", "AAPL/2026-02-08", PathParameter)],
    adjusted: Annotated[str | None, query("adjusted", "`true` or `false`, which makes no difference.")] = None,
) -> ASGIResponse:
    read_flag("adjusted", adjusted, default=True)
    match = OPEN_CLOSE.fullmatch(day)
    if match is None:
        raise NotFoundException
    start = read_date("date", match[2])
    symbol = symbol_of(match[1])
    if symbol is None:
        raise no_data()
    found = await read_bars(request, [symbol], "1d", start, start + DAY, 1, row_format="arrays")
    bars = exact_bars_of(found.pages[0].page)
    if not bars:
        raise no_data()
    bar = bars[0]
    figures = [Raw(text) for text in (bar.open, bar.high, bar.low, bar.close, bar.volume)]
    body = OpenClose("OK", request_id(), match[2], symbol, *figures)
    return json_response(body, {**NO_STORE, **version_headers(found.version)})
