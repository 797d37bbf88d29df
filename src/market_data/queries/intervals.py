"""The intervals of candles: those that are stored, and those that are computed from them at read time."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import LiteralString, NamedTuple
from zoneinfo import ZoneInfo

INTERVALS: Mapping[str, timedelta] = {
    "1m": timedelta(minutes=1),
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "30m": timedelta(minutes=30),
    "1h": timedelta(hours=1),
    "4h": timedelta(hours=4),
    "1d": timedelta(days=1),
    "1w": timedelta(weeks=1),
}
"""Length of the buckets, by stored interval."""

WEEK_START = datetime(2000, 1, 3, tzinfo=UTC)
"""A Monday: buckets of all intervals are aligned to this time."""

# Hours instead of days: the session's time zone can't make them longer or shorter.
LENGTHS: Mapping[LiteralString, LiteralString] = {
    "1m": "1 minute",
    "5m": "5 minutes",
    "15m": "15 minutes",
    "30m": "30 minutes",
    "1h": "1 hour",
    "4h": "4 hours",
    "1d": "24 hours",
    "1w": "168 hours",
}
"""The same lengths as SQL intervals."""

STORED: Mapping[str, LiteralString] = {name: name for name in LENGTHS}
"""The stored intervals as SQL text."""

LEVELS: Mapping[LiteralString, LiteralString] = dict(zip(LENGTHS, ("1", "2", "3", "4", "5", "6", "7", "8"), strict=True))
"""Levels of the intervals in `stale_ranges`."""


class Derived(NamedTuple):
    """An interval whose candles are computed from those of a stored one, or from trades."""

    source: LiteralString
    """The stored interval; `trades` for intervals of less than a minute."""
    length: LiteralString
    """Length as an SQL interval."""
    width: timedelta
    """Length, which is at most this one."""
    is_calendar: bool = False
    """True if the length of a bucket depends on the calendar."""


DERIVED: Mapping[str, Derived] = {
    "1s": Derived("trades", "1 second", timedelta(seconds=1)),
    "5s": Derived("trades", "5 seconds", timedelta(seconds=5)),
    "15s": Derived("trades", "15 seconds", timedelta(seconds=15)),
    "3m": Derived("1m", "3 minutes", timedelta(minutes=3)),
    "2h": Derived("1h", "2 hours", timedelta(hours=2)),
    "6h": Derived("1h", "6 hours", timedelta(hours=6)),
    "8h": Derived("4h", "8 hours", timedelta(hours=8)),
    "12h": Derived("4h", "12 hours", timedelta(hours=12)),
    "3d": Derived("1d", "72 hours", timedelta(days=3)),
    "1M": Derived("1d", "1 month", timedelta(days=31), is_calendar=True),
}

_SECONDS: tuple[LiteralString, ...] = ("2", "3", "4", "6", "10", "12", "20", "30")
_MINUTES: tuple[LiteralString, ...] = (
    *("2", "4", "6", "8", "9", "10", "12", "16"),
    *("18", "20", "24", "32", "36", "40", "45", "48"),
)
_DAYS: tuple[tuple[LiteralString, LiteralString], ...] = (("2", "48"), ("4", "96"), ("5", "120"), ("6", "144"))
_MONTHS: tuple[LiteralString, ...] = ("2", "3", "4", "6", "12")


def _coarsest(width: timedelta) -> LiteralString:
    """Return the longest stored interval of which a length, which is no multiple of a week, is a multiple."""
    fitting: list[LiteralString] = [name for name in LENGTHS if width % INTERVALS[name] == timedelta(0)]
    return fitting[-1]


def _minutes(number: int) -> timedelta:
    return timedelta(minutes=number)


MULTIPLES: Mapping[str, Derived] = {
    **{f"{n}s": Derived("trades", f"{n} seconds", timedelta(seconds=int(n))) for n in _SECONDS},
    **{f"{n}m": Derived(_coarsest(_minutes(int(n))), f"{n} minutes", _minutes(int(n))) for n in _MINUTES},
    "3h": Derived("1h", "3 hours", timedelta(hours=3)),
    **{f"{n}d": Derived("1d", f"{hours} hours", timedelta(days=int(n))) for n, hours in _DAYS},
    **{f"{n}M": Derived("1d", f"{n} months", timedelta(days=31 * int(n)), is_calendar=True) for n in _MONTHS},
}
"""Further intervals, which foreign protocols have and `/candles` lacks: seconds, minutes and hours that divide the next unit
or a day, days counted like weeks from a Monday, and months that divide a year."""

LOCAL_LENGTHS: Mapping[str, tuple[LiteralString, timedelta]] = {
    "1d": ("1 day", timedelta(days=1, hours=1)),
    "3d": ("3 days", timedelta(days=3, hours=1)),
    "1w": ("7 days", timedelta(days=7, hours=1)),
    "1M": ("1 month", timedelta(days=31, hours=1)),
}
"""SQL interval and maximum length of the buckets of a time zone, with the hour that the end of summer time adds."""

DAYS: Mapping[str, int] = {"1d": 1, "3d": 3, "1w": 7}
"""Days in a bucket of a time zone, except for months."""

MAX_SECONDS_DAYS = 7
"""Days of trades from which candles of seconds are computed."""

SECONDS = tuple(name for name, derived in DERIVED.items() if derived.source == "trades")

ALL_INTERVALS: Mapping[str, timedelta] = dict(
    sorted((*INTERVALS.items(), *((name, derived.width) for name, derived in DERIVED.items())), key=lambda item: item[1])
)
"""Maximum length of the buckets of every interval that `/candles` knows, by rising length."""

WIDTHS: Mapping[str, timedelta] = {**ALL_INTERVALS, **{name: derived.width for name, derived in MULTIPLES.items()}}
"""The same of all intervals that can be read."""


def derived(interval: str, tz: ZoneInfo | None, start: datetime, end: datetime) -> Derived | None:
    """Return how candles of a range are computed; None if they are stored.

    Days of a time zone are computed from hours, or from quarters of an hour if its offset is not of whole hours.
    """
    if tz is None:
        return DERIVED.get(interval) or MULTIPLES.get(interval)
    length, width = LOCAL_LENGTHS[interval]
    return Derived(_source_of(tz, start, end), length, width, is_calendar=True)


MAX_CHECKED_MONTHS = 2400


def _source_of(tz: ZoneInfo, start: datetime, end: datetime) -> LiteralString:
    month = timedelta(days=30)
    first = max(start, min(end, datetime.now(UTC)) - MAX_CHECKED_MONTHS * month)
    months = range(-1, (end - first) // month + 3)
    offsets = {(first + number * month).astimezone(tz).utcoffset() for number in months}
    return "1h" if all(not offset or offset % timedelta(hours=1) == timedelta(0) for offset in offsets) else "15m"


def bucket_start(time: datetime, interval: str, tz: ZoneInfo | None) -> datetime:
    """Return the start of the bucket that contains a time."""
    if tz is None and not interval.endswith("M"):
        return time - (time - WEEK_START) % WIDTHS[interval]
    local = time.astimezone(tz or UTC)
    if interval.endswith("M"):
        local = local.replace(day=1, month=local.month - (local.month - 1) % int(interval[:-1]))
    return _midnight(local, -_days_into_bucket(local, interval))


def next_bucket(start: datetime, interval: str, tz: ZoneInfo | None) -> datetime:
    """Return the start of the bucket after the one that starts at a time."""
    if tz is None and not interval.endswith("M"):
        return start + WIDTHS[interval]
    local = start.astimezone(tz or UTC)
    if not interval.endswith("M"):
        return _midnight(local, DAYS[interval])
    years, month = divmod(local.month - 1 + int(interval[:-1]), 12)
    return _midnight(local.replace(day=1, year=local.year + years, month=month + 1), 0)


def _days_into_bucket(local: datetime, interval: str) -> int:
    if interval.endswith("M"):
        return 0
    return (local.date() - WEEK_START.date()).days % DAYS[interval]


def _midnight(local: datetime, days: int) -> datetime:
    """Return the first instant of the day some days later, in UTC: after summer time has skipped a midnight, a later one."""
    date = local.date() + timedelta(days=days)
    return datetime.combine(date, datetime.min.time(), local.tzinfo).astimezone(UTC)
