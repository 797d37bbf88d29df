"""Structs of calendars: their sessions, and the state of a market at a time."""

from datetime import date, datetime
from typing import Annotated, Literal

from msgspec import Struct

from market_data.models import Count, SymbolName, doc

MarketState = Literal["open", "pre", "post", "break", "closed"]

CalendarCode = Annotated[str, doc("Code of the calendar.", "XNYS")]
TimeZoneName = Annotated[str, doc("IANA time zone of its days.", "America/New_York")]


class Calendar(Struct, frozen=True):
    """A calendar of trading sessions."""

    code: CalendarCode
    name: Annotated[str, doc("Name for people.", "New York Stock Exchange")]
    time_zone: TimeZoneName
    source: Annotated[
        Literal["exchange_calendars", "own"],
        doc("`exchange_calendars` if that library has the sessions, `own` if people keep them.", "exchange_calendars"),
    ]
    pre_market_minutes: Annotated[int, doc("Length of the pre-market before each open.", 330)]
    post_market_minutes: Annotated[int, doc("Length of the post-market after each close.", 240)]
    auction_minutes: Annotated[int, doc("Minutes after the close whose trades belong to the closing auction.", 1)]
    session_count: Annotated[int, doc("Number of stored sessions; 0 for `24/7`, whose sessions are all UTC days.", 10339)]
    first_day: Annotated[date | None, doc("Day of the first stored session; null without one.", "1990-01-02")]
    last_day: Annotated[date | None, doc("Day of the last stored session; null without one.", "2030-12-31")]


class CalendarList(Struct, frozen=True):
    """Every calendar, in alphabetical order of the codes."""

    calendars: Annotated[list[Calendar], doc("The calendars.")]
    count: Count


class Session(Struct, frozen=True):
    """A day of trading."""

    day: Annotated[date, doc("Date at the exchange. The session may open on the day before.", "2026-02-09")]
    opens_at: Annotated[datetime, doc("Start of regular trading.", "2026-02-09T14:30:00Z")]
    closes_at: Annotated[datetime, doc("End of regular trading, exclusive.", "2026-02-09T21:00:00Z")]
    break_starts_at: Annotated[datetime | None, doc("Start of the lunch break; null without one.")]
    break_ends_at: Annotated[datetime | None, doc("End of the lunch break; null without one.")]
    pre_opens_at: Annotated[
        datetime, doc("Start of the pre-market; the same as `opens_at` without one.", "2026-02-09T09:00:00Z")
    ]
    post_closes_at: Annotated[
        datetime, doc("End of the post-market; the same as `closes_at` without one.", "2026-02-10T01:00:00Z")
    ]
    auction_ends_at: Annotated[
        datetime,
        doc("End of the closing auction, whose trades belong to the regular session.", "2026-02-09T21:01:00Z"),
    ]


class SessionList(Struct, frozen=True):
    """The sessions of a calendar in a range of days, oldest first."""

    calendar: CalendarCode
    time_zone: TimeZoneName
    start: Annotated[date, doc("First day of the range.", "2026-02-09")]
    end: Annotated[date, doc("Day after the last one of the range.", "2026-02-14")]
    count: Count
    sessions: Annotated[list[Session], doc("The sessions. A day without one is a day without trading.")]


class MarketStatus(Struct, frozen=True):
    """State of the market on which a symbol is traded."""

    symbol: SymbolName
    calendar: CalendarCode
    status: Annotated[
        MarketState,
        doc(
            "`open`: regular trading; `break`: the lunch break; `pre`: the pre-market; `post`: the post-market or the "
            "closing auction; `closed`: none of them.",
            "open",
        ),
    ]
    timestamp: Annotated[datetime, doc("Time to which the state belongs.", "2026-02-09T15:00:00Z")]
    next_open: Annotated[
        datetime | None,
        doc(
            "Next time at which regular trading begins, or continues after a lunch break; null if the calendar has none "
            "stored, and for `24/7`.",
            "2026-02-10T14:30:00Z",
        ),
    ]
    next_close: Annotated[
        datetime | None,
        doc(
            "Next time at which regular trading ends, or stops for a lunch break; null if the calendar has none stored, and "
            "for `24/7`.",
            "2026-02-09T21:00:00Z",
        ),
    ]
