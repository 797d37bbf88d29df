"""`/massive/v2/aggs/ticker`."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from litestar import Request, get
from litestar.exceptions import NotFoundException
from litestar.params import PathParameter
from litestar.response.base import ASGIResponse
from msgspec import UNSET, Struct, UnsetType

from market_data.api.compat.massive.rows import bar_text, list_response, make_cursor, read_cursor, read_texts
from market_data.api.compat.massive.values import (
    next_page,
    read_flag,
    read_order,
    read_span,
    read_times,
    symbol_of,
)
from market_data.api.compat.parameters import (
    ForeignOperation,
    bad_parameter,
    foreign_responses,
    query,
    read_number,
)
from market_data.api.compat.rows import exact_bars_of, read_bars, session_of
from market_data.api.http import parameters
from market_data.models import doc
from market_data.queries.adjustment import Adjustment
from market_data.queries.intervals import bucket_start
from market_data.queries.row_pages import BEGINNING, Order
from market_data.queries.symbol_rows import SymbolRows

DEFAULT_LIMIT: Final = 5_000
MAX_LIMIT: Final = 50_000

RANGE: Final = re.compile(r"/?(.+)/range/([^/]+)/([^/]+)/([^/]+)/([^/]+)", re.DOTALL)
PREVIOUS: Final = re.compile(r"/?(.+)/prev", re.DOTALL)
"""Forms of paths from their ends, because tickers may contain slashes."""


AdjustedParameter = Annotated[
    str | None, query("adjusted", "`true` (default): prices and volumes are adjusted to splits; or `false`.", "true")
]


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
        "`{ticker}/range/{multiplier}/{timespan}/{from}/{to}`: the bars of a range that includes both ends, weeks from "
        "Monday; the bar that contains `from` is included. `{ticker}/prev`: the bar of the last day before today that has "
        "trades. Days and longer ones have the trades of the regular sessions, if the symbol's calendar has sessions, and "
        "are labelled by their date at 00:00 UTC; else they are those of UTC."
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
    adjusted: AdjustedParameter = None,
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
        return bars_response(wanted.symbol, [], is_adjusted)
    parameters = "aggs", symbol, span.interval, start, end, order, is_adjusted
    after = read_cursor(cursor, parameters, symbol)

    async def read(chunk: int, keys: Any) -> SymbolRows:
        return await read_bars(
            request,
            [symbol],
            span.interval,
            start,
            end,
            chunk,
            order=order,
            after=keys,
            row_format="arrays",
            session=session_of(span.interval),
            adjustment=adjustment_of(is_adjusted),
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
    return bars_response(symbol, found.rows, is_adjusted, members, headers, found.version)


def adjustment_of(is_adjusted: bool) -> Adjustment:
    """Return the adjustment that `adjusted` means."""
    return "split" if is_adjusted else "raw"


def bars_response(
    symbol: str | None,
    rows: Any,
    is_adjusted: bool,
    members: Any = None,
    headers: Any = None,
    version: int | None = None,
) -> ASGIResponse:
    """Return the bars of a symbol, or of all symbols."""
    given: dict[str, object] = {"ticker": symbol} if symbol else {}
    given |= {"queryCount": len(rows), "resultsCount": len(rows), "adjusted": is_adjusted, **(members or {})}
    return list_response(given, rows, headers or {}, version)


async def _previous(request: Request[Any, Any, Any], ticker: str, is_adjusted: bool) -> ASGIResponse:
    symbol = symbol_of(ticker)
    if symbol is None:
        return bars_response(ticker, [], is_adjusted)
    today = bucket_start(datetime.now(UTC), "1d", None)
    found = await read_bars(
        request,
        [symbol],
        "1d",
        BEGINNING,
        today,
        1,
        order="desc",
        row_format="arrays",
        session="regular",
        adjustment=adjustment_of(is_adjusted),
    )
    rows = [bar_text(bar, symbol) for bar in exact_bars_of(found.pages[0].page)]
    return bars_response(symbol, rows, is_adjusted, version=found.version)
