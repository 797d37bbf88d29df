"""The exchange whose sessions the protocols of stocks describe: New York, if its calendar has sessions."""

from datetime import date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from litestar import Request

from market_data.api.http.consistency import read_source
from market_data.models_calendars import Session
from market_data.queries.calendars import (
    ALWAYS_OPEN,
    CalendarZone,
    MarketMoment,
    read_calendar_moment,
    read_calendars,
    read_sessions,
)

EXCHANGE: Final = "XNYS"

ALWAYS: Final = CalendarZone(ALWAYS_OPEN, "UTC")


async def market_calendar(request: Request[Any, Any, Any]) -> CalendarZone:
    """Return the calendar of New York, if it has sessions; else that of a market that never closes."""
    known = await read_source(request).read_coalesced(read_calendars)
    found = next((each for each in known if each.code == EXCHANGE and each.session_count), None)
    return CalendarZone(found.code, found.time_zone) if found else ALWAYS


async def market_sessions(request: Request[Any, Any, Any], calendar: CalendarZone, start: date, end: date) -> list[Session]:
    """Return the sessions from a day until before another one."""
    return await read_source(request).read(read_sessions, calendar.code, start, end)


async def market_moment(request: Request[Any, Any, Any], calendar: CalendarZone, now: datetime) -> MarketMoment:
    """Return the state of the market, with times in the zone of the exchange."""
    found = await read_source(request).read(read_calendar_moment, calendar.code, now)
    if found is None:
        return MarketMoment(ALWAYS_OPEN, "open", None, None)
    zone = ZoneInfo(calendar.time_zone)
    return found._replace(
        next_open=found.next_open and found.next_open.astimezone(zone),
        next_close=found.next_close and found.next_close.astimezone(zone),
    )
