"""Calendars of exchanges in test databases."""

import warnings
from collections.abc import Sequence
from datetime import date, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import exchange_calendars
from helpers.support import Connection

from market_data.queries.schedules import TradingSession


class Hours(NamedTuple):
    """Time zone of a calendar, and the minutes of its pre-market, its post-market and its closing auction."""

    time_zone: str
    pre: int
    post: int
    auction: int


HOURS = {
    "XNYS": Hours("America/New_York", 330, 240, 1),
    "XLON": Hours("Europe/London", 0, 0, 6),
    "XTKS": Hours("Asia/Tokyo", 0, 0, 1),
    "XHKG": Hours("Asia/Hong_Kong", 0, 0, 10),
}

ADD_CALENDAR = """
    INSERT INTO calendars (code, name, time_zone, source, pre_market_minutes, post_market_minutes, auction_minutes)
    VALUES (%s, %s, %s, %s, %s, %s, %s)
"""
ADD_SESSION = """
    INSERT INTO calendar_sessions (
        calendar, day, opens_at, closes_at, break_starts_at, break_ends_at, pre_opens_at, post_closes_at, auction_ends_at,
        write_id
    )
    SELECT %s, given.*, reference_write()
    FROM unnest(
        %s::date[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[],
        %s::timestamptz[], %s::timestamptz[]
    ) AS given
"""


@lru_cache
def sessions_of(code: str, first: date, last: date) -> list[TradingSession]:
    """Return the sessions of an exchange."""
    hours = HOURS[code]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library uses what pandas deprecates
        calendar: Any = exchange_calendars.get_calendar(code, start=first.isoformat(), end=last.isoformat())
    found: list[TradingSession] = []
    for row in calendar.schedule.itertuples():
        opens, closes = row.open.to_pydatetime(), row.close.to_pydatetime()
        has_break = row.break_start == row.break_start  # not NaT
        found.append(
            TradingSession(
                row.Index.date(),
                opens,
                closes,
                row.break_start.to_pydatetime() if has_break else None,
                row.break_end.to_pydatetime() if has_break else None,
                opens - timedelta(minutes=hours.pre),
                closes + timedelta(minutes=hours.post),
                closes + timedelta(minutes=hours.auction),
            )
        )
    return found


def store_calendar(connection: Connection, code: str, first: date, last: date) -> list[TradingSession]:
    """Store the sessions of an exchange, and return them."""
    sessions = sessions_of(code, first, last)
    zone, *minutes = HOURS[code]
    connection.execute(ADD_CALENDAR, (code, code, zone, "exchange_calendars", *minutes))
    _store_sessions(connection, code, sessions)
    return sessions


def store_own_calendar(connection: Connection, *sessions: TradingSession, time_zone: str = "UTC") -> None:
    """Store the calendar DESK with some sessions."""
    connection.execute(ADD_CALENDAR, ("DESK", "Our desk", time_zone, "own", 0, 0, 1))
    _store_sessions(connection, "DESK", sessions)


def _store_sessions(connection: Connection, code: str, sessions: Sequence[TradingSession]) -> None:
    with connection.transaction():
        connection.execute(ADD_SESSION, (code, *map(list, zip(*sessions, strict=True))))
