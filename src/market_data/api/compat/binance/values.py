"""Parameters, API keys and errors of Binance's API."""

import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import msgspec
from litestar import Request
from litestar.types import Scope

from market_data.api.compat.names import key_of
from market_data.api.compat.parameters import known_form
from market_data.api.http.handlers import require_symbols
from market_data.auth.api_keys import KEY_NEEDED, parse_prefix
from market_data.errors import BadParameters, NotFound, Overloaded, TookTooLong
from market_data.models import ParameterProblem
from market_data.queries.row_pages import UNIX_EPOCH
from market_data.trade_validation import shown

DIGITS: Final = re.compile(r"\d{1,20}", re.ASCII)

DEFAULT_LIMIT, MAX_LIMIT = 500, 1000

MAX_SYMBOLS: Final = 1000

MILLISECOND: Final = timedelta(milliseconds=1)

FAR_FUTURE: Final = datetime(9999, 12, 31, tzinfo=UTC)
"""Time for which later ones are taken."""
FAR_FUTURE_MS: Final = (FAR_FUTURE - UNIX_EPOCH) // MILLISECOND

EXACT: Final = Context(prec=200)
"""Context in which products and differences of stored numbers, of at most 60 digits each, lose no digit."""

UNKNOWN: Final = -1000
INTERNAL_ERROR: Final = -1001
TOO_MANY_REQUESTS: Final = -1003
TIMEOUT: Final = -1007
OVERLOADED: Final = -1008
NOT_SUPPORTED: Final = -1020
ILLEGAL_CHARACTERS: Final = -1100
TOO_MANY_PARAMETERS: Final = -1101
MISSING: Final = -1102
BAD_INTERVAL: Final = -1120
BAD_SYMBOL: Final = -1121
BAD_COMBINATION: Final = -1128
INVALID_VALUE: Final = -1130
NO_KEY: Final = -2014
BAD_KEY: Final = -2015

CODES: Final = {
    HTTPStatus.BAD_REQUEST: ILLEGAL_CHARACTERS,
    HTTPStatus.UNAUTHORIZED: BAD_KEY,
    HTTPStatus.FORBIDDEN: BAD_KEY,
    HTTPStatus.NOT_FOUND: NOT_SUPPORTED,
    HTTPStatus.METHOD_NOT_ALLOWED: NOT_SUPPORTED,
    HTTPStatus.GONE: INVALID_VALUE,
    HTTPStatus.REQUEST_URI_TOO_LONG: TOO_MANY_PARAMETERS,
    HTTPStatus.TOO_MANY_REQUESTS: TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE: INTERNAL_ERROR,
}
"""Codes of the errors that have none of their own, by status; UNKNOWN for others."""


class BinanceError(BadParameters):
    """A request with a parameter that is wrong, with the code of the error."""

    def __init__(self, code: int, name: str, message: str) -> None:
        super().__init__([ParameterProblem(name, message)], message)
        self.code = code


def error_body(error: Exception, status: int, detail: str) -> bytes:
    """Return the body of an error."""
    match error:
        case BinanceError():
            code = error.code
        case Overloaded():
            code = OVERLOADED
        case TookTooLong():
            code = TIMEOUT
        case _:
            code = CODES.get(HTTPStatus(status), UNKNOWN)
    if detail == KEY_NEEDED.format(scope="read"):
        code = NO_KEY
    return msgspec.json.encode({"code": code, "msg": detail})


def given_keys(scope: Scope, required: bool) -> Collection[str]:
    """Return the key in `X-MBX-APIKEY`. A text that is none of this service's keys counts only if no other key is sent.

    Clients that have this service's key as a bearer token send another exchange's in the header.
    """
    names = {name for name, _ in scope["headers"]}
    others = bool(names & {b"authorization", b"x-api-key"}) or "key_in_path" in scope["state"]
    given = {value.decode("latin-1").strip() for name, value in scope["headers"] if name == b"x-mbx-apikey"}
    return {key for key in given if parse_prefix(key) or not others}


def missing(name: str) -> BinanceError:
    """Return the error of a parameter that is required."""
    return BinanceError(MISSING, name, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def illegal(name: str, text: str, form: str) -> BinanceError:
    """Return the error of a text that has not the form of its parameter."""
    return BinanceError(
        ILLEGAL_CHARACTERS, name, f"Illegal characters found in parameter '{name}': {shown(text)} is not {form}."
    )


def invalid_symbol(symbol: str) -> BinanceError:
    """Return the error of an unknown symbol."""
    return BinanceError(BAD_SYMBOL, "symbol", f"Invalid symbol: there is no {symbol}.")


def read_symbol(text: str | None) -> str:
    """Return the value of `symbol`, which may be unknown.

    Raises:
        BinanceError: It is missing, or can't be a symbol.
    """
    if not text:
        raise missing("symbol")
    if (symbol := known_form(text)) is None:
        raise illegal("symbol", text, "a symbol")
    return symbol


class Selection(NamedTuple):
    """Symbols of a request: `symbol` gets an object, `symbols` or none of both an array."""

    symbols: tuple[str, ...] | None
    """None for all."""
    is_single: bool = False


_decode_symbols: Final = msgspec.json.Decoder(list[str]).decode


def read_selection(symbol: str | None, symbols: str | None) -> Selection:
    """Return the symbols of `symbol`, or of `symbols`, a JSON array.

    Raises:
        BinanceError: Both are given, or one is wrong.
    """
    if symbol is not None and symbols is not None:
        raise BinanceError(BAD_COMBINATION, "symbols", "Send either symbol or symbols.")
    if symbol is not None:
        return Selection((read_symbol(symbol),), is_single=True)
    if symbols is None:
        return Selection(None)
    try:
        given = _decode_symbols(symbols)
    except (msgspec.DecodeError, UnicodeError):
        raise illegal("symbols", symbols, 'a JSON array such as ["AAPL","MSFT"]') from None
    if not given:
        raise missing("symbols")
    if len(given) > MAX_SYMBOLS:
        message = f"Too many parameters: symbols has {len(given)} entries; send at most {MAX_SYMBOLS}, or none for all."
        raise BinanceError(TOO_MANY_PARAMETERS, "symbols", message)
    return Selection(tuple(sorted({read_symbol(each) for each in given})))


async def require_known(request: Request[Any, Any, Any], symbols: Sequence[str]) -> None:
    """Check that symbols are known. Called only if a result lacks one.

    Raises:
        BinanceError: One is unknown.
    """
    try:
        await require_symbols(request, [await key_of(request, name) for name in symbols])
    except NotFound as error:
        raise BinanceError(BAD_SYMBOL, "symbol", f"Invalid symbol. {error}") from None


def read_limit(text: str | None) -> int:
    """Return the value of `limit`. A greater one than the maximum is the maximum.

    Raises:
        BinanceError: It is no whole number, or 0.
    """
    if not text:
        return DEFAULT_LIMIT
    if not DIGITS.fullmatch(text):
        raise illegal("limit", text, "a whole number")
    if not int(text):
        raise BinanceError(INVALID_VALUE, "limit", "Data sent for parameter 'limit' is not valid: it must be 1 or more.")
    return min(int(text), MAX_LIMIT)


def read_milliseconds(name: str, text: str | None) -> datetime | None:
    """Return the time of a number of milliseconds, at most the end of the year 9999; None without a text.

    Raises:
        BinanceError: It is no whole number.
    """
    if not text:
        return None
    if not DIGITS.fullmatch(text):
        raise illegal(name, text, "a Unix time in milliseconds")
    return UNIX_EPOCH + min(int(text), FAR_FUTURE_MS) * MILLISECOND


def read_bounds(start: str | None, end: str | None) -> tuple[datetime | None, datetime | None]:
    """Return the range of `startTime` and `endTime`, both inclusive, as a half-open one; None for a bound that is missing.

    Raises:
        BinanceError: One is no number, or they are in the wrong order.
    """
    first, last = read_milliseconds("startTime", start), read_milliseconds("endTime", end)
    if first and last and first > last:
        raise BinanceError(
            BAD_COMBINATION, "startTime", "Combination of parameters is not valid: startTime is after endTime."
        )
    return first, last + MILLISECOND if last else None


def milliseconds(time: datetime) -> int:
    """Return a time as a Unix time in milliseconds."""
    return (time - UNIX_EPOCH) // MILLISECOND


def digits(number: Decimal) -> str:
    """Return a number in plain digits, without zeros at the end."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def product(price: str, volume: str) -> str:
    """Return the exact product of two numbers."""
    return digits(EXACT.multiply(Decimal(price), Decimal(volume)))
