"""Attributes of a symbol, read from the text of a JSON value, of a command line or of a CSV file."""

import re
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Final, get_args

import msgspec

from market_data.models import SymbolType
from market_data.models_writes import MAX_ALIASES, MAX_DESCRIPTION_LENGTH, MAX_NAME_LENGTH
from market_data.trade_validation import InvalidTrade, read_price, shown

TEXT, NUMBER, FLAG, LIST = "a string", "a number, or a string of its digits", "true or false", "a list of strings"
DATE = "a string such as 2022-06-09, or null"

CURRENCY = re.compile(r"[A-Z][A-Z0-9]{1,11}", re.IGNORECASE | re.ASCII)
"""Form of a currency. The constraint `symbols_currency_form` is the same."""
CALENDAR = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,31}")
"""Form of the code of a calendar. The constraint `calendars_code_form` is the same."""
ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)

NULLABLE: Final = frozenset({"tick_size", "listed", "delisted"})

decode_list = msgspec.json.Decoder(list[str]).decode


def printable(name: str, max_length: int) -> Callable[[str], str]:
    """Return a reader of a text that is not blank."""

    def read(text: str) -> str:
        if not text.strip() or len(text) > max_length or not text.isprintable():
            raise InvalidTrade(name, f"must be 1 to {max_length} printable characters, not all of them spaces")
        return text

    return read


def _read_description(text: str) -> str:
    if len(text) > MAX_DESCRIPTION_LENGTH or not text.isprintable():
        raise InvalidTrade("description", f"must be at most {MAX_DESCRIPTION_LENGTH} printable characters")
    return text


def _read_currency(text: str) -> str:
    if not CURRENCY.fullmatch(text):
        raise InvalidTrade("currency", f"must be 2 to 12 letters and digits such as USD, not {shown(text)}")
    return text.upper()


def _read_type(text: str) -> str:
    known = get_args(SymbolType)
    if text.lower() not in known:
        raise InvalidTrade("type", f"must be {', '.join(known[:-1])} or {known[-1]}, not {shown(text)}")
    return text.lower()


def _read_calendar(text: str) -> str:
    if not CALENDAR.fullmatch(text):
        raise InvalidTrade("calendar", f"must be the code of a calendar, such as XNYS or 24/7, not {shown(text)}")
    return text


def _read_tick_size(text: str) -> Decimal:
    try:
        size = Decimal(read_price(text))
    except InvalidTrade as invalid:
        raise InvalidTrade("tick_size", invalid.detail) from None
    if size <= 0:
        raise InvalidTrade("tick_size", f"must be greater than 0, not {shown(text)}; null if it is unknown")
    return size


def date_reader(name: str) -> Callable[[str], date]:
    """Return a reader of a date."""

    def read(text: str) -> date:
        try:
            if ISO_DATE.fullmatch(text):
                return date.fromisoformat(text)
        except ValueError:
            pass
        raise InvalidTrade(name, f"must be a date such as 2022-06-09, not {shown(text)}")

    return read


def read_aliases(texts: list[str]) -> list[str]:
    """Return aliases without spaces around them."""
    aliases = [text.strip() for text in texts]
    if len(aliases) > MAX_ALIASES:
        raise InvalidTrade("aliases", f"must be at most {MAX_ALIASES} texts, not {len(aliases)}")
    read = printable("aliases", MAX_NAME_LENGTH)
    for number, alias in enumerate(aliases):
        read(alias)
        if alias in aliases[:number]:
            raise InvalidTrade("aliases", f"must not have {shown(alias)} twice")
    return aliases


def _read_json_aliases(text: str) -> list[str]:
    try:
        texts = decode_list(text)
    except (ValueError, RecursionError):
        raise InvalidTrade("aliases", f"must be {LIST}, not {shown(text)}") from None
    return read_aliases(texts)


SYMBOL_FIELDS: Final[Mapping[str, tuple[str, Callable[[str], Any]]]] = {
    "name": (TEXT, printable("name", MAX_NAME_LENGTH)),
    "active": (FLAG, "true".__eq__),
    "signed": (FLAG, "true".__eq__),
    "currency": (TEXT, _read_currency),
    "type": (TEXT, _read_type),
    "calendar": (TEXT, _read_calendar),
    "tick_size": (NUMBER, _read_tick_size),
    "listed": (DATE, date_reader("listed")),
    "delisted": (DATE, date_reader("delisted")),
    "description": (TEXT, _read_description),
    "aliases": (LIST, _read_json_aliases),
}
"""JSON type and reader of each attribute."""
