"""`/udf/symbols`, `/udf/search` and `/udf/symbol_info`."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final

from litestar import Request, get
from litestar.response.base import ASGIResponse
from msgspec import UNSET, Struct, UnsetType, field

from market_data.api.compat.market import irregular_days, market_sessions
from market_data.api.compat.names import read_known_symbols
from market_data.api.compat.parameters import (
    ForeignOperation,
    bad_parameter,
    foreign_responses,
    query,
    read_number,
)
from market_data.api.compat.rows import read_trade_rows, trades_of
from market_data.api.compat.udf.values import EXCHANGE, RESOLUTIONS, TYPES, find_symbol
from market_data.api.http.caching import NO_STORE
from market_data.api.http.complete_response import CompleteResponse
from market_data.api.http.consistency import read_source
from market_data.api.http.handlers import encode, json_response
from market_data.models import Symbol, doc
from market_data.queries.calendars import ALWAYS_OPEN, read_calendar_zone
from market_data.queries.row_pages import BEGINNING, digits_of

MIN_DECIMALS, MAX_DECIMALS = 2, 15
"""Decimal places of prices: at least those of cents, at most those that a JavaScript number has."""
SAMPLE: Final = 100
"""Newest trades whose digits show the precision of prices and volumes."""
MAX_FOUND: Final = 1000
PAST: Final = timedelta(days=3653)
"""Time before now from which sessions are described."""


class SymbolInfo(Struct, frozen=True, kw_only=True):
    """A symbol as a chart needs it."""

    name: str
    ticker: str
    description: str
    type: Annotated[str, doc("`stock`, `fund`, `crypto`, `forex`, `futures` or `index`.", "stock")]
    session: Annotated[str, doc("Usual hours of the symbol's calendar.", "0930-1600")] = "24x7"
    session_holidays: Annotated[str, doc("Usual days without a session.", "20261225")] | UnsetType = UNSET
    corrections: Annotated[str, doc("Days with other hours, by these.", "0930-1300:20261127")] | UnsetType = UNSET
    timezone: str = "Etc/UTC"
    exchange: str = EXCHANGE
    listed_exchange: str = EXCHANGE
    format: str = "price"
    minmov: Annotated[int, doc("Smallest step of the price, in units of the last decimal place.", 1)] = 1
    pricescale: Annotated[int, doc("10 to the power of the decimal places of prices.", 100)]
    volume_precision: Annotated[int, doc("Decimal places of volumes.", 2)]
    has_intraday: bool = True
    has_seconds: bool = True
    has_daily: bool = True
    has_weekly_and_monthly: bool = True
    intraday_multipliers: list[str] = field(default_factory=lambda: [each for each in RESOLUTIONS if each.isdigit()])
    seconds_multipliers: list[str] = field(default_factory=lambda: [each[:-1] for each in RESOLUTIONS if each.endswith("S")])
    daily_multipliers: list[str] = field(default_factory=lambda: ["1", "3"])
    supported_resolutions: list[str] = field(default_factory=lambda: [*RESOLUTIONS])
    data_status: str = "streaming"


class FoundSymbol(Struct, frozen=True):
    """A symbol that a search has found."""

    symbol: str
    full_name: str
    description: str
    ticker: str
    exchange: str = EXCHANGE
    type: str = TYPES["stock"]


@get(
    "/symbols",
    summary="Symbol",
    description=(
        "A symbol by its name, its ticker or `EXCHANGE:NAME`. `pricescale` and `minmov` are those of its `tick_size`; "
        "without one, `pricescale` follows the digits of its newest trades."
    ),
    operation_class=ForeignOperation,
    responses=foreign_responses(SymbolInfo, "The symbol."),
)
async def udf_symbol(
    request: Request[Any, Any, Any], symbol: Annotated[str | None, query("symbol", "Name of the symbol.", "AAPL")] = None
) -> ASGIResponse:
    found = await find_symbol(request, symbol)
    rows = await read_trade_rows(request, [found.symbol], BEGINNING, datetime.now(UTC), SAMPLE, order="desc")
    trades = trades_of(rows.pages[0].page)
    prices = [_decimals(trade.price) for trade in trades]
    decimals = min(max(prices, default=MIN_DECIMALS), MAX_DECIMALS)
    scale, step = 10 ** max(decimals, MIN_DECIMALS), 1
    if found.tick_size is not None:
        scale, step = _scale_of(digits_of(found.tick_size))
    info = SymbolInfo(
        type=TYPES[found.type],
        **await _hours(request, found.calendar),
        minmov=step,
        name=found.symbol,
        ticker=found.symbol,
        description=found.name,
        pricescale=scale,
        volume_precision=min(max((_decimals(trade.volume) for trade in trades), default=0), MAX_DECIMALS),
    )
    return json_response(info, NO_STORE)


def _decimals(digits: str) -> int:
    return len(digits.partition(".")[2])


def _scale_of(tick_size: str) -> tuple[int, int]:
    """Return `pricescale` and `minmov` of a step: 100 and 25 for 0.25."""
    scale = 10 ** _decimals(tick_size)
    return scale, int(Decimal(tick_size) * scale)


async def _hours(request: Request[Any, Any, Any], code: str) -> dict[str, Any]:
    """Return the members that describe the sessions of a calendar, from some years ago on; none if it never closes."""
    calendar = None if code == ALWAYS_OPEN else await read_source(request).read(read_calendar_zone, code)
    if calendar is None:
        return {}
    sessions = await market_sessions(request, calendar, datetime.now(UTC).date() - PAST, date.max)
    sessions = sessions or await market_sessions(request, calendar, date.min, date.max)
    if not sessions:
        return {}
    found = irregular_days(sessions, calendar, sessions[0].day)
    members = {"timezone": calendar.time_zone, "session": found.hours}
    if found.holidays:
        members["session_holidays"] = ",".join(f"{day:%Y%m%d}" for day in found.holidays)
    if found.changed:
        groups = [f"{hours}:{','.join(f'{day:%Y%m%d}' for day in days)}" for hours, days in found.changed.items()]
        members["corrections"] = ";".join(groups)
    return members


@get(
    "/search",
    summary="Search",
    description="Symbols whose name or description contains a text; all of them without one.",
    operation_class=ForeignOperation,
    responses=foreign_responses(list[FoundSymbol], "The symbols, the best match first."),
)
async def search(
    request: Request[Any, Any, Any],
    text: Annotated[str | None, query("query", "Text to look for, in upper or lower case.", "APP")] = None,
    limit: Annotated[str | None, query("limit", f"Maximum number of symbols, 1 to {MAX_FOUND}; 30 by default.")] = None,
    exchange: Annotated[str | None, query("exchange", "Name of an exchange of `/udf/config`; empty for all.")] = None,
    kind: Annotated[str | None, query("type", "Type of an entry of `/udf/config`; empty for all.")] = None,
) -> ASGIResponse:
    maximum = read_number("limit", limit, 30, MAX_FOUND)
    wanted = (text or "").strip().upper().removeprefix(f"{EXCHANGE}:")
    known = await read_known_symbols(request)
    found = [each for each in known if wanted in each.symbol or wanted in each.name.upper()]
    if (exchange or EXCHANGE) != EXCHANGE:
        found = []
    if kind:
        found = [each for each in found if TYPES[each.type] == kind]
    found.sort(key=lambda each: _rank(each, wanted))
    symbols = [
        FoundSymbol(each.symbol, f"{EXCHANGE}:{each.symbol}", each.name, each.symbol, type=TYPES[each.type])
        for each in found[:maximum]
    ]
    return CompleteResponse(encode(symbols), NO_STORE)


def _rank(symbol: Symbol, text: str) -> tuple[bool, bool, bool, str]:
    """Return the sort key of a found symbol: the symbol itself, symbols that begin with the text, that contain it, names."""
    name = symbol.symbol
    return name != text, not name.startswith(text), text not in name, name


@get(
    "/symbol_info",
    summary="Symbols of a group",
    description="Refused: the configuration offers the search instead.",
    operation_class=ForeignOperation,
    responses=foreign_responses(SymbolInfo, "Never."),
)
async def symbol_info() -> ASGIResponse:
    raise bad_parameter("group", "groups are not supported; use /udf/search and /udf/symbols")
