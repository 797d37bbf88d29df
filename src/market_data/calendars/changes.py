"""Changes of calendars. Only differences are written: without one there is no new version."""

from collections.abc import Sequence
from datetime import date
from operator import attrgetter
from typing import NamedTuple

from psycopg import AsyncConnection

from market_data.calendars.hours import (
    DEFAULT_MINUTES,
    MINUTES,
    NAMES,
    Difference,
    Hours,
    Minutes,
    derive_sessions,
    find_difference,
    find_problem,
    hours_of,
)
from market_data.calendars.library import LIBRARY, LibraryCalendar
from market_data.errors import CommandFailed
from market_data.models_calendars import Session
from market_data.queries.calendar_changes import (
    StoredCalendar,
    add_calendar,
    change_calendar,
    lock_calendar,
    replace_sessions,
)
from market_data.queries.calendars import ALWAYS_OPEN, read_sessions

OWN = "own"

_ALL_DAYS = date.min, date.max


class Settings(NamedTuple):
    """Settings of a calendar to change; None for those that stay."""

    name: str | None = None
    pre_market: int | None = None
    post_market: int | None = None
    auction: int | None = None


async def refresh(connection: AsyncConnection, code: str, found: LibraryCalendar) -> Difference:
    """Store the sessions of a calendar of the library, which is added if it is unknown.

    Raises:
        CommandFailed: It is an own calendar, or 24/7.
    """
    if code == ALWAYS_OPEN:
        raise CommandFailed(f"{ALWAYS_OPEN} needs no sessions: each UTC day is one.")
    minutes = MINUTES.get(code, DEFAULT_MINUTES)
    new = StoredCalendar(code, NAMES.get(code, code), found.time_zone, LIBRARY, *minutes)
    async with connection.transaction():
        await add_calendar(connection, new)
        known = await _lock(connection, code)
        if known.source != LIBRARY:
            raise CommandFailed(f"{code} is an own calendar; `market-data calendars import` changes its sessions.")
        if known.time_zone != found.time_zone:
            await change_calendar(connection, known._replace(time_zone=found.time_zone))
        return await _replace(connection, known, found.hours, found.first, found.last)


async def import_hours(
    connection: AsyncConnection, code: str, name: str | None, time_zone: str | None, hours: Sequence[Hours]
) -> Difference:
    """Store the sessions of an own calendar in place of those from their first day to their last one.

    Raises:
        CommandFailed: It is a calendar of the library; it is new and has no time zone; or sessions overlap.
    """
    async with connection.transaction():
        if time_zone:
            await add_calendar(connection, StoredCalendar(code, name or code, time_zone, OWN, 0, 0, 0))
        known = await _lock(connection, code, "give --time-zone to add it")
        if known.source != OWN or code == ALWAYS_OPEN:
            raise CommandFailed(f"{code} is no own calendar; choose another code, such as {code[:28]}-OWN.")
        changed = known._replace(name=name or known.name, time_zone=time_zone or known.time_zone)
        if changed != known:
            await change_calendar(connection, changed)
        return await _replace(connection, changed, hours, min(each.day for each in hours), max(each.day for each in hours))


async def change_settings(connection: AsyncConnection, code: str, settings: Settings) -> Difference:
    """Change settings of a calendar, and the sessions that follow from them.

    Raises:
        CommandFailed: There is no such calendar, or it has no settings.
    """
    if code == ALWAYS_OPEN:
        raise CommandFailed(f"{ALWAYS_OPEN} has no sessions, so it has no settings either.")
    async with connection.transaction():
        known = await _lock(connection, code)
        changed = StoredCalendar(
            known.code,
            known.name if settings.name is None else settings.name,
            known.time_zone,
            known.source,
            known.pre_market_minutes if settings.pre_market is None else settings.pre_market,
            known.post_market_minutes if settings.post_market is None else settings.post_market,
            known.auction_minutes if settings.auction is None else settings.auction,
        )
        if changed == known:
            return Difference([], [], [])
        await change_calendar(connection, changed)
        if changed[4:] == known[4:]:
            return Difference([], [], [])
        return await _replace(connection, changed, (), *_ALL_DAYS, keep=True)


async def _lock(connection: AsyncConnection, code: str, remedy: str | None = None) -> StoredCalendar:
    known = await lock_calendar(connection, code)
    if known is None:
        remedy = remedy or f"`market-data calendars refresh {code}` adds one of {LIBRARY}, `import` an own one"
        raise CommandFailed(f"There is no calendar {code}; {remedy}.")
    return known


async def _replace(
    connection: AsyncConnection,
    calendar: StoredCalendar,
    hours: Sequence[Hours],
    first: date,
    last: date,
    *,
    keep: bool = False,
) -> Difference:
    """Replace the sessions from the first day to the last one; with `keep`, derive the present ones again.

    The neighbours of these days are taken into account, but do not change.
    """
    present = await read_sessions(connection, calendar.code, *_ALL_DAYS)
    kept = [hours_of(session) for session in present if keep or not first <= session.day <= last]
    every = sorted([*kept, *hours], key=attrgetter("day"))
    if problem := find_problem(every):
        raise CommandFailed(f"{calendar.code}: {problem}.")
    wanted = derive_sessions(every, Minutes(*calendar[4:]))

    def within(sessions: Sequence[Session]) -> list[Session]:
        return [session for session in sessions if first <= session.day <= last]

    difference = find_difference(within(present), within(wanted))
    ended = [*(session.day for session in difference.changed), *difference.removed]
    await replace_sessions(connection, calendar.code, ended, [*difference.changed, *difference.added])
    return difference
