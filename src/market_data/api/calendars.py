"""`/calendars` and `GET /market/status`."""

from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from litestar import Request, get
from litestar.response.base import ASGIResponse

from market_data.api.http.caching import NO_STORE, REVALIDATE
from market_data.api.http.calendar_parameters import CodeParameter, FirstDayParameter, LastDayParameter
from market_data.api.http.consistency import read_source
from market_data.api.http.handlers import json_response, unknown_symbol
from market_data.api.http.openapi import openapi_operation, responses
from market_data.api.http.parameters import AsOfParameter, SymbolParameter
from market_data.api.http.past import caching_of, find_version, version_headers
from market_data.errors import BadParameters, NotFound
from market_data.models import ParameterProblem
from market_data.models_calendars import CalendarList, MarketStatus, SessionList
from market_data.queries.calendars import read_calendar_zone, read_calendars, read_sessions, read_symbol_moment

MAX_DAYS: Final = 10_000
"""Days of a request, so that its answer has at most 3 MB."""

DEFAULT_DAYS: Final = 366


@get(
    "/calendars",
    summary="Calendars",
    description=(
        "Every calendar of trading sessions, in alphabetical order of the codes. A symbol names its own as `calendar`; in "
        "that of most, `24/7`, each UTC day is a session."
    ),
    tags=["Calendars"],
    operation_class=openapi_operation(),
    responses=responses(CalendarList),
)
async def calendars(request: Request[Any, Any, Any]) -> ASGIResponse:
    found = await read_source(request).read(read_calendars)
    return json_response(CalendarList(found, len(found)), REVALIDATE)


@get(
    "/calendars/{code:str}/sessions",
    summary="Sessions",
    description=(
        "The trading sessions of a calendar from `start` until before `end`, at most 10,000 days apart. Holidays are "
        "missing, half days close earlier. The code `24/7` may be escaped (`24%2F7`) or not."
    ),
    tags=["Calendars"],
    operation_class=openapi_operation(has_version=True),
    responses=responses(SessionList, 400, 404),
)
async def sessions(
    request: Request[Any, Any, Any],
    code: CodeParameter,
    start: FirstDayParameter = None,
    end: LastDayParameter = None,
    as_of: AsOfParameter = None,
) -> ASGIResponse:
    known = await read_source(request).read(read_calendar_zone, code)
    if known is None:
        raise NotFound(f"There is no calendar {code}; GET /calendars lists the known ones.")
    seen = await find_version(request, as_of)
    today = (seen.time if seen else datetime.now(UTC)).astimezone(ZoneInfo(known.time_zone)).date()
    start = start or today
    end = end or start + min(timedelta(DEFAULT_DAYS), date.max - start)
    _check_days(start, end)
    version = seen and seen.version
    found = await read_source(request).read(read_sessions, known.code, start, end, version)
    headers = {**(caching_of(request, as_of) if seen else REVALIDATE), **version_headers(version)}
    return json_response(SessionList(known.code, known.time_zone, start, end, len(found), found), headers)


def _check_days(start: date, end: date) -> None:
    if start >= end:
        raise BadParameters([ParameterProblem("start", f"must be before end, which is {end} and not included, not {start}")])
    if (end - start).days > MAX_DAYS:
        detail = f"must be at most {MAX_DAYS:,} days before end; ask for the days in parts"
        raise BadParameters([ParameterProblem("start", detail)])


@get(
    "/market/status",
    summary="Market status",
    description=(
        "State of the market on which a symbol is traded, by its calendar: open, before or after the regular session, in "
        "the lunch break, or closed; and when that changes."
    ),
    tags=["Calendars"],
    operation_class=openapi_operation(),
    responses=responses(MarketStatus, 400, 404),
)
async def market_status(request: Request[Any, Any, Any], symbol: SymbolParameter) -> ASGIResponse:
    now = datetime.now(UTC)
    found = await read_source(request).read(read_symbol_moment, symbol, now)
    if found is None:
        raise unknown_symbol(symbol)
    status = MarketStatus(symbol, found.calendar, found.status, now, found.next_open, found.next_close)
    return json_response(status, NO_STORE)
