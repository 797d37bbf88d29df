"""JSON objects as structs, read field by field so that every wrong field is named. Numbers never pass through a float."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, TypeVar

import msgspec
from msgspec import UNSET, Raw, Struct

from market_data.api.http.symbol_fields import FLAG, ISO_DATE, LIST, NULLABLE, NUMBER, SYMBOL_FIELDS, TEXT, printable
from market_data.models_actions import ActionCorrectIn
from market_data.models_writes import MAX_REASON_LENGTH, CorrectIn, SymbolChangeIn, TradeIn
from market_data.trade_validation import (
    InvalidTrade,
    read_price,
    read_symbol,
    read_time,
    read_trade_id,
    read_volume,
    shown,
)

S = TypeVar("S", bound=Struct)

Readers = Mapping[str, tuple[str, Callable[[str], Any]]]
"""JSON type and reader of fields."""

MAX_NAMED_PROBLEMS = 100

decode_object = msgspec.json.Decoder(dict[str, Raw]).decode
decode_string = msgspec.json.Decoder(str).decode

NOTHING_TO_CHANGE: Final[Mapping[type[Struct], InvalidTrade]] = {
    CorrectIn: InvalidTrade("price", "is missing, and so is volume; give one of them, or both"),
    ActionCorrectIn: InvalidTrade(None, "has nothing to change; give type, ex_date, ratio or amount"),
    SymbolChangeIn: InvalidTrade(None, f"is empty; give at least one of {', '.join(SymbolChangeIn.__struct_fields__)}"),
}


def decode_fields(kind: type[S], text: bytes, readers: Readers | None = None) -> S:
    """Return a JSON object as a struct. `readers` are those of fields that differ from FIELDS.

    Raises:
        InvalidFields: The text is not JSON or not an object, or fields are unknown, missing or invalid.
    """
    names = kind.__struct_fields__
    if kind is TradeIn and text.count(b",") > 2 * len(names):
        raise InvalidFields([InvalidTrade(None, f"has more fields than a trade, which has {', '.join(names)}")])
    try:
        fields = decode_object(text)
    except msgspec.ValidationError:
        raise InvalidFields([InvalidTrade(None, f"must be an object with {', '.join(names)}")]) from None
    except (ValueError, RecursionError) as error:
        raise InvalidFields([explain_malformed(text, error)]) from None
    unknown = [name for name in fields if name not in names]
    detail = f"is not a known field; the fields are {', '.join(names)}"
    problems = [InvalidTrade(shown(name)[1:-1], detail) for name in unknown]
    values: dict[str, Any] = {}
    declared = msgspec.structs.fields(kind)
    for field in declared:
        try:
            if field.name in fields:
                values[field.name] = _read_field(field.name, fields[field.name], readers or FIELDS)
            elif field.required:
                raise InvalidTrade(field.name, "is missing")
        except InvalidTrade as problem:
            problems.append(problem)
    changes = [field.name for field in declared if field.default is UNSET]
    if kind in NOTHING_TO_CHANGE and not unknown and not any(name in fields for name in changes):
        problems.append(NOTHING_TO_CHANGE[kind])
    if problems:
        raise InvalidFields(problems[:MAX_NAMED_PROBLEMS])
    return kind(**values)


class InvalidFields(Exception):
    """An object is not a struct of the expected kind, with at least one problem."""

    def __init__(self, problems: list[InvalidTrade]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems


def _read_field(name: str, raw: Raw, readers: Readers) -> Any:
    if name in NULLABLE and bytes(raw) == b"null":
        return None
    json_type, read = readers.get(name) or FIELDS[name]
    return read(_text_of(name, json_type, raw))


def _text_of(name: str, json_type: str, raw: Raw) -> str:
    """Return the string, the digits of the number, or the list, as the client wrote it.

    Raises:
        InvalidTrade: The JSON type is not that of the field.
    """
    text = bytes(raw)
    try:
        if text[:1] == b'"' and json_type not in (FLAG, LIST):
            return decode_string(text)
        written = text.decode()
    except ValueError:
        raise InvalidTrade(name, "must be text in UTF-8") from None
    is_number, is_flag = written[0] in "-0123456789", written in ("true", "false")
    is_list = json_type == LIST and written[0] == "["
    if (json_type in (NUMBER, INTEGER) and is_number) or (json_type == FLAG and is_flag) or is_list:
        return written
    raise InvalidTrade(name, f"must be {json_type}, not {written if written == 'null' else shown(written)}")


def _read_time(text: str) -> datetime:
    return datetime.fromisoformat(read_time(text)[1])


def _read_name(text: str) -> str:
    try:
        return read_symbol(text)
    except InvalidTrade as invalid:
        raise InvalidTrade("to", invalid.detail) from None


def _read_start(text: str) -> datetime:
    """Return a time; a date is its midnight in UTC."""
    try:
        return _read_time(f"{text}T00:00:00Z" if ISO_DATE.fullmatch(text) else text)
    except InvalidTrade as invalid:
        raise InvalidTrade("at", invalid.detail) from None


INTEGER, TIME = "a whole number, or a string of its digits", "a string such as 2026-02-08T10:30:00Z"

FIELDS: Final[Readers] = {
    "symbol": (TEXT, read_symbol),
    "price": (NUMBER, lambda text: Decimal(read_price(text))),
    "volume": (NUMBER, lambda text: Decimal(read_volume(text))),
    "timestamp": (TIME, _read_time),
    "trade_id": (INTEGER, read_trade_id),
    "to": (TEXT, _read_name),
    "at": (TIME, _read_start),
    "reason": (TEXT, printable("reason", MAX_REASON_LENGTH)),
    **SYMBOL_FIELDS,
}

MALFORMED = re.compile(r"JSON is malformed: (.+) \(byte (\d+)\)")
FIELD_BEFORE = re.compile(rb'"(\w{1,40})"\s*:\s*-?$', re.ASCII)
NOT_A_NUMBER = re.compile(rb"(?:NaN|Infinity|inf|nan)\b")


def explain_malformed(text: bytes, error: Exception) -> InvalidTrade:
    """Return the reason why a text is not JSON, with its position."""
    if not text.strip():
        return InvalidTrade(None, "is empty")
    place = MALFORMED.fullmatch(str(error))
    if place is None:
        if isinstance(error, UnicodeDecodeError):
            return InvalidTrade(None, "is not in UTF-8")
        if isinstance(error, RecursionError):
            return InvalidTrade(None, "is nested too deeply")
        return InvalidTrade(None, "is not valid JSON: it ends too early")
    at = int(place[2])
    field, word = FIELD_BEFORE.search(text[max(at - 100, 0) : at]), NOT_A_NUMBER.match(text[at : at + 20])
    if field and word:
        return InvalidTrade(field[1].decode(), f"must be a number such as 270.15, not {word[0].decode()} (at byte {at})")
    return InvalidTrade(None, f"is not valid JSON: {place[1]} at byte {at}")
