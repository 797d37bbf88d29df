"""CSV files with the sessions of own calendars."""

import csv
import re
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from market_data.calendars.hours import Hours
from market_data.errors import CommandFailed
from market_data.trade_validation import shown

COLUMNS: Final[Mapping[str, str]] = {
    "day": "day",
    "open": "open",
    "close": "close",
    "break_start": "break_start",
    "break_end": "break_end",
    "opens_at": "open",
    "closes_at": "close",
    "break_starts_at": "break_start",
    "break_ends_at": "break_end",
}
"""Columns by their names in a file, which may be those of `/calendars/{code}/sessions`. Others are ignored."""

REQUIRED: Final = ("day", "open", "close")

LOCAL: Final = re.compile(r"(\d{1,2}):(\d\d)(?::00)?", re.ASCII)


def read_hours(name: str, zone: ZoneInfo) -> list[Hours]:
    """Return the rows of a file, or of standard input if its name is `-`. Times without a date are those of a zone.

    Raises:
        CommandFailed: The file can't be read, or a row is invalid.
    """
    try:
        if name == "-":
            return _read(name, sys.stdin, zone)
        with Path(name).open(encoding="utf-8-sig", newline="") as file:
            return _read(name, file, zone)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise CommandFailed(f"{name} can't be read: {reason}") from None


def _read(name: str, lines: Iterable[str], zone: ZoneInfo) -> list[Hours]:
    reader = csv.reader(lines)
    names = next(reader, None) or [""]
    header = [COLUMNS.get(column.strip().lower(), "") for column in names]
    if missing := [column for column in REQUIRED if column not in header]:
        expected = "day, open, close and, with a lunch break, break_start and break_end"
        raise CommandFailed(f"{name} has no column {missing[0]}; its first line must name the columns {expected}.")
    hours: list[Hours] = []
    for row in reader:
        if not any(row):
            continue
        values = {column: value.strip() for column, value in zip(header, row, strict=False)}
        try:
            hours.append(_hours(values, zone))
        except ValueError as error:
            raise CommandFailed(f"{name} line {reader.line_num}: {error}.") from None
    if not hours:
        raise CommandFailed(f"{name} has no sessions.")
    return hours


def _hours(values: Mapping[str, str], zone: ZoneInfo) -> Hours:
    text = values.get("day", "")
    try:
        day = datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise ValueError(f"day: must be a date such as 2026-02-08, not {shown(text)}") from None
    break_start, break_end = values.get("break_start"), values.get("break_end")
    return Hours(
        day,
        _time("open", values.get("open", ""), day, zone),
        _time("close", values.get("close", ""), day, zone),
        _time("break_start", break_start, day, zone) if break_start else None,
        _time("break_end", break_end, day, zone) if break_end else None,
    )


def _time(column: str, text: str, day: date, zone: ZoneInfo) -> datetime:
    try:
        if local := LOCAL.fullmatch(text):
            found = datetime.combine(day, time(int(local[1]), int(local[2])), zone)
            if found.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != found.replace(tzinfo=None):
                raise ValueError(f"{column}: {text} does not exist on {day} in {zone.key}: clocks are set forward")
            return found.astimezone(UTC)
        found = datetime.fromisoformat(text)
    except ValueError as error:
        if str(error).startswith(column):
            raise
        found = None
    if found is None or found.tzinfo is None:
        forms = "a time of the day such as 09:30, or a time with a zone such as 2026-02-08T14:30:00Z"
        raise ValueError(f"{column}: must be {forms}, not {shown(text)}")
    return found.astimezone(UTC)
