"""Trades as rows of text, of a file or of a request, checked and made ready for the database. No I/O.

Every part of a row is text, as it stands there: a number never passes through a float.
"""

import re
from array import array
from bisect import bisect_left
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

SYMBOL_FORM = r"[A-Za-z0-9^][A-Za-z0-9._/^=-]{0,31}"
POSITIVE_FORM = r"(?=[0.]*[1-9])\d{1,30}(?:\.\d{1,30})?"
NOT_NEGATIVE_FORM = r"\d{1,30}(?:\.\d{1,30})?"
WHOLE_FORM = r"-?\d{1,18}"

FAST = {
    "symbol": f"(?P<symbol>{SYMBOL_FORM})",
    "timestamp": (
        r"(?P<day>\d{4}-\d\d-\d\d)[Tt ](?P<clock>\d\d:\d\d:\d\d)(?:\.(?P<fraction>\d{1,6})\d{0,12})?(?:[Zz]|[+-]00:00)"
    ),
    "price": f"(?P<price>{POSITIVE_FORM})",
    "volume": f"(?P<volume>{NOT_NEGATIVE_FORM})",
    "trade_id": f"(?P<trade_id>{WHOLE_FORM})",
}
"""How the parts of a row mostly look: where a pattern made of these matches, only the calendar has to agree."""

SYMBOL = re.compile(SYMBOL_FORM)
TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,18}))?(?:[Zz]|([+-]\d\d(?::?\d\d)?))?", re.ASCII)
POSITIVE = re.compile(POSITIVE_FORM, re.ASCII)
NOT_NEGATIVE = re.compile(NOT_NEGATIVE_FORM, re.ASCII)
WHOLE = re.compile(WHOLE_FORM, re.ASCII)
ANY_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)", re.ASCII)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_DAY = EPOCH.toordinal()
SECOND, DAY = 1_000_000, 86_400_000_000


class Row(NamedTuple):
    """The parts of a row; None for what is not there."""

    symbol: str | None
    time: str | None
    price: str | None
    volume: str | None
    trade_id: str | None


class NewTrade(NamedTuple):
    """A row that has been checked: the instant in microseconds since 1970 and as text, the numbers as they are written."""

    symbol: str
    instant: int
    time: str
    trade_id: int
    price: str
    volume: str


class InvalidTrade(Exception):
    """A row can't be stored; the message names the part, unless it is all of it, and says why."""

    def __init__(self, part: str | None, detail: str) -> None:
        super().__init__(f"{part}: {detail}" if part else detail)
        self.part = part
        self.detail = detail


class TradeIdNumbering:
    """How often each instant of one symbol has come: 8 bytes for one that comes once and in order, of either direction."""

    def __init__(self) -> None:
        self._rising = array("q")
        self._falling = array("q")  # negative, so that it rises too
        self._counts: dict[int, int] = {}

    def number(self, instant: int) -> int:
        """0 for the first of an instant, 1 for the next…"""
        rising, falling = self._rising, self._falling
        if not rising or instant > rising[-1]:
            rising.append(instant)
            return 0
        if instant < rising[0] and (not falling or -instant > falling[-1]):
            falling.append(-instant)
            return 0
        count = self._counts.get(instant, 0) or int(_holds(rising, instant) or _holds(falling, -instant))
        self._counts[instant] = count + 1
        return count


class TradeValidator:
    """Checks one row after the other of a file, and numbers them where the file has no `trade_id`."""

    def __init__(self, *, numbers: bool) -> None:
        self._numbers = numbers
        self._symbols: dict[str, tuple[str, TradeIdNumbering]] = {}
        self._days: dict[str, int] = {}
        self._clocks: dict[str, int] = {}

    def quickly(self, match: re.Match[str]) -> str | None:
        """The same as `checked` for a row that a pattern of `FAST` has matched; None where its day or hour is unusual."""
        symbol, day, clock, fraction, price, volume = match.group("symbol", "day", "clock", "fraction", "price", "volume")
        known, since, seconds = self._symbols.get(symbol), self._days.get(day), self._clocks.get(clock)
        if known is None or since is None or seconds is None:
            return None
        if self._numbers:
            instant = since + seconds + (int(fraction.ljust(6, "0")) if fraction else 0)
            number = known[1].number(instant)
        else:
            number = match["trade_id"]
        return f"{known[0]}\t{day} {clock}.{fraction or 0}Z\t{number}\t{price}\t{volume}\n"

    def checked(self, row: Row) -> str:
        """The row as columns of a text COPY: symbol, time, trade_id, price and volume.

        Raises:
            InvalidTrade: It can't be stored.
        """
        symbol, time, price, volume, trade_id = row
        if symbol is None or time is None or price is None or volume is None or (trade_id is None and not self._numbers):
            raise InvalidTrade(_missing(row), "is missing")
        if self._numbers and trade_id is not None:
            raise InvalidTrade("trade_id", "is given here, but not in the first row, and so the rows are numbered")
        name, numbering = self._symbols.get(symbol) or self._symbol(symbol)
        instant, moment = self.read_time(time)
        if self._numbers:
            # Before the rest is looked at: a row that is put right later has the same number then.
            number: int | str = numbering.number(instant)
        else:
            number = read_trade_id(trade_id or "")
        return f"{name}\t{moment}\t{number}\t{read_price(price)}\t{read_volume(volume)}\n"

    def trade(self, row: Row) -> NewTrade:
        """The row as a trade; its `trade_id` is 0 where it has none.

        Raises:
            InvalidTrade: It can't be stored.
        """
        symbol, time, price, volume, trade_id = row
        if symbol is None or time is None or price is None or volume is None:
            raise InvalidTrade(_missing(row), "is missing")
        name, _ = self._symbols.get(symbol) or self._symbol(symbol)
        instant, moment = self.read_time(time)
        number = 0 if trade_id is None else read_trade_id(trade_id)
        return NewTrade(name, instant, moment, number, read_price(price), read_volume(volume))

    def read_time(self, text: str) -> tuple[int, str]:
        """Microseconds since 1970, and how the database reads the same: further digits are cut off."""
        form = TIME.fullmatch(text)
        if form is None:
            raise InvalidTrade("timestamp", f"must be a time such as 2026-02-08T10:30:00Z (RFC 3339), not {shown(text)}")
        day, clock, fraction, offset = form.groups()
        if not offset and text[-1] not in "Zz":
            raise InvalidTrade("timestamp", f"has no time zone; Z means UTC, +01:00 an offset: {shown(text)}")
        try:
            instant = (self._days.get(day) or self._day(day)) + (self._clocks.get(clock) or self._clock(clock))
            if fraction:
                instant += int(fraction[:6].ljust(6, "0"))
            if offset:
                instant -= _offset(offset)
            return instant, (EPOCH + timedelta(microseconds=instant)).isoformat()
        except (ValueError, OverflowError):
            raise InvalidTrade("timestamp", f"names a time that does not exist: {shown(text)}") from None

    def _symbol(self, text: str) -> tuple[str, TradeIdNumbering]:
        name = read_symbol(text)
        known = self._symbols.get(name) or (name, TradeIdNumbering())
        self._symbols[name] = self._symbols[text] = known
        return known

    def _day(self, text: str) -> int:
        day = self._days[text] = (date.fromisoformat(text).toordinal() - EPOCH_DAY) * DAY
        return day

    def _clock(self, text: str) -> int:
        hours, minutes, seconds = map(int, text.split(":"))
        if hours > 23 or minutes > 59 or seconds > 59:
            raise ValueError(text)
        clock = self._clocks[text] = (hours * 3600 + minutes * 60 + seconds) * SECOND
        return clock


def _offset(text: str) -> int:
    hours, minutes = int(text[1:3]), int(text[3:].lstrip(":") or 0)
    if hours > 23 or minutes > 59:
        raise ValueError(text)
    offset = (hours * 3600 + minutes * 60) * SECOND
    return -offset if text[0] == "-" else offset


def _holds(ordered: "array[int]", value: int) -> bool:
    at = bisect_left(ordered, value)
    return at < len(ordered) and ordered[at] == value


def _missing(row: Row) -> str:
    names = ("symbol", "timestamp", "price", "volume", "trade_id")
    return next(name for name, value in zip(names, row, strict=True) if value is None)


def read_symbol(text: str) -> str:
    """A symbol, in upper case."""
    if not SYMBOL.fullmatch(text):
        raise InvalidTrade(
            "symbol",
            f"must be 1 to 32 letters, digits or . _ / ^ = -, beginning with a letter, digit or ^, not {shown(text)}",
        )
    return text.upper()


def read_trade_id(text: str) -> int:
    """A whole number of 64 bits."""
    if WHOLE.fullmatch(text):
        return int(text)
    if re.fullmatch(r"[+-]?\d{1,4000}", text, re.ASCII) and -(2**63) <= int(text) < 2**63:
        return int(text)
    raise InvalidTrade("trade_id", f"must be a whole number of 64 bits, not {shown(text)}")


def read_price(text: str) -> str:
    """A number greater than 0, as it is written where that is as usual."""
    return text if POSITIVE.fullmatch(text) else _number("price", text, positive=True)


def read_volume(text: str) -> str:
    """A number that is not negative, likewise."""
    return text if NOT_NEGATIVE.fullmatch(text) else _number("volume", text, positive=False)


def _number(name: str, text: str, *, positive: bool) -> str:
    """A number that is written unusually, in the usual way."""
    if not ANY_NUMBER.fullmatch(text):
        raise InvalidTrade(name, f"must be a number such as 270.15, without an exponent, not {shown(text)}")
    whole, _, fraction = text.lstrip("+-").partition(".")
    whole, fraction = whole.lstrip("0"), fraction.rstrip("0")
    if len(whole) > 30:
        raise InvalidTrade(name, f"must be less than 1e30, not {shown(text)}")
    if len(fraction) > 30:
        raise InvalidTrade(name, f"must have 30 decimal places at the most, not {shown(text)}")
    if text[0] == "-" and (whole or fraction):
        raise InvalidTrade(name, f"must not be negative, not {shown(text)}")
    if positive and not (whole or fraction):
        raise InvalidTrade(name, f"must be greater than 0, not {shown(text)}")
    return f"{whole or '0'}.{fraction or '0'}"


def shown(text: str) -> str:
    """What stands there, quoted and cut short."""
    return repr(text if len(text) <= 40 else text[:37] + "...")
