"""Validation of incoming trades, from files and from requests. No I/O.

All fields arrive as text, so that a number never passes through a float.
"""

import re
from array import array
from bisect import bisect_left
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal, NamedTuple
from urllib.parse import quote

MAX_SYMBOL_LENGTH = 64
SYMBOL_PATTERN = r"(?:\.?[A-Za-z0-9]|[$^])(?: ?[A-Za-z0-9._/^=:+&#@!*$()-])*"
"""Form of a symbol besides its length, also in RE2's syntax. The constraint `symbols_symbol_form` is the same."""
SYMBOL_FORM = (
    f"1 to {MAX_SYMBOL_LENGTH} letters, digits, single spaces or . _ / ^ = : + & # @ ! * $ ( ) -, "
    "beginning with a letter, a digit, a dot before one of them, $ or ^"
)

SYMBOL = re.compile(rf"(?!.{{{MAX_SYMBOL_LENGTH + 1}}}){SYMBOL_PATTERN}")
STORED_SYMBOL = re.compile(SYMBOL.pattern.replace("a-z", ""))
"""A symbol in upper case."""
TIME = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ](?P<hour>\d\d):\d\d:\d\d(?:\.\d{1,18})?(?P<zone>[Zz]|[+-]\d\d(?::?(?P<minutes>\d\d))?)?", re.ASCII
)
PLAIN_NUMBER = re.compile(r"\d{1,30}(?:\.\d{1,30})?", re.ASCII)
NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,9})?", re.ASCII)
TRADE_ID = re.compile(r"[+-]?\d{1,4000}", re.ASCII)

MAX_DECIMAL_PLACES = 30
MIN_NUMBER, MAX_NUMBER = Decimal("1e-30"), Decimal("1e30")
"""Bounds of a number other than 0: inclusive, exclusive."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Row(NamedTuple):
    """Fields of a trade as text; None if a field is missing."""

    symbol: str | None
    time: str | None
    price: str | None
    volume: str | None
    trade_id: str | None


RejectionReason = Literal["invalid", "unknown_symbol", "inactive_symbol", "expired", "future", "conflict", "cancelled"]
"""Kind of a rejection, for the metrics. An expired trade is before the retention horizon."""


class InvalidTrade(Exception):
    """A trade can't be stored. `part` is the invalid field, None for the whole row."""

    def __init__(self, part: str | None, detail: str, reason: RejectionReason = "invalid") -> None:
        super().__init__(f"{part}: {detail}" if part else detail)
        self.part = part
        self.detail = detail
        self.reason = reason


class FutureLimit(NamedTuple):
    """Maximum lead of the time of a trade over the clock of the database."""

    now: datetime
    tolerance: float
    """In seconds."""

    @property
    def latest(self) -> datetime:
        """Time of the latest trade that can be stored."""
        return self.now + timedelta(seconds=self.tolerance)

    def reject(self, time: datetime) -> InvalidTrade:
        """Return the rejection of a trade that is later than `latest`."""
        ahead = (time - self.now).total_seconds()
        detail = f"is {ahead:,.0f} s ahead of the clock, and FUTURE_TOLERANCE_SECONDS is {self.tolerance:g}"
        return InvalidTrade("timestamp", detail, "future")


class TradeIdNumbering:
    """Number the trades of one symbol and instant: 0, 1, 2…

    Instants that rise or fall monotonically take 8 bytes each, all others an entry of a dict.
    """

    def __init__(self) -> None:
        # By symbol: rising instants, falling instants (negated, so that they rise too), and counts of all others.
        self._instants: defaultdict[str, tuple[array[int], array[int], dict[int, int]]] = defaultdict(
            lambda: (array("q"), array("q"), {})
        )

    def next_id(self, symbol: str, instant: int) -> int:
        """Return 0 for the first trade of a symbol and instant, 1 for the next."""
        rising, falling, counts = self._instants[symbol]
        if not rising or instant > rising[-1]:
            rising.append(instant)
            return 0
        if instant < rising[0] and (not falling or -instant > falling[-1]):
            falling.append(-instant)
            return 0
        count = counts.get(instant, 0) or int(_contains(rising, instant) or _contains(falling, -instant))
        counts[instant] = count + 1
        return count


def _contains(ordered: "array[int]", value: int) -> bool:
    at = bisect_left(ordered, value)
    return at < len(ordered) and ordered[at] == value


def validate_row(row: Row, numbering: TradeIdNumbering | None) -> Row:
    """Return a row of a file as it is stored: symbol in upper case, time in ISO 8601, numbers in plain digits.

    `numbering` numbers the trades of a file without `trade_id`. Either all rows of a file have a `trade_id` or none has.

    Raises:
        InvalidTrade: The row can't be stored.
    """
    symbol, time, price, volume, trade_id = row
    if symbol is None or time is None or price is None or volume is None or (trade_id is None and not numbering):
        raise InvalidTrade(_missing(row), "is missing")
    if numbering and trade_id is not None:
        raise InvalidTrade("trade_id", "must be missing, as in the first row, because the rows are numbered")
    name = read_symbol(symbol)
    instant, moment = read_time(time)
    # Before price and volume are validated: the trade has the same number once its row is corrected.
    if numbering:
        trade_id = str(numbering.next_id(name, instant))
    elif trade_id is not None:
        trade_id = str(read_trade_id(trade_id))
    return Row(name, moment, read_price(price), read_volume(volume), trade_id)


def _missing(row: Row) -> str:
    names = ("symbol", "timestamp", "price", "volume", "trade_id")
    return next(name for name, value in zip(names, row, strict=True) if value is None)


def read_symbol(text: str) -> str:
    """Return the symbol in upper case."""
    if not SYMBOL.fullmatch(text):
        raise InvalidTrade("symbol", f"must be {SYMBOL_FORM}, not {shown(text)}")
    return text.upper()


def read_time(text: str) -> tuple[int, str]:
    """Return microseconds since 1970, and the same in ISO 8601. Digits after the microseconds are cut off."""
    match = TIME.fullmatch(text)
    if match is None:
        raise InvalidTrade("timestamp", f"must be a time such as 2026-02-08T10:30:00Z (RFC 3339), not {shown(text)}")
    if not match["zone"]:
        raise InvalidTrade("timestamp", f"has no time zone; add Z for UTC, or an offset such as +01:00: {shown(text)}")
    try:
        if match["hour"] == "24" or (match["minutes"] or "00") > "59":  # some versions of Python accept these
            raise ValueError(text)
        moment = datetime.fromisoformat(text.upper()).astimezone(UTC)
        return (moment - EPOCH) // MICROSECOND, moment.isoformat()
    except (ValueError, OverflowError):
        raise InvalidTrade("timestamp", f"is a time that does not exist: {shown(text)}") from None


def read_trade_id(text: str) -> int:
    """Return a 64-bit integer."""
    if TRADE_ID.fullmatch(text) and -(2**63) <= int(text) < 2**63:
        return int(text)
    raise InvalidTrade("trade_id", f"must be a whole number of 64 bits, not {shown(text)}")


def read_price(text: str) -> str:
    """Return a number in plain digits. The database knows which symbols may have prices of 0 or less."""
    return _read_number("price", text)


def unsigned_price(symbol: str, price: Decimal) -> InvalidTrade:
    """Return the rejection of a price of 0 or less of a symbol that is not signed."""
    remedy = f'PATCH {symbol_path(symbol)} with {{"signed": true}} if {symbol} has such prices'
    return InvalidTrade("price", f"must be greater than 0, not '{price:f}'; {remedy}")


def symbol_path(symbol: str) -> str:
    """Return the path of a symbol, escaped as far as a URL needs it."""
    return f"/symbols/{quote(symbol, safe='/:@!$&()*+=^')}"


def read_volume(text: str) -> str:
    """Return a number of 0 or more in plain digits."""
    volume = _read_number("volume", text)
    if volume.startswith("-") and volume.strip("-0."):
        raise InvalidTrade("volume", f"must not be negative, not {shown(text)}")
    return volume.removeprefix("-")


def _read_number(name: str, text: str) -> str:
    """Return a number in at most 30 digits before and after the decimal point, exactly as in the text."""
    if PLAIN_NUMBER.fullmatch(text.removeprefix("-")):
        return text
    if not NUMBER.fullmatch(text):
        raise InvalidTrade(name, f"must be a number such as 270.15, not {shown(text)}")
    value = Decimal(text)
    if value == 0:
        return "0.0"
    size, sign = value.copy_abs(), "-" if value < 0 else ""
    if size >= MAX_NUMBER:
        raise InvalidTrade(name, f"must be {'greater than -' if sign else 'less than '}1e30, not {shown(text)}")
    # The bound keeps an exponent such as e-999999999 from becoming as many digits.
    whole, _, fraction = (f"{size:f}" if size >= MIN_NUMBER else "").partition(".")
    whole, fraction = whole.lstrip("0"), fraction.rstrip("0")
    if not (whole or fraction) or len(fraction) > MAX_DECIMAL_PLACES:
        raise InvalidTrade(name, f"must have at most {MAX_DECIMAL_PLACES} decimal places, not {shown(text)}")
    return f"{sign}{whole or '0'}.{fraction or '0'}"


def shown(text: str) -> str:
    """Quote a text for an error message, at most 40 characters of it."""
    return repr(text if len(text) <= 40 else text[:37] + "...")


def rfc3339(time: datetime) -> str:
    """Return a time in UTC for an error message, with a Z."""
    return time.isoformat().replace("+00:00", "Z")
