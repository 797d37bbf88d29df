"""What the texts of query parameters mean. Each reader raises ValueError with what is wrong and the remedy."""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeVar

from market_data.streaming.subscriptions import CHANNELS

C = TypeVar("C", bound=str)

Format = Literal["json", "csv", "arrow"]
"""The forms that rows can be asked for in."""


def shown(text: str) -> str:
    """What the client sent, quoted and cut short, for an error message."""
    return repr(text if len(text) <= 40 else text[:37] + "...")


SYMBOL_FORM = re.compile(r"[A-Za-z0-9^][A-Za-z0-9._/^=-]{0,31}")


def read_symbol(text: str) -> str:
    """A symbol, in upper case."""
    if not SYMBOL_FORM.fullmatch(text):
        raise ValueError(
            f"must be 1 to 32 letters, digits or . _ / ^ = -, beginning with a letter, digit or ^, not {shown(text)}"
        )
    return text.upper()


TIME_FORM = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,18}))?(?:[Zz]|([+-])(\d\d):(\d\d))?", re.ASCII)


def read_time(text: str) -> datetime:
    """A time, in UTC; digits beyond the microsecond are rounded up, which leaves half-open ranges as they are."""
    text = re.sub(r" (?=\d\d:\d\d$)", "+", text)  # an unescaped plus of a query string arrives as a space
    form = TIME_FORM.fullmatch(text)
    if not form:
        raise ValueError(f"must be a time such as 2026-02-08T10:30:00Z (RFC 3339), not {shown(text)}")
    if not form[4] and text[-1] not in "Zz":
        raise ValueError(f"has no time zone; add Z for UTC, or an offset such as +01:00, to {shown(text)}")
    hours, minutes = int(form[5] or 0), int(form[6] or 0)
    offset = timedelta(hours=hours, minutes=minutes) * (-1 if form[4] == "-" else 1)
    fraction = (form[3] or "").ljust(6, "0")
    microseconds = int(fraction[:6]) + (fraction[6:].strip("0") != "")
    try:
        if hours > 23 or minutes > 59:
            raise ValueError
        local = datetime.fromisoformat(f"{form[1]}T{form[2]}").replace(tzinfo=UTC)
        return local + timedelta(microseconds=microseconds) - offset
    except (ValueError, OverflowError):
        raise ValueError(f"names a time that does not exist: {shown(text)}") from None


MOST_SYMBOLS = 10_000


def read_symbols(text: str) -> tuple[str, ...]:
    """Symbols between commas: in upper case and alphabetical order, each once."""
    parts = text.split(",")
    if len(parts) > MOST_SYMBOLS:
        raise ValueError(f"has {len(parts)} symbols; ask for {MOST_SYMBOLS} at a time, or for all by leaving it out")
    return tuple(sorted({read_symbol(part) for part in parts}))


def read_channels(text: str) -> tuple[str, ...]:
    """Channels of a stream between commas, each once."""
    read = read_choice(CHANNELS)
    return tuple(dict.fromkeys(read(part) for part in text.split(",")))


def read_choice(choices: Iterable[C]) -> Callable[[str], C]:
    """A reader of one of a few words."""
    known = list(choices)

    def read(text: str) -> C:
        for choice in known:
            if text == choice:
                return choice
        raise ValueError(f"must be one of {', '.join(known)}, not {shown(text)}")

    return read


def read_number(highest: int) -> Callable[[str], int]:
    """A reader of whole numbers from 1 to `highest`."""

    def read(text: str) -> int:
        if not re.fullmatch(r"\d{1,18}", text, re.ASCII) or not 1 <= int(text) <= highest:
            raise ValueError(f"must be a whole number from 1 to {highest}, not {shown(text)}")
        return int(text)

    return read
