"""Single days: `/massive/v2/aggs/grouped` and `/massive/v1/open-close`."""

import re
from datetime import datetime
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from litestar import Request, get
from litestar.exceptions import NotFoundException
from litestar.params import PathParameter
from litestar.response.base import ASGIResponse
from msgspec import UNSET, Raw, Struct, UnsetType

from market_data.api.compat.massive.aggregates import AdjustedParameter, Aggregates, adjustment_of, bars_response
from market_data.api.compat.massive.rows import bar_text
from market_data.api.compat.massive.values import DAY, no_data, read_date, read_flag, request_id, symbol_of
from market_data.api.compat.names import read_known_symbol
from market_data.api.compat.parameters import ForeignOperation, foreign_responses
from market_data.api.compat.rows import ExactBar, exact_bars_of, read_bars
from market_data.api.http import parameters
from market_data.api.http.caching import NO_STORE
from market_data.api.http.consistency import read_source
from market_data.api.http.handlers import json_response
from market_data.api.http.naming import loaded_names
from market_data.api.http.past import version_headers
from market_data.models import doc
from market_data.queries.calendars import ALWAYS_OPEN, read_sessions
from market_data.queries.day_candles import read_day_candles
from market_data.queries.row_pages import Order

OPEN_CLOSE: Final = re.compile(r"/?(.+)/([^/]+)", re.DOTALL)
"""Form of a path from its end, because tickers may contain slashes."""


class OpenClose(Struct, frozen=True, rename={"from_": "from", "pre_market": "preMarket", "after_hours": "afterHours"}):
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
    pre_market: Annotated[Raw, doc("First price of the pre-market; left out without one.")] | UnsetType = UNSET
    after_hours: Annotated[Raw, doc("Last price after the close; left out without one.")] | UnsetType = UNSET


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
    description="The bars of all symbols on a day, sorted by symbol: of its regular session, or of the day in UTC.",
    operation_class=ForeignOperation,
    responses=foreign_responses(Aggregates, "The bars."),
)
async def massive_grouped(
    request: Request[Any, Any, Any],
    date: Annotated[str, parameters.query("date", "The day.", "2026-02-08", PathParameter)],
    adjusted: AdjustedParameter = None,
) -> ASGIResponse:
    is_adjusted = read_flag("adjusted", adjusted, default=True)
    names = await loaded_names(request)
    rows = await read_source(request).read_coalesced(read_day_candles, read_date("date", date), adjustment_of(is_adjusted))
    found = sorted((names.name_of(bar.symbol), bar) for bar in _decode_bars(f"[{rows}]"))
    bars = [bar_text(ExactBar(*bar[1:], closed=True, settled=True, turnover=""), name) for name, bar in found]
    return bars_response(None, bars, is_adjusted)


@get(
    "/v1/open-close/{day:path}",
    summary="Open and close of a day",
    description=(
        "`{ticker}/{date}`: the figures of the regular session, and the prices before and after it; of the day in UTC, if "
        "the symbol's calendar has no sessions."
    ),
    operation_class=ForeignOperation,
    responses=foreign_responses(OpenClose, "The figures."),
)
async def massive_open_close(
    request: Request[Any, Any, Any],
    day: Annotated[str, parameters.query("day", "Ticker and day.", "AAPL/2026-02-08", PathParameter)],
    adjusted: AdjustedParameter = None,
) -> ASGIResponse:
    is_adjusted = read_flag("adjusted", adjusted, default=True)
    match = OPEN_CLOSE.fullmatch(day)
    if match is None:
        raise NotFoundException
    start = read_date("date", match[2])
    symbol = symbol_of(match[1])
    if symbol is None:
        raise no_data()
    adjustment = adjustment_of(is_adjusted)
    chosen: dict[str, Any] = {"row_format": "arrays", "session": "regular", "adjustment": adjustment}
    found = await read_bars(request, [symbol], "1d", start, start + DAY, 1, **chosen)
    bars = exact_bars_of(found.pages[0].page)
    if not bars:
        raise no_data()
    bar = bars[0]
    figures = [Raw(text) for text in (bar.open, bar.high, bar.low, bar.close, bar.volume)]
    before, after = await _outside(request, symbol, start, is_adjusted)
    body = OpenClose("OK", request_id(), match[2], symbol, *figures, pre_market=before, after_hours=after)
    return json_response(body, {**NO_STORE, **version_headers(found.version)})


async def _outside(
    request: Request[Any, Any, Any], symbol: str, day: datetime, is_adjusted: bool
) -> tuple[Raw | UnsetType, Raw | UnsetType]:
    """Return the first price before the regular session of a day, and the last one after it."""
    known = await read_known_symbol(request, symbol)
    if known is None or known.calendar == ALWAYS_OPEN:
        return UNSET, UNSET
    sessions = await read_source(request).read(read_sessions, known.calendar, day.date(), (day + DAY).date())
    if not sessions:
        return UNSET, UNSET

    async def read(start: datetime, end: datetime, order: Order) -> ExactBar | None:
        if start >= end:
            return None
        adjustment = adjustment_of(is_adjusted)
        found = await read_bars(
            request, [symbol], "1m", start, end, 1, order=order, row_format="arrays", adjustment=adjustment
        )
        return next(iter(exact_bars_of(found.pages[0].page)), None)

    (session,) = sessions
    before = await read(session.pre_opens_at, session.opens_at, "asc")
    after = await read(session.auction_ends_at, session.post_closes_at, "desc")
    return Raw(before.open) if before else UNSET, Raw(after.close) if after else UNSET
