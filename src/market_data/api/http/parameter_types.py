"""Types of query parameters: the text that each accepts, and its value. Readers raise ValueError with the remedy."""

import re
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from market_data.streaming.events import EventId
from market_data.streaming.subscriptions import CHANNELS
from market_data.trade_validation import SYMBOL, shown

C = TypeVar("C", bound=str)

MAX_SYMBOLS = 10_000

TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,18}))?(?:[Zz]|([+-])(\d\d):(\d\d))?", re.ASCII)


def read_symbol(text: str) -> str:
    """Return a symbol in upper case."""
    if not SYMBOL.fullmatch(text):
        raise ValueError(
            f"must be 1 to 32 letters, digits or . _ / ^ = -, beginning with a letter, digit or ^, not {shown(text)}"
        )
    return text.upper()


def read_path_symbol(text: str) -> str:
    """Return the symbol at the end of a path, with the slash that Litestar leaves before it."""
    return read_symbol(text.removeprefix("/"))


def read_time(text: str) -> datetime:
    """Return a time in UTC. Digits beyond the microsecond are cut off, as in written trades."""
    text = re.sub(r" (?=\d\d:\d\d$)", "+", text)  # an unescaped plus in a query string arrives as a space
    form = TIME.fullmatch(text)
    if not form:
        raise ValueError(f"must be a time such as 2026-02-08T10:30:00Z (RFC 3339), not {shown(text)}")
    if not form[4] and text[-1] not in "Zz":
        raise ValueError(f"has no time zone; add Z for UTC, or an offset such as +01:00, to {shown(text)}")
    hours, minutes = int(form[5] or 0), int(form[6] or 0)
    offset = timedelta(hours=hours, minutes=minutes) * (-1 if form[4] == "-" else 1)
    microseconds = int((form[3] or "").ljust(6, "0")[:6])
    try:
        if hours > 23 or minutes > 59:
            raise ValueError
        local = datetime.fromisoformat(f"{form[1]}T{form[2]}").replace(tzinfo=UTC)
        return local + timedelta(microseconds=microseconds) - offset
    except (ValueError, OverflowError):
        raise ValueError(f"names a time that does not exist: {shown(text)}") from None


def read_symbols(text: str) -> tuple[str, ...]:
    """Return symbols between commas in upper case and alphabetical order, without duplicates."""
    parts = text.split(",")
    if len(parts) > MAX_SYMBOLS:
        raise ValueError(f"has {len(parts)} symbols; ask for {MAX_SYMBOLS} at a time, or leave it out for all symbols")
    return tuple(sorted({read_symbol(part) for part in parts}))


def read_channels(text: str) -> tuple[str, ...]:
    """Return channels of a stream between commas, without duplicates."""
    return tuple(dict.fromkeys(read_choice(part, CHANNELS) for part in text.split(",")))


def read_event_id(text: str) -> EventId | None:
    """Return the id of an event. By the standard of `EventSource`, an empty text means that there is none."""
    return EventId.parse(text) if text else None


def read_choice(text: str, choices: Iterable[C]) -> C:
    """Return the choice that is this text."""
    known = list(choices)
    for choice in known:
        if text == choice:
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


def _is_parsed(kind: Any) -> bool:
    return isinstance(kind, ParsedType)


def _decode(kind: ParsedType, text: str) -> Any:
    return kind.read(text)


TYPE_DECODERS: Final = [(_is_parsed, _decode)]
"""For Litestar: reads the values of these types."""
