"""State of the market and its holidays: `/massive/v1/marketstatus`."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from litestar import Request, get
from litestar.response.base import ASGIResponse
from msgspec import UNSET, Struct, UnsetType, field

from market_data.api.compat.market import irregular_days, market_calendar, market_moment, market_sessions
from market_data.api.compat.parameters import ForeignOperation, foreign_responses
from market_data.api.http.caching import NO_STORE
from market_data.api.http.complete_response import CompleteResponse
from market_data.api.http.handlers import encode, json_response
from market_data.models import doc
from market_data.trade_validation import rfc3339

AHEAD: Final = timedelta(days=366)
"""Time from now in which holidays are listed."""

EXCHANGES: Final = ("nasdaq", "nyse", "otc")


class StockMarketStatus(Struct, frozen=True, rename="camel"):
    """State of the market."""

    server_time: Annotated[datetime, doc("The time, in the time zone of the exchange.", "2026-02-09T10:00:00-05:00")]
    market: Annotated[str, doc("`open`, `closed`, or `extended-hours`.", "open")]
    after_hours: bool
    early_hours: bool
    exchanges: dict[str, str]
    currencies: dict[str, str] = field(default_factory=lambda: dict.fromkeys(("crypto", "fx"), "open"))


class MarketHoliday(Struct, frozen=True):
    """A weekday without trading, or with a shorter session."""

    date: str
    exchange: Annotated[str, doc("`NYSE` or `NASDAQ`.", "NYSE")]
    name: Annotated[str, doc("`Holiday` or `Early close`: names of holidays are unknown.", "Holiday")]
    status: Annotated[str, doc("`closed` or `early-close`.", "closed")]
    open: Annotated[str, doc("Opening of a shorter session.")] | UnsetType = UNSET
    close: Annotated[str, doc("Close of a shorter session.")] | UnsetType = UNSET


@get(
    "/v1/marketstatus/now",
    summary="State of the market",
    description="State of the calendar `XNYS`; always open, if that has no sessions.",
    operation_class=ForeignOperation,
    responses=foreign_responses(StockMarketStatus, "The state."),
)
async def massive_market_status(request: Request[Any, Any, Any]) -> ASGIResponse:
    now = datetime.now(UTC)
    calendar = await market_calendar(request)
    found = (await market_moment(request, calendar, now)).status
    is_extended = found in ("pre", "post")
    market = "open" if found == "open" else "extended-hours" if is_extended else "closed"
    shown = now.astimezone(ZoneInfo(calendar.time_zone))
    exchanges: dict[str, str] = dict.fromkeys(EXCHANGES, market)
    return json_response(StockMarketStatus(shown, market, found == "post", found == "pre", exchanges), NO_STORE)


@get(
    "/v1/marketstatus/upcoming",
    summary="Holidays",
    description="Weekdays of the next year on which the calendar `XNYS` has no session, or one that closes early.",
    operation_class=ForeignOperation,
    responses=foreign_responses(list[MarketHoliday], "The days."),
)
async def massive_holidays(request: Request[Any, Any, Any]) -> ASGIResponse:
    calendar = await market_calendar(request)
    today = datetime.now(UTC).astimezone(ZoneInfo(calendar.time_zone)).date()
    sessions = await market_sessions(request, calendar, today, today + AHEAD)
    found = irregular_days(sessions, calendar, today)
    shorter = {each.day: each for each in sessions if any(each.day in days for days in found.changed.values())}
    holidays: list[MarketHoliday] = []
    for day in sorted([*found.holidays, *shorter]):
        session = shorter.get(day)
        for exchange in ("NYSE", "NASDAQ"):
            if session:
                times = rfc3339(session.opens_at), rfc3339(session.closes_at)
                holidays.append(MarketHoliday(f"{day}", exchange, "Early close", "early-close", *times))
            else:
                holidays.append(MarketHoliday(f"{day}", exchange, "Holiday", "closed"))
    return CompleteResponse(encode(holidays), NO_STORE)
