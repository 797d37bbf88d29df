"""Fields of a trade file, rewritten to the forms that `validate_row` reads."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from market_data.cli.data.presets import PRESETS
from market_data.cli.data.read_options import ReadOptions
from market_data.errors import CommandFailed
from market_data.trade_validation import EPOCH, MICROSECOND, NUMBER, PLAIN_NUMBER, TIME, InvalidTrade, Row, shown

EPOCH_TIME = re.compile(r"(\d{1,19})(?:\.(\d*))?", re.ASCII)
EPOCH_UNITS = {"s": 6, "ms": 3, "us": 0, "ns": -3}
"""Decimal places of a unit in microseconds."""
MAX_DIGITS = {"s": 11, "ms": 14, "us": 17, "ns": 19}
"""Digits of epochs, by which their unit is recognized: below 10^11 seconds, 10^14 milliseconds, 10^17 microseconds."""
MIN_SECONDS = 10**8
"""Smaller epochs, before 1973, are refused, because dates such as 20260208 have this form."""
COMPACT_TIME = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:[0-2]\d|3[01])(?:[01]\d|2[0-3])(?:[0-5]\d){1,2}(?:\d{3})?")

SEPARATED = re.compile(r"([+-]?[1-9]\d{0,2}(?P<group>[,' \u00a0\u202f\u2019])\d{3}(?:(?P=group)\d{3})*)(\.\d*)?", re.ASCII)
COMMA_NUMBER = re.compile(
    r"(?P<whole>[+-]?(?:\d+|[1-9]\d{0,2}(?P<group>[.' \u00a0\u202f\u2019])\d{3}(?:(?P=group)\d{3})*)?)"
    r"(?:,(?P<fraction>\d*))?(?P<exponent>[eE][+-]?\d+)?",
    re.ASCII,
)
FRACTION = re.compile(r"([.,]\d{6})\d+", re.ASCII)
SECONDS = re.compile(r":([0-5]\d)(?:[.,](\d+))?$", re.ASCII)
SALE = re.compile(r"-[\d.].*", re.ASCII)
"""A volume that is negative because the taker sold. Its absolute value is stored."""


class FieldReader:
    """Rewrites fields. `learn` derives from the first rows what the options leave open."""

    def __init__(self, options: ReadOptions, file: str) -> None:
        preset = PRESETS[options.preset] if options.preset else None
        self.symbol = options.symbol
        self.decimal = options.decimal
        """Decimal mark. None if no number of the first rows has one: then no comma is accepted."""
        self.ignores_trade_ids = False
        self.epochs = False
        """The first time is an epoch whose unit shows in its digits."""
        self.price_places = preset.price_places if preset else 0
        self._file = file
        self._time_format = options.time_format or (preset.time_format if preset else None)
        self._timezone = options.timezone or (ZoneInfo(preset.timezone) if preset and preset.timezone else None)
        # Trades share minutes, and reading one takes 12 µs. Clocks change at whole minutes.
        self._read_minute = lru_cache(10_000)(self._local_microseconds)

    def learn(self, rows: Sequence[Row]) -> None:
        """Find the forms of times, numbers and trade ids.

        Raises:
            CommandFailed: Commas in numbers are ambiguous.
        """
        first = next((row for row in rows if row.time), None)
        self.epochs = not self._time_format and first is not None and EPOCH_TIME.fullmatch(first.time or "") is not None
        if self.decimal is None:
            self.decimal = self._find_decimal([text for row in rows for text in (row.price, row.volume) if text])

    @property
    def description(self) -> str:
        """Forms of the fields, for the user."""
        time = self._time_format or ("epoch" if self.epochs else "")
        zone = f"time zone {self._timezone}" if self._timezone and not self.epochs else ""
        return ", ".join(filter(None, (time and f"times: {time}", zone, "decimal comma" if self.decimal == "," else "")))

    @property
    def has_unusual_forms(self) -> bool:
        """No row has the forms that are validated as Arrow columns."""
        return bool(self._time_format) or self.decimal == ","

    def _find_decimal(self, numbers: Sequence[str]) -> str | None:
        surely = dict[str, list[str]]()
        maybe = dict[str, list[str]]()
        for text in numbers:
            marks = _decimal_marks(text)
            if len(marks) == 1:
                surely.setdefault(marks, []).append(text)
            elif marks:
                maybe.setdefault("," if "," in text else ".", []).append(text)
        if not surely and not maybe:
            return None
        if "." in surely or not (surely or "," in maybe):
            return "."
        if "," in surely and ("." not in maybe or any("." in text for text in surely[","])):
            return ","
        examples = " or ".join(texts[0] for texts in (*surely.values(), *maybe.values()))
        raise CommandFailed(
            f"{self._file}: a comma or point in {examples} may separate decimals or thousands; "
            "set the decimal mark with --decimal , or --decimal ."
        )

    def read(self, row: Row) -> tuple[Row, InvalidTrade | None]:
        """Return the fields in the forms of `validate_row`, and the error of a number that has no valid form.

        The number is then replaced by a valid one, because the row is numbered like one whose numbers are valid.

        Raises:
            InvalidTrade: The time is invalid.
        """
        symbol, time, price, volume, trade_id = row
        invalid = None
        if time is not None:
            time = self.read_time(time)
        if price is not None and (self.decimal == "," or self.price_places or not PLAIN_NUMBER.fullmatch(price)):
            price, invalid = self._number("price", price)
        if volume is not None and (self.decimal == "," or not PLAIN_NUMBER.fullmatch(volume)):
            volume, error = self._number("volume", volume)
            invalid = invalid or error
            volume = volume[1:] if SALE.fullmatch(volume) else volume
        return Row(self.symbol or symbol, time, price, volume, None if self.ignores_trade_ids else trade_id), invalid

    def _number(self, part: str, text: str) -> tuple[str, InvalidTrade | None]:
        if self.decimal == ",":
            found = COMMA_NUMBER.fullmatch(text)
            if not found or not (found["whole"].strip("+-") or found["fraction"]):
                return "1", InvalidTrade(part, f"must be a number with a decimal comma, such as 270,15, not {shown(text)}")
            whole = found["whole"].replace(found["group"] or " ", "")
            return f"{whole or '0'}.{found['fraction'] or '0'}{found['exponent'] or ''}", None
        digits = text.removeprefix("-")
        if part == "price" and self.price_places and digits.isdecimal():
            sign, digits = text[: text.startswith("-")], digits.zfill(self.price_places + 1)
            return f"{sign}{digits[: -self.price_places]}.{digits[-self.price_places :]}", None
        found = SEPARATED.fullmatch(text)
        if not found or (self.decimal is None and found["group"] == ","):
            return text, None
        return found[1].replace(found["group"], "") + (found[3] or ""), None

    def read_time(self, text: str) -> str:
        """Return a time in RFC 3339.

        Raises:
            InvalidTrade: The time has another form, does not exist, or is not unique.
        """
        unit = self._time_format if self._time_format in EPOCH_UNITS else None
        if self._time_format and not unit:
            return self._read_local(text)
        epoch = EPOCH_TIME.fullmatch(text)
        if epoch:
            return _utc(_microseconds(epoch[1], epoch[2] or "", unit, text))
        found = TIME.fullmatch(text)
        if not found or unit:
            form = "an epoch" if unit else "a time such as 2026-02-08T10:30:00Z or an epoch"
            raise InvalidTrade("timestamp", f"must be {form}, or have the form of --time-format; not {shown(text)}")
        if found["zone"]:
            return text
        if not self._timezone:
            detail = f"has no time zone; set it with --timezone, or add Z for UTC or an offset such as +01:00: {shown(text)}"
            raise InvalidTrade("timestamp", detail)
        if found["hour"] == "24":  # some versions of Python accept it
            raise InvalidTrade("timestamp", f"is a time that does not exist: {shown(text)}")
        return self._read_local(text)

    def _read_local(self, text: str) -> str:
        """Read a time in the given format, or without a time zone. A second may have a fraction of any number of digits."""
        form = self._time_format or ":%S"
        found = SECONDS.search(text) if form.endswith((":%S", ":%S.%f")) else None
        try:
            if not found:
                return _utc(self._read_minute(FRACTION.sub(r"\1", text)))
            minute = self._read_minute(f"{text[: found.start()]}:00{'.0' if form.endswith('f') else ''}")
            return _utc(minute + int(found[1]) * 1_000_000 + int((found[2] or "")[:6].ljust(6, "0")))
        except ValueError as error:
            raise InvalidTrade("timestamp", f"{error}: {shown(text)}") from None

    def _local_microseconds(self, text: str) -> int:
        """Return a local time in microseconds since 1970.

        Raises:
            ValueError: With the reason why the text is no unique time.
        """
        form = self._time_format
        try:
            time = datetime.strptime(text, form) if form else datetime.fromisoformat(text)
            return (_localized(time, self._timezone).astimezone(UTC) - EPOCH) // MICROSECOND
        except OverflowError:
            raise ValueError("is a time that does not exist") from None
        except LocalTimeError:
            raise
        except ValueError:
            raise ValueError(f"is no time of the form {form}" if form else "is a time that does not exist") from None


class LocalTimeError(ValueError):
    """A local time is not one instant."""


def _decimal_marks(text: str) -> str:
    """Return the decimal marks with which a text is a number; none if it has no point and no comma."""
    if "." not in text and "," not in text:
        return ""
    point = "." if NUMBER.fullmatch(text) or SEPARATED.fullmatch(text) else ""
    return point + ("," if COMMA_NUMBER.fullmatch(text) else "")


def _microseconds(whole: str, fraction: str, unit: str | None, text: str) -> int:
    """Return an epoch in microseconds since 1970, exactly; further digits are cut off."""
    if not unit:
        unit = next(unit for unit, digits in MAX_DIGITS.items() if len(whole.lstrip("0")) <= digits)
        if (unit == "s" and int(whole) < MIN_SECONDS) or COMPACT_TIME.fullmatch(whole):
            raise InvalidTrade("timestamp", f"may be a date or an epoch; set its form with --time-format: {shown(text)}")
    places = EPOCH_UNITS[unit]
    if places < 0:
        return int(whole) // 10**-places
    return int(whole) * 10**places + int(fraction[:places].ljust(places, "0") or "0")


def _utc(microseconds: int) -> str:
    try:
        return (EPOCH + timedelta(microseconds=microseconds)).isoformat()
    except OverflowError:
        raise InvalidTrade("timestamp", "is a time that does not exist") from None


def _localized(time: datetime, zone: ZoneInfo | None) -> datetime:
    """Return a time with its zone. Local times that are skipped or repeated when clocks change are refused."""
    if time.tzinfo:
        return time
    if zone is None:
        raise LocalTimeError("has no time zone; set it with --timezone")
    first, second = (time.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return first
    if first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != time:
        raise LocalTimeError(f"does not exist in {zone}, where clocks were set forward")
    offset = first.isoformat()[-6:]
    raise LocalTimeError(f"exists twice in {zone}, where clocks were set back; add its offset, such as {offset}")
