"""Show, refresh, import and set calendars of trading sessions. The service may run meanwhile."""

import argparse
from collections.abc import Callable, Coroutine
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from market_data.calendars import changes, library
from market_data.calendars.hours import Difference
from market_data.calendars.own_files import read_hours
from market_data.cli import runner
from market_data.cli.console import counted, output, progress
from market_data.cli.data.lease import Lease
from market_data.cli.durations import number_between
from market_data.cli.operate.text_tables import plain_table, render
from market_data.database.connection import Connection, connect
from market_data.errors import CommandFailed
from market_data.models_calendars import Session
from market_data.queries.calendar_changes import read_library_codes
from market_data.queries.calendars import ALWAYS_OPEN, CalendarZone, read_calendar_zone, read_calendars, read_sessions
from market_data.settings import Settings

SHOWN_DAYS = 14

HELD = "Another process refreshes calendars; wait until it has ended."

_Action = Callable[[str, argparse.Namespace], Coroutine[Any, Any, int]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Calendars say when the market of a symbol is open: holidays, half days, lunch breaks, pre- and post-market. "
        "Symbols name theirs; in 24/7, the default, each UTC day is a session. A change of sessions takes a version, so "
        "that answers as of a version stay the same. Own calendars can also be changed in psql, through the view sessions."
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION", parser_class=argparse.ArgumentParser)

    def add_action(name: str, action: _Action, summary: str, description: str) -> argparse.ArgumentParser:
        added = actions.add_parser(name, help=summary, description=description)
        added.set_defaults(command=_run, action=action)
        return added

    text = "List the calendars with their settings, and the days of their first and last stored session."
    listing = add_action("list", _list, "list the calendars", text)
    listing.add_argument("--json", action="store_true", help="print the calendars as a JSON array")

    text = f"Show the sessions of a calendar in its time zone, by default of {SHOWN_DAYS} days from today on."
    show = add_action("show", _show, "show the sessions of a calendar", text)
    _add_code(show)
    show.add_argument("--start", type=_read_day, metavar="DAY", help="first day (default: today)")
    show.add_argument("--end", type=_read_day, metavar="DAY", help=f"day after the last one (default: {SHOWN_DAYS} days on)")
    show.add_argument("--json", action="store_true", help="print the sessions as a JSON array, with times in UTC")

    text = (
        "Store the sessions of exchanges from the library exchange_calendars (the extra `calendars`): from 1990 to the end "
        f"of the {library.YEARS_AHEAD}th year from now, as far as it knows them. An unknown calendar is added, so that "
        "symbols can be assigned to it. Only differences are written. The service does this at its start for the calendars "
        "that symbols use."
    )
    refresh = add_action("refresh", _refresh, "store the sessions of exchanges", text)
    refresh.add_argument(
        "codes",
        nargs="*",
        metavar="CODE",
        help="codes of the library, such as XNYS (default: those that are stored already)",
    )
    refresh.add_argument("--used", action="store_true", help="only calendars that symbols use, unless this runs already")
    _add_file_and_settings(add_action)


def _add_file_and_settings(add_action: Callable[[str, _Action, str, str], argparse.ArgumentParser]) -> None:
    text = (
        "Store the sessions of an own calendar from a CSV file with the columns day, open, close and, for lunch breaks, "
        "break_start and break_end. Times are times of the day in the time zone of the calendar (09:30), or have a zone "
        "themselves (2026-02-08T14:30:00Z). The file replaces all sessions from its first day to its last one."
    )
    imported = add_action("import", _import, "store the sessions of an own calendar from a file", text)
    _add_code(imported)
    imported.add_argument("file", metavar="FILE", help="CSV file, or - for standard input")
    imported.add_argument("--name", help="name of the calendar (default: its code)")
    imported.add_argument(
        "--time-zone", type=_read_zone, metavar="ZONE", help="such as America/New_York; required for a new calendar"
    )

    text = (
        "Change the settings of a calendar. The sessions of all days, past ones too, then have the new pre-market, "
        "post-market and auction, and answers a new version."
    )
    settings = add_action("set", _set, "change the settings of a calendar", text)
    _add_code(settings)
    for name, highest, meaning in (
        ("pre-market", 1440, "length of the pre-market before each open"),
        ("post-market", 1440, "length of the post-market after each close"),
        ("auction", 60, "time after the close in which trades belong to the closing auction"),
    ):
        settings.add_argument(f"--{name}", type=number_between(0, highest), metavar="MINUTES", help=meaning)
    settings.add_argument("--name", help="name of the calendar")


def _add_code(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("code", metavar="CODE", help="code of the calendar, such as XNYS")


def _read_day(text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day; give a date such as 2026-02-08") from None


def _read_zone(text: str) -> ZoneInfo:
    if text not in available_timezones():
        raise argparse.ArgumentTypeError(f"{text!r} is no time zone; give a name such as America/New_York")
    return ZoneInfo(text)


def _run(settings: Settings, parsed: argparse.Namespace) -> int:
    with runner.migrated_database(settings) as database_url:
        return runner.run_async(
            parsed.action(database_url, parsed),
            again="calendars that were stored stay, and the same command stores the rest",
        )


async def _list(database_url: str, parsed: argparse.Namespace) -> int:
    async with await connect(database_url, 0) as connection:
        calendars = await read_calendars(connection)
    if parsed.json:
        output(_json(calendars))
        return 0
    table = plain_table("code", "name", "time zone", "source", "pre", "post", "auction", "sessions", "first", "last")
    for each in calendars:
        minutes = each.pre_market_minutes, each.post_market_minutes, each.auction_minutes
        sessions = "all UTC days" if each.code == ALWAYS_OPEN else f"{each.session_count:,}"
        days = [str(day or "") for day in (each.first_day, each.last_day)]
        table.add_row(each.code, each.name, each.time_zone, each.source, *map(str, minutes), sessions, *days)
    output(render(table))
    return 0


async def _show(database_url: str, parsed: argparse.Namespace) -> int:
    async with await connect(database_url, 0) as connection:
        known = await _require(connection, parsed.code)
        zone = ZoneInfo(known.time_zone)
        start = parsed.start or datetime.now(zone).date()
        end = parsed.end or start + min(timedelta(SHOWN_DAYS), date.max - start)
        if start >= end:
            raise CommandFailed(f"--start must be before --end, which is {end} and not included.")
        sessions = await read_sessions(connection, known.code, start, end)
    if parsed.json:
        output(_json(sessions))
        return 0
    if not sessions:
        output(f"{known.code} has no sessions from {start} until before {end}")
        return 0
    table = plain_table("day", "pre-market", "open", "break", "close", "auction", "post-market", known.time_zone)
    for session in sessions:
        table.add_row(*_row(session, zone))
    output(render(table))
    return 0


async def _require(connection: Connection, code: str) -> CalendarZone:
    known = await read_calendar_zone(connection, code)
    if known is None:
        raise CommandFailed(f"There is no calendar {code}; `market-data calendars list` shows the known ones.")
    return known


def _row(session: Session, zone: ZoneInfo) -> list[str]:
    """Return the times of a session as those of the day in a zone, with the date where it is another one."""

    def text(time: datetime) -> str:
        local = time.astimezone(zone)
        return f"{local:%H:%M}" if local.date() == session.day else f"{local:%m-%d %H:%M}"

    pause = ""
    if session.break_starts_at and session.break_ends_at:
        pause = f"{text(session.break_starts_at)}-{text(session.break_ends_at)}"
    return [
        f"{session.day:%a %Y-%m-%d}",
        "" if session.pre_opens_at == session.opens_at else text(session.pre_opens_at),
        text(session.opens_at),
        pause,
        text(session.closes_at),
        "" if session.auction_ends_at == session.closes_at else text(session.auction_ends_at),
        "" if session.post_closes_at == session.closes_at else text(session.post_closes_at),
    ]


async def _refresh(database_url: str, parsed: argparse.Namespace) -> int:
    lease = Lease("calendars", HELD)
    try:
        async with lease.held(database_url), await connect(database_url, 0) as connection:
            codes = parsed.codes or await read_library_codes(connection, used=parsed.used)
            if not codes and not parsed.used:
                output("no calendar of an exchange is stored; name those to add, such as XNYS")
            for code in codes:
                found = library.read_calendar(code, library.today())
                _report(code, await changes.refresh(connection, code, found), quiet=parsed.used)
    except CommandFailed as error:
        if not parsed.used or str(error) != HELD:
            raise
        progress("another process refreshes the calendars")
    return 0


async def _import(database_url: str, parsed: argparse.Namespace) -> int:
    async with await connect(database_url, 0) as connection:
        zone: ZoneInfo | None = parsed.time_zone
        if zone is None:
            zone = ZoneInfo((await _require_zone(connection, parsed.code)).time_zone)
        hours = read_hours(parsed.file, zone)
        given = parsed.time_zone and parsed.time_zone.key
        _report(parsed.code, await changes.import_hours(connection, parsed.code, parsed.name, given, hours))
    return 0


async def _require_zone(connection: Connection, code: str) -> CalendarZone:
    known = await read_calendar_zone(connection, code)
    if known is None:
        raise CommandFailed(f"There is no calendar {code}; give --time-zone to add it.")
    return known


async def _set(database_url: str, parsed: argparse.Namespace) -> int:
    settings = changes.Settings(parsed.name, parsed.pre_market, parsed.post_market, parsed.auction)
    if all(value is None for value in settings):
        raise CommandFailed("Give a setting to change: --pre-market, --post-market, --auction or --name.")
    async with await connect(database_url, 0) as connection:
        _report(parsed.code, await changes.change_settings(connection, parsed.code, settings))
    return 0


def _report(code: str, difference: Difference, *, quiet: bool = False) -> None:
    if difference:
        added, changed, removed = map(len, difference)
        text = f"{counted(added, 'session')} added, {changed:,} changed, {removed:,} removed"
        (progress if quiet else output)(f"{code}: {text}")
    elif not quiet:
        output(f"{code}: no session changed")


def _json(rows: object) -> str:
    return msgspec.json.format(msgspec.json.encode(rows), indent=2).decode()
