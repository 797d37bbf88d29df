"""The exchange whose sessions the protocols of stocks describe: New York, if its calendar has sessions."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from litestar import Request

from market_data.api.http.consistency import read_source
from market_data.models_calendars import Session
from market_data.queries.calendars import (
    ALWAYS_OPEN,
    CalendarZone,
    MarketMoment,
    open_parts,
    read_calendar_moment,
    read_calendar_with_sessions,
    read_sessions,
)

EXCHANGE: Final = "XNYS"

ALWAYS: Final = CalendarZone(ALWAYS_OPEN, "UTC")


async def market_calendar(request: Request[Any, Any, Any]) -> CalendarZone:
    """Return the calendar of New York, if it has sessions; else that of a market that never closes."""
    return await read_source(request).read(read_calendar_with_sessions, EXCHANGE) or ALWAYS


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


class IrregularDays(NamedTuple):
    """The usual hours of a calendar, and the days that have others."""

    hours: str
    """Usual hours in the time zone of the exchange, as `0930-1600`, or `0900-1130,1230-1530` with a lunch break."""
    holidays: Sequence[date]
    """Usual days of the week that have no session."""
    changed: Mapping[str, Sequence[date]]
    """Days with other hours, by those."""


RECENT: Final = 250
"""Newest sessions that show the usual hours."""


def hours_of(session: Session, zone: ZoneInfo) -> str:
    """Return the regular hours of a session in a time zone. Midnight at the end is 2400."""
    texts: list[str] = []
    for start, end in open_parts(session):
        first, last = f"{start.astimezone(zone):%H%M}", f"{end.astimezone(zone):%H%M}"
        texts.append(f"{first}-{'2400' if last == '0000' else last}")
    return ",".join(texts)


def irregular_days(sessions: Sequence[Session], calendar: CalendarZone, first: date) -> IrregularDays:
    """Return the usual hours of some sessions, and the other days from a day on until the last session."""
    zone = ZoneInfo(calendar.time_zone)
    hours = {each.day: hours_of(each, zone) for each in sessions}
    recent = [each.day for each in sessions[-RECENT:]]
    if not recent:
        return IrregularDays("", [], {})
    usual = Counter(hours[day] for day in recent).most_common(1)[0][0]
    weekdays = {day.weekday() for day in recent}
    days = [first + timedelta(number) for number in range((recent[-1] - first).days + 1)]
    changed: dict[str, list[date]] = {}
    for day, text in hours.items():
        if text != usual and day >= first:
            changed.setdefault(text, []).append(day)
    holidays = [day for day in days if day.weekday() in weekdays and day not in hours]
    return IrregularDays(usual, holidays, changed)
