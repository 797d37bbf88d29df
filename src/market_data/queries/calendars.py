"""Calendars: their sessions, and the state of a market at a time."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, LiteralString, NamedTuple

from psycopg.rows import args_row

from market_data.models_calendars import Calendar, MarketState, Session
from market_data.queries.row_pages import Connection

ALWAYS_OPEN: Final = "24/7"
"""The calendar without stored sessions: each UTC day is one."""

_DAY: Final = timedelta(days=1)

CALENDARS = """
    SELECT
        code, name, time_zone, source, pre_market_minutes, post_market_minutes, auction_minutes,
        (SELECT count(*) FROM sessions WHERE calendar = code),
        (SELECT min(day) FROM sessions WHERE calendar = code),
        (SELECT max(day) FROM sessions WHERE calendar = code)
    FROM calendars
    ORDER BY code COLLATE "C"
"""


async def read_calendars(connection: Connection) -> list[Calendar]:
    """Return all calendars, in alphabetical order of their codes."""
    cursor = connection.cursor(binary=True, row_factory=args_row(Calendar))
    await cursor.execute(CALENDARS)
    return await cursor.fetchall()


class CalendarZone(NamedTuple):
    """Code and time zone of a calendar."""

    code: str
    time_zone: str


CALENDAR_ZONE = "SELECT code, time_zone FROM calendars WHERE upper(code) = upper(%s) ORDER BY code <> %s LIMIT 1"


async def read_calendar_zone(connection: Connection, code: str) -> CalendarZone | None:
    """Return the time zone of a calendar, whose code may be in upper or lower case; None if it is unknown."""
    cursor = connection.cursor(binary=True, row_factory=args_row(CalendarZone))
    await cursor.execute(CALENDAR_ZONE, (code, code))
    return await cursor.fetchone()


CALENDAR_WITH_SESSIONS = """
    SELECT code, time_zone FROM calendars WHERE code = %s AND EXISTS (SELECT FROM sessions WHERE calendar = code)
"""


async def read_calendar_with_sessions(connection: Connection, code: str) -> CalendarZone | None:
    """Return the time zone of a calendar; None if it is unknown, or has no session."""
    cursor = connection.cursor(binary=True, row_factory=args_row(CalendarZone))
    await cursor.execute(CALENDAR_WITH_SESSIONS, (code,))
    return await cursor.fetchone()


COLUMNS: LiteralString = (
    "day, opens_at, closes_at, break_starts_at, break_ends_at, pre_opens_at, post_closes_at, auction_ends_at"
)
# By True if they are read as of a version.
SESSIONS: Mapping[bool, LiteralString] = {
    False: f"""
        SELECT {COLUMNS}
        FROM sessions
        WHERE calendar = %(code)s AND day >= %(start)s AND day < %(end)s
        ORDER BY day
    """,
    True: f"""
        SELECT {COLUMNS}
        FROM calendar_sessions, writes_as_of(%(version)s, 'infinity') AS seen
        WHERE calendar = %(code)s AND day >= %(start)s AND day < %(end)s
            AND is_visible(write_id, ended_write_id, seen.newest, seen.late)
        ORDER BY day
    """,
}


async def read_sessions(
    connection: Connection, code: str, start: date, end: date, version: int | None = None
) -> list[Session]:
    """Return the sessions of a calendar from a day until before another one, oldest first; now, or as of a version."""
    if code == ALWAYS_OPEN:
        return _utc_days(start, end)
    cursor = connection.cursor(binary=True, row_factory=args_row(Session))
    await cursor.execute(SESSIONS[version is not None], {"code": code, "start": start, "end": end, "version": version})
    return await cursor.fetchall()


def _utc_days(start: date, end: date) -> list[Session]:
    days: list[Session] = []
    for number in range((end - start).days):
        day = start + number * _DAY
        opens = datetime.combine(day, time(), UTC)
        closes = opens + _DAY
        days.append(Session(day, opens, closes, None, None, opens, closes, closes))
    return days


class MarketMoment(NamedTuple):
    """State of a calendar at a time."""

    calendar: str
    status: MarketState
    next_open: datetime | None
    next_close: datetime | None


# A session opens at most a day before its date at the exchange, and closes at most a day after it. Of eight sessions from
# three days before a time, the last one begins after it.
NEARBY_SESSIONS: LiteralString = f"""
    SELECT {COLUMNS}
    FROM sessions
    WHERE sessions.calendar = calendars.code AND day >= (%(moment)s::timestamptz AT TIME ZONE 'UTC')::date - 3
    ORDER BY day
    LIMIT 8
"""
CALENDAR_MOMENT = f"""
    SELECT calendars.code, {COLUMNS}
    FROM calendars LEFT JOIN LATERAL ({NEARBY_SESSIONS}) AS nearby ON true
    WHERE calendars.code = %(code)s
    ORDER BY day
"""


async def read_calendar_moment(connection: Connection, code: str, moment: datetime) -> MarketMoment | None:
    """Return the state of a calendar at a time; None if there is no such calendar."""
    cursor = connection.cursor(binary=True)
    await cursor.execute(CALENDAR_MOMENT, {"code": code, "moment": moment})
    return _moment_of(await cursor.fetchall(), moment)


SYMBOL_MOMENT = f"""
    SELECT calendars.code, {COLUMNS}
    FROM symbols
        JOIN calendars ON calendars.code = symbols.calendar
        LEFT JOIN LATERAL ({NEARBY_SESSIONS}) AS nearby ON true
    WHERE symbols.symbol = %(symbol)s
    ORDER BY day
"""


async def read_symbol_moment(connection: Connection, symbol: str, moment: datetime) -> MarketMoment | None:
    """Return the state of the calendar of a symbol at a time; None if the symbol is unknown."""
    cursor = connection.cursor(binary=True)
    await cursor.execute(SYMBOL_MOMENT, {"symbol": symbol, "moment": moment})
    return _moment_of(await cursor.fetchall(), moment)


def _moment_of(rows: Iterable[Sequence[object]], moment: datetime) -> MarketMoment | None:
    """Return the state from rows of a code and a session each; the latter is null without sessions."""
    sessions: list[Session] = []
    code: str | None = None
    for found, *session in rows:
        code = str(found)
        if session[0] is not None:
            sessions.append(Session(*session))  # type: ignore[reportArgumentType]  # columns of the statement
    return None if code is None else market_moment(code, sessions, moment)


def market_moment(code: str, sessions: Sequence[Session], moment: datetime) -> MarketMoment:
    """Return the state of a calendar at a time, given the sessions around it."""
    if code == ALWAYS_OPEN:
        return MarketMoment(code, "open", None, None)
    parts = [part for session in sessions for part in open_parts(session)]
    next_open = min((start for start, _ in parts if start > moment), default=None)
    next_close = min((end for _, end in parts if end > moment), default=None)
    return MarketMoment(code, _state(sessions, moment), next_open, next_close)


def open_parts(session: Session) -> list[tuple[datetime, datetime]]:
    """Return start and end of regular trading: one range, or two around a lunch break."""
    if session.break_starts_at is None or session.break_ends_at is None:
        return [(session.opens_at, session.closes_at)]
    return [(session.opens_at, session.break_starts_at), (session.break_ends_at, session.closes_at)]


def _state(sessions: Sequence[Session], moment: datetime) -> MarketState:
    """Return the state at a time. The pre-market of a session may overlap the post-market of the one before."""
    for session in sessions:
        if session.opens_at <= moment < session.closes_at:
            is_open = any(start <= moment < end for start, end in open_parts(session))
            return "open" if is_open else "break"
    if any(session.pre_opens_at <= moment < session.opens_at for session in sessions):
        return "pre"
    if any(session.closes_at <= moment < max(session.post_closes_at, session.auction_ends_at) for session in sessions):
        return "post"
    return "closed"
