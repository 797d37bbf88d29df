"""Types of query parameters: the text that each accepts, and its value. Readers raise ValueError with the remedy."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from math import inf
from typing import Any, Final, NamedTuple, TypeVar
from zoneinfo import ZoneInfo, available_timezones

from market_data.streaming.events import EventId
from market_data.streaming.subscriptions import CHANNELS
from market_data.trade_validation import SYMBOL, SYMBOL_FORM, shown

C = TypeVar("C", bound=str)

MAX_SYMBOLS = 10_000
MAX_ZONE_LENGTH = 64

NUMBER: Final = re.compile(r"-?[0-9]{1,19}", re.ASCII)

TIME: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d(?::\d\d)?)(?:(?<=:\d\d:\d\d)\.(\d{1,18}))?(?:([Zz])|([+-])(\d\d):(\d\d))?)?",
    re.ASCII,
)
RELATIVE: Final = re.compile(r"now(?:-(\d{1,9})([smhdw]))?", re.ASCII | re.IGNORECASE)
UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
DURATION: Final = re.compile(r"(\d{1,6})([smhdw])", re.ASCII)
EPOCH: Final = re.compile(r"(\d{9,19})(?:\.(\d{1,9}))?", re.ASCII)
EPOCH_UNITS: Final = ((10**11, 1_000_000), (10**14, 1_000), (10**17, 1))
"""Upper bounds of epochs in seconds, milliseconds and microseconds, with the microseconds of a unit; above: nanoseconds."""

DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
VERSION: Final = re.compile(r"[0-9]{1,18}", re.ASCII)

TIME_FORMS: Final = (
    "2026-02-08T10:30:00Z, 2026-02-08 (midnight UTC), now, now-1h (s, m, h, d or w), or a Unix time of at least 9 digits"
)


class TimeBound(NamedTuple):
    """A bound of a range of time."""

    time: datetime
    relative: str | None = None
    """The text, if it is relative to the time of the request."""

    @property
    def notation(self) -> object:
        """The time, or the text of a relative one: what a page token belongs to."""
        return self.relative or self.time


def read_symbol(text: str) -> str:
    """Return a symbol in upper case."""
    if not SYMBOL.fullmatch(text):
        raise ValueError(f"must be {SYMBOL_FORM}, not {shown(text)}")
    return text.upper()


def unescape(segment: str) -> str:
    """Return a name of a path, in which `PathNames` escapes slashes."""
    return segment.replace("%2F", "/")


def read_path_symbol(text: str) -> str:
    """Return the symbol of a path."""
    return read_symbol(unescape(text))


def read_time_bound(text: str) -> TimeBound:
    """Return a bound of a range: a time with a zone, a date, a Unix time, or a time relative to now."""
    if text[4:5] == "-":  # most are full times
        return TimeBound(read_time(text))
    if relative := RELATIVE.fullmatch(text):
        try:
            length = timedelta(**{UNITS[relative[2].lower()]: int(relative[1])}) if relative[1] else timedelta()
            return TimeBound(datetime.now(UTC) - length, text.lower())
        except OverflowError:
            raise ValueError(f"names a time that does not exist: {shown(text)}") from None
    if epoch := EPOCH.fullmatch(text):
        return TimeBound(_from_epoch(int(epoch[1]), epoch[2] or ""))
    return TimeBound(read_time(text))


def _from_epoch(number: int, fraction: str) -> datetime:
    """Return the time of an epoch, whose unit follows from its magnitude. Parts of a microsecond are cut off."""
    factor = next((factor for limit, factor in EPOCH_UNITS if number < limit), None)
    if factor is None:
        return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=number // 1000)
    part = int(fraction.ljust(9, "0")) * factor // 10**9 if fraction else 0
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=number * factor + part)


@lru_cache(1024)
def read_time(text: str) -> datetime:
    """Return a time in UTC; a date is its midnight. Digits beyond the microsecond are cut off, as in written trades."""
    if " " in text:
        text = re.sub(r" (?=\d\d:\d\d$)", lambda _: "+" if ":" in text[:-5] else " ", text)  # an unescaped plus
    form = TIME.fullmatch(text)
    if not form:
        raise ValueError(f"must be a time such as {TIME_FORMS}, not {shown(text)}")
    day, clock, fraction, is_utc, sign, hour, minute = form.groups()
    if clock and not is_utc and not sign:
        raise ValueError(f"has no time zone; add Z for UTC, or an offset such as +01:00, to {shown(text)}")
    hours, minutes = int(hour or 0), int(minute or 0)
    offset = timedelta(hours=hours, minutes=minutes) * (-1 if sign == "-" else 1)
    microseconds = int((fraction or "").ljust(6, "0")[:6])
    try:
        if hours > 23 or minutes > 59:
            raise ValueError
        local = datetime.fromisoformat(f"{day}T{clock or '00:00'}").replace(tzinfo=UTC)
        return local + timedelta(microseconds=microseconds) - offset
    except (ValueError, OverflowError):
        raise ValueError(f"names a time that does not exist: {shown(text)}") from None


@lru_cache(1)
def _zones() -> Mapping[str, str]:
    """Return the names of all time zones by themselves in lower case. Listing them takes 30 ms."""
    return {name.lower(): name for name in available_timezones()}


def read_zone(text: str) -> ZoneInfo | None:
    """Return a time zone by its name; None for UTC."""
    text = text.strip()
    if text.upper() in ("UTC", "ETC/UTC", "Z"):
        return None
    try:
        return ZoneInfo(_zones()[text.lower()])
    except KeyError:
        near = get_close_matches(text.lower(), _zones(), 1, 0.6) if len(text) <= MAX_ZONE_LENGTH else []
        hint = f"; did you mean {_zones()[near[0]]}?" if near else ""
        raise ValueError(f"must be a time zone such as America/New_York or UTC, not {shown(text)}{hint}") from None


def read_symbols(text: str, maximum: int = MAX_SYMBOLS) -> tuple[str, ...]:
    """Return symbols between commas in upper case and alphabetical order, without duplicates."""
    parts = text.split(",")
    if len(parts) > maximum:
        raise ValueError(f"has {len(parts)} symbols; ask for {maximum} at a time")
    return tuple(sorted({read_symbol(part) for part in parts}))


def read_version_number(text: str) -> int:
    """Return a version."""
    if not VERSION.fullmatch(text):
        raise ValueError(f"must be a version such as 412, as in Data-Version, not {shown(text)}")
    return int(text)


def read_duration(text: str) -> timedelta:
    """Return a length of time."""
    if not (form := DURATION.fullmatch(text)):
        raise ValueError(f"must be a time such as 30s, 5m or 2h (s, m, h, d or w), not {shown(text)}")
    return timedelta(**{UNITS[form[2]]: int(form[1])})


def read_date(text: str) -> date:
    """Return a day."""
    try:
        if DATE.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise ValueError(f"must be a day such as 2022-06-09, not {shown(text)}")


def read_channels(text: str) -> tuple[str, ...]:
    """Return channels of a stream between commas, without duplicates."""
    return tuple(dict.fromkeys(read_choice(part, CHANNELS) for part in text.split(",")))


def read_event_id(text: str) -> EventId | None:
    """Return the id of an event. By the standard of `EventSource`, an empty text means that there is none."""
    return EventId.parse(text) if text else None


def read_speed(text: str) -> float:
    """Return the speed of a replay in virtual seconds per second; infinite for `max`."""
    if text.lower() == "max":
        return inf
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text, re.ASCII) and float(text) > 0:
        return float(text)
    raise ValueError(f"must be a number above 0, such as 1, 10, 60 or 0.5, or max, not {shown(text)}")


def read_choice(text: str, choices: Iterable[C]) -> C:
    """Return the choice that is this text, in upper or lower case. An upper-case `M` is a month, never a minute."""
    known = list(choices)
    for wanted in (text, *(() if text.endswith("M") else (text.lower(),))):
        for choice in known:
            if wanted == choice:
                return choice
    raise ValueError(f"must be one of {', '.join(known)}, not {shown(text)}")


def _read_limit(text: str, highest: int) -> int:
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII) or not 1 <= int(text) <= highest:
        raise ValueError(f"must be a whole number from 1 to {highest}, not {shown(text)}")
    return int(text)


class ParsedType(type):
    """Metaclass of parameter types whose values have a plain type, such as `str` or `datetime`.

    Litestar passes a text on unread if it is an instance of the type, and msgspec requires that the result of reading is
    one. So an instance is any value that needs no reading; None is one, for a parameter that is left out. (`| None` would
    not do: msgspec takes the text "null" for None.)
    """

    read: Callable[[str], Any]
    kind: type
    is_text_value: Callable[[str], Any]

    def __instancecheck__(cls, value: Any) -> bool:
        """Return True if a value needs no reading."""
        return value is None or (isinstance(value, cls.kind) and (cls.kind is not str or bool(cls.is_text_value(value))))


def parsed(read: Callable[[str], Any], kind: type = str, is_text_value: Callable[[str], Any] = bool) -> Any:
    """Return the type of a parameter whose text `read` turns into a value of a plain type."""
    attributes = {"read": staticmethod(read), "kind": kind, "is_text_value": staticmethod(is_text_value)}
    return ParsedType("Parsed", (), attributes)


def parsed_choice(choices: Collection[str]) -> Any:
    """Return the type of a parameter that is one of some texts."""
    return parsed(lambda text: read_choice(text, choices), is_text_value=choices.__contains__)


def parsed_limit(highest: int) -> Any:
    """Return the type of a whole number from 1 to a maximum."""
    return parsed(lambda text: _read_limit(text, highest), int)


def parsed_number(lowest: int, highest: int) -> Any:
    """Return the type of a whole number within bounds, which need not be named because they are those of a `bigint`."""

    def read(text: str) -> int:
        if not NUMBER.fullmatch(text) or not lowest <= int(text) <= highest:
            raise ValueError(f"must be a whole number of at least {lowest}, not {shown(text)}")
        return int(text)

    return parsed(read, int)


def _is_parsed(kind: Any) -> bool:
    return isinstance(kind, ParsedType)


def _decode(kind: ParsedType, text: str) -> Any:
    return kind.read(text)


TYPE_DECODERS: Final = [(_is_parsed, _decode)]
"""For Litestar: reads the values of these types."""
