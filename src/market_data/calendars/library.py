"""The calendars of `exchange_calendars`, an optional library. It imports pandas, so no worker may call this."""

import importlib
import importlib.util
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from difflib import get_close_matches
from typing import Any, Final, NamedTuple

from market_data.calendars.hours import Hours
from market_data.errors import CommandFailed

LIBRARY: Final = "exchange_calendars"
REMEDY: Final = f"the library {LIBRARY} is not installed: pip install 'market-data-platform[calendars]'"

FIRST_DAY: Final = date(1990, 1, 1)
YEARS_AHEAD: Final = 5


class LibraryCalendar(NamedTuple):
    """Sessions that the library knows in a range of days."""

    time_zone: str
    first: date
    last: date
    hours: list[Hours]


def is_installed() -> bool:
    """Return True if the library can be imported, without importing it."""
    return importlib.util.find_spec(LIBRARY) is not None


def read_calendar(code: str, today: date) -> LibraryCalendar:
    """Return the sessions from 1990 to the end of the fifth year from now, or those that the library has of them.

    Raises:
        CommandFailed: The library is not installed, or has no such calendar.
    """
    if not is_installed():
        raise CommandFailed(f"{REMEDY[0].upper()}{REMEDY[1:]}.")
    with _without_warnings():
        utilities: Any = importlib.import_module(f"{LIBRARY}.calendar_utils")
        known: list[str] = utilities.get_calendar_names()
        if code not in known:
            raise CommandFailed(_unknown(code, known))
        try:
            return _read(utilities, code, today)
        except Exception as error:  # such as NotImplementedError, with a version of pandas that it was not made for
            reason = str(error).partition("\n")[0][:200]
            raise CommandFailed(f"{LIBRARY} can't compute {code}: {type(error).__name__}: {reason}") from None


def _unknown(code: str, known: list[str]) -> str:
    near = [name for name in known if name.upper() == code.upper()] or get_close_matches(code.upper(), known, 3)
    hint = f"; did you mean {' or '.join(near)}?" if near else "; its documentation lists the known ones."
    return f"{LIBRARY} has no calendar {code}{hint}"


def _read(utilities: Any, code: str, today: date) -> LibraryCalendar:
    first, last = FIRST_DAY, date(today.year + YEARS_AHEAD, 12, 31)
    bounds = utilities.global_calendar_dispatcher._calendar_factories[utilities.resolve_alias(code)]
    if earliest := bounds.bound_min():
        first = max(first, earliest.date())
    if latest := bounds.bound_max():
        last = min(last, latest.date())
    calendar = utilities.get_calendar(code, start=first.isoformat(), end=last.isoformat())
    hours = [
        Hours(row.Index.date(), *(_time(time) for time in (row.open, row.close, row.break_start, row.break_end)))
        for row in calendar.schedule.itertuples()
    ]
    return LibraryCalendar(str(calendar.tz), first, last, hours)


def _time(value: Any) -> Any:
    """Return a time of pandas; None for its NaT, which does not equal itself."""
    return value.to_pydatetime().astimezone(UTC) if value == value else None  # noqa: PLR0124


@contextmanager
def _without_warnings() -> Generator[None]:
    """Keep warnings of pandas about its use in the library from the terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def today() -> date:
    """Return the current day in UTC."""
    return datetime.now(UTC).date()
