"""Changes of calendars and their sessions. Former sessions stay, for reads as of a version."""

from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import args_row, scalar_row

from market_data.models_calendars import Session

Connection = AsyncConnection[Any]


class StoredCalendar(NamedTuple):
    """Row of a calendar."""

    code: str
    name: str
    time_zone: str
    source: str
    pre_market_minutes: int
    post_market_minutes: int
    auction_minutes: int


# Until the end of the transaction, no other changes its sessions. Symbols can still be assigned to it.
LOCK_CALENDAR = """
    SELECT code, name, time_zone, source, pre_market_minutes, post_market_minutes, auction_minutes
    FROM calendars
    WHERE code = %s
    FOR NO KEY UPDATE
"""


async def lock_calendar(connection: Connection, code: str) -> StoredCalendar | None:
    """Return a calendar that no other transaction changes until the end of this one; None if it is unknown."""
    cursor = connection.cursor(row_factory=args_row(StoredCalendar))
    await cursor.execute(LOCK_CALENDAR, (code,))
    return await cursor.fetchone()


ADD_CALENDAR = """
    INSERT INTO calendars
        (code, name, time_zone, source, pre_market_minutes, post_market_minutes, auction_minutes)
    VALUES (%s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (code) DO NOTHING
"""


async def add_calendar(connection: Connection, calendar: StoredCalendar) -> None:
    """Add a calendar; a known one is not changed."""
    await connection.execute(ADD_CALENDAR, calendar)


CHANGE_CALENDAR = """
    UPDATE calendars
    SET
        name = %(name)s,
        time_zone = %(time_zone)s,
        pre_market_minutes = %(pre_market_minutes)s,
        post_market_minutes = %(post_market_minutes)s,
        auction_minutes = %(auction_minutes)s,
        changed_at = now()
    WHERE code = %(code)s
"""


async def change_calendar(connection: Connection, calendar: StoredCalendar) -> None:
    """Store the row of a calendar, except its source."""
    await connection.execute(CHANGE_CALENDAR, calendar._asdict())


END_SESSIONS = """
    UPDATE calendar_sessions
    SET ended_write_id = (SELECT reference_write())
    WHERE calendar = %s AND day = ANY (%s::date[]) AND ended_write_id IS NULL
"""
ADD_SESSIONS = """
    INSERT INTO calendar_sessions
        (calendar, day, opens_at, closes_at, break_starts_at, break_ends_at, pre_opens_at, post_closes_at, auction_ends_at,
        write_id)
    SELECT
        %s, day, opens_at, closes_at, break_starts_at, break_ends_at, pre_opens_at, post_closes_at, auction_ends_at,
        (SELECT reference_write())
    FROM unnest(
        %s::date[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[],
        %s::timestamptz[], %s::timestamptz[]
    ) AS added (
        day, opens_at, closes_at, break_starts_at, break_ends_at, pre_opens_at, post_closes_at, auction_ends_at
    )
"""


async def replace_sessions(connection: Connection, code: str, ended: Sequence[date], added: Sequence[Session]) -> None:
    """End the sessions of some days, then add others: at most once for a calendar in a transaction."""
    if ended:
        await connection.execute(END_SESSIONS, (code, list(ended)))
    if added:
        columns = zip(
            *(
                (
                    each.day,
                    each.opens_at,
                    each.closes_at,
                    each.break_starts_at,
                    each.break_ends_at,
                    each.pre_opens_at,
                    each.post_closes_at,
                    each.auction_ends_at,
                )
                for each in added
            ),
            strict=True,
        )
        await connection.execute(ADD_SESSIONS, (code, *map(list, columns)))


LIBRARY_CALENDARS = "SELECT code FROM calendars WHERE source = 'exchange_calendars' ORDER BY code"
USED_CALENDARS = """
    SELECT code
    FROM calendars
    WHERE source = 'exchange_calendars' AND EXISTS (SELECT FROM symbols WHERE symbols.calendar = calendars.code)
    ORDER BY code
"""


async def read_library_codes(connection: Connection, *, used: bool) -> list[str]:
    """Return the codes of the calendars that the library has the sessions of: all, or those that symbols use."""
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(USED_CALENDARS if used else LIBRARY_CALENDARS)
    return await cursor.fetchall()
