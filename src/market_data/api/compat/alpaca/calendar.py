"""`/alpaca/v2/calendar` and `/alpaca/v2/clock`."""

import datetime as dates
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from litestar import Request, get
from litestar.response.base import ASGIResponse
from msgspec import Struct

from market_data.api.compat.alpaca.ranges import read_day
from market_data.api.compat.market import ALWAYS, market_calendar, market_moment, market_sessions
from market_data.api.compat.parameters import ForeignOperation, bad_parameter, foreign_responses, query, read_parameter
from market_data.api.http.caching import NO_STORE
from market_data.api.http.complete_response import CompleteResponse
from market_data.api.http.handlers import encode, json_response
from market_data.models import doc
from market_data.models_calendars import Session

NEVER: Final = datetime(2200, 1, 1, tzinfo=UTC)
"""Time of the next opening and closing of a market that never closes, within the range of every client."""

FIRST_DAY, LAST_DAY = date(1970, 1, 1), date(2029, 12, 31)
"""Range by default; days of a market that never closes are within it."""

SETTLEMENT: Final = ((date(2024, 5, 28), 1), (date(2017, 9, 5), 2), (date.min, 3))
"""Sessions until settlement, by the first day on which they applied."""

AFTER: Final = timedelta(days=14)
"""Days beyond a range in which its last sessions are settled."""


class AlpacaCalendarDay(Struct, frozen=True):
    """A day of trading, in the time zone of the exchange."""

    date: Annotated[dates.date, doc("The day.", "2026-02-09")]
    open: Annotated[str, doc("Start of regular trading.", "09:30")]
    close: Annotated[str, doc("End of regular trading; `23:59` for a whole day.", "16:00")]
    session_open: Annotated[str, doc("Start of the pre-market.", "0400")]
    session_close: Annotated[str, doc("End of the post-market.", "2000")]
    settlement_date: Annotated[
        dates.date | None, doc("Session in which trades of the day are settled; null if it is not known yet.", "2026-02-10")
    ]


class AlpacaClock(Struct, frozen=True):
    """The time, and the state of the market, in the time zone of the exchange."""

    timestamp: datetime
    is_open: bool
    next_open: Annotated[datetime, doc("Next opening; in 2200 if there is none.", "2026-02-10T09:30:00-05:00")]
    next_close: Annotated[datetime, doc("Next close; in 2200 if there is none.", "2026-02-09T16:00:00-05:00")]


@get(
    "/calendar",
    summary="Calendar",
    description=(
        "The sessions of the calendar `XNYS`, if it has some; else all days from 1970 to 2029. Settlement takes the number "
        "of sessions that was usual at that time, and no account of holidays of banks."
    ),
    operation_class=ForeignOperation,
    responses=foreign_responses(list[AlpacaCalendarDay], "The days."),
)
async def alpaca_calendar(
    request: Request[Any, Any, Any],
    start: Annotated[str | None, query("start", "First day; 1970-01-01 by default.", "2026-02-09")] = None,
    end: Annotated[str | None, query("end", "Last day, inclusive; 2029-12-31 by default.", "2026-02-13")] = None,
) -> ASGIResponse:
    first = read_parameter("start", start, read_day) if start else FIRST_DAY
    last = read_parameter("end", end, read_day) if end else LAST_DAY
    if last < first:
        raise bad_parameter("end", "must not be before start")
    calendar = await market_calendar(request)
    if calendar == ALWAYS:
        first, last = max(first, FIRST_DAY), min(last, LAST_DAY)
    until = min(last, date.max - AFTER) + AFTER
    sessions = await market_sessions(request, calendar, first, max(until, first))
    zone = ZoneInfo(calendar.time_zone)
    days = [_day(sessions, number, zone) for number, each in enumerate(sessions) if each.day <= last]
    return CompleteResponse(encode(days), NO_STORE)


def _day(sessions: Sequence[Session], number: int, zone: ZoneInfo) -> AlpacaCalendarDay:
    session = sessions[number]
    following = number + next(count for since, count in SETTLEMENT if session.day >= since)

    def local(time: datetime, separator: str, *, is_end: bool = False) -> str:
        shown = time.astimezone(zone)
        if is_end and (shown.hour, shown.minute) == (0, 0):
            return f"23{separator}59"
        return f"{shown:%H}{separator}{shown:%M}"

    return AlpacaCalendarDay(
        session.day,
        local(session.opens_at, ":"),
        local(session.closes_at, ":", is_end=True),
        local(session.pre_opens_at, ""),
        local(session.post_closes_at, "", is_end=True),
        sessions[following].day if following < len(sessions) else None,
    )


@get(
    "/clock",
    summary="Clock",
    description="The time, and whether the market of the calendar `XNYS` is open; always, if that has no sessions.",
    operation_class=ForeignOperation,
    responses=foreign_responses(AlpacaClock, "The time."),
)
async def alpaca_clock(request: Request[Any, Any, Any]) -> ASGIResponse:
    now = datetime.now(UTC)
    calendar = await market_calendar(request)
    found = await market_moment(request, calendar, now)
    shown = now.astimezone(ZoneInfo(calendar.time_zone))
    clock = AlpacaClock(shown, found.status == "open", found.next_open or NEVER, found.next_close or NEVER)
    return json_response(clock, NO_STORE)
