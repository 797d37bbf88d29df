"""Keys, errors, timeframes and symbols of Alpaca's protocol."""

import re
from base64 import b64decode
from binascii import Error as InvalidBase64
from collections.abc import Collection, Mapping
from typing import Final

import msgspec
from litestar.types import Scope

from market_data.api.compat.parameters import bad_parameter, read_parameter
from market_data.api.http.parameter_types import read_symbols
from market_data.queries.intervals import WIDTHS
from market_data.trade_validation import shown

UNITS: Final[Mapping[str, tuple[str, int]]] = {
    "Min": ("m", 59),
    "Hour": ("h", 23),
    "Day": ("d", 1),
    "Week": ("w", 1),
    "Month": ("M", 12),
}
"""Letter of the interval and greatest number, by unit of the timeframe."""

SHORT_UNITS: Final[Mapping[str, str]] = {"T": "Min", "H": "Hour", "D": "Day", "W": "Week", "M": "Month"}

TIMEFRAMES: Final[Mapping[str, str]] = {
    f"{number}{unit}": f"{number}{letter}"
    for unit, (letter, highest) in UNITS.items()
    for number in range(1, highest + 1)
    if f"{number}{letter}" in WIDTHS
}
"""Intervals by timeframe."""

TIMEFRAME: Final = re.compile(r"([1-9][0-9]?)([A-Za-z]+)", re.ASCII)


def error_body(error: Exception, status: int, detail: str) -> bytes:
    """Return the body of an error, whose `code` begins with the status."""
    if status == 401:
        return msgspec.json.encode({"message": "forbidden.", "detail": detail})
    return msgspec.json.encode({"code": status * 100_000 + 10_000, "message": detail})


def given_keys(scope: Scope, required: bool) -> Collection[str]:
    """Return the secret of `APCA-API-SECRET-KEY`; else, where reading needs a key and no other header has one, of Basic.

    Elsewhere, Basic may be that of a proxy.
    """
    headers = {name: value.decode("latin-1").strip() for name, value in scope["headers"]}
    if (secret := headers.get(b"apca-api-secret-key")) is not None:
        return [secret]
    scheme, _, credentials = headers.get(b"authorization", "").partition(" ")
    if not required or scheme.lower() != "basic" or b"x-api-key" in headers:
        return ()
    try:
        decoded = b64decode(credentials.strip(), validate=True).decode()
    except (InvalidBase64, ValueError):
        return [""]
    return [decoded.partition(":")[2]]


def read_timeframe(text: str | None) -> str:
    """Return the interval of a timeframe.

    Raises:
        BadParameters: There is no such interval.
    """
    given = text or ""
    if match := TIMEFRAME.fullmatch(given):
        unit = SHORT_UNITS.get(match[2]) or match[2].capitalize()
        if interval := TIMEFRAMES.get(f"{match[1]}{unit}"):
            return interval
    raise bad_parameter("timeframe", f"must be one of {', '.join(TIMEFRAMES)}, not {shown(given)}")


def read_names(text: str | None) -> tuple[str, ...]:
    """Return the symbols of a request, in upper case and alphabetical order.

    Raises:
        BadParameters: There are none, or one has a wrong form.
    """
    if not text:
        raise bad_parameter("symbols", "is required, for example symbols=AAPL,MSFT")
    return read_parameter("symbols", text, read_symbols)
