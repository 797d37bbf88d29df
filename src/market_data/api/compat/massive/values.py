"""Keys, errors, times, bars and links of Massive's protocol."""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode

import msgspec
from litestar import Request
from litestar.params import PathParameter
from litestar.types import Scope

from market_data.api.compat.parameters import bad_parameter, known_form
from market_data.api.http.base_urls import base_url
from market_data.api.http.parameters import query
from market_data.api.http.query_string import known_pairs
from market_data.errors import Forbidden, NotFound
from market_data.queries.intervals import WIDTHS
from market_data.queries.row_pages import UNIX_EPOCH
from market_data.telemetry.logging import REQUEST_ID
from market_data.trade_validation import shown

PREFIX: Final = "/massive"

KEY_PARAMETER: Final = "apiKey"

NO_DATA: Final = "Data not found."

MAX_LINK_LENGTH: Final = 3_000
"""Bytes of a header that proxies pass on."""

DAY: Final = timedelta(days=1)
MICROSECOND: Final = timedelta(microseconds=1)

EARLIEST, LATEST = datetime(2, 1, 1, tzinfo=UTC), datetime(9998, 1, 1, tzinfo=UTC)
"""Times beyond them are taken for them: buckets that begin before or end after them must be representable."""

DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
NUMBER: Final = re.compile(r"-?\d{1,19}", re.ASCII)
MULTIPLIER: Final = re.compile(r"[1-9]\d{0,5}", re.ASCII)

UNITS: Final[Mapping[str, timedelta]] = {
    "second": timedelta(seconds=1),
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": DAY,
    "week": timedelta(weeks=1),
}
"""Timespans of a fixed length."""
MONTHS: Final[Mapping[str, int]] = {"month": 1, "quarter": 3, "year": 12}
"""Months of the others."""
BASES: Final[Mapping[str, timedelta]] = {
    "second": timedelta(seconds=1),
    "minute": timedelta(minutes=1),
    "hour": timedelta(minutes=1),
}
"""Length of the base bars, which `limit` counts; a day for all other timespans."""

_FIXED: Final = {width: name for name, width in WIDTHS.items() if not name.endswith("M")}

TickerParameter = Annotated[str, query("ticker", "Symbol, in upper or lower case.", "AAPL", PathParameter, type="string")]


class Span(NamedTuple):
    """Bars that a client asks for."""

    interval: str
    base_bars: int
    """Base bars that a bar consists of at most."""


def error_body(error: Exception, status: int, detail: str) -> bytes:
    """Return the body of an error."""
    request_id = REQUEST_ID.get()
    if isinstance(error, Forbidden):
        return msgspec.json.encode({"status": "NOT_AUTHORIZED", "request_id": request_id, "message": detail})
    if status == 404:
        return msgspec.json.encode({"status": "NOT_FOUND", "request_id": request_id, "message": detail})
    return msgspec.json.encode({"status": "ERROR", "request_id": request_id, "error": detail})


def given_keys(scope: Scope, required: bool) -> Collection[str]:
    """Return the keys of the query parameter `apiKey`."""
    query = scope["query_string"]
    if KEY_PARAMETER.encode() not in query:
        return ()
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    return {value for name, value in pairs if name == KEY_PARAMETER}


def no_data() -> NotFound:
    """Return the error for a ticker or a day without data."""
    return NotFound(NO_DATA)


def request_id() -> str:
    """Return the id of the request, which each body has."""
    return REQUEST_ID.get() or ""


def symbol_of(ticker: str) -> str | None:
    """Return the symbol of a ticker, which may be the end of a path and so begin with a slash; None if it can't be one."""
    return known_form(ticker.removeprefix("/"))


def read_span(multiplier: str, timespan: str) -> Span:
    """Return the interval of a multiplier and a timespan, such as 5 and `minute`.

    Raises:
        BadParameters: There is no such interval; the message names those of the timespan.
    """
    if timespan not in UNITS and timespan not in MONTHS:
        raise bad_parameter("timespan", f"must be one of {', '.join((*UNITS, *MONTHS))}, not {shown(timespan)}")
    number = int(multiplier) if MULTIPLIER.fullmatch(multiplier) else 0
    if timespan in MONTHS:
        interval = f"{number * MONTHS[timespan]}M"
        known = interval in WIDTHS
    else:
        interval = _FIXED.get(number * UNITS[timespan], "")
        known = bool(interval)
    if not known:
        available = ", ".join(map(str, _multipliers(timespan)))
        raise bad_parameter("multiplier", f"must be one of {available} for {timespan}, not {shown(multiplier)}")
    return Span(interval, WIDTHS[interval] // BASES.get(timespan, DAY))


def _multipliers(timespan: str) -> Sequence[int]:
    if timespan in MONTHS:
        months = [int(name[:-1]) for name in WIDTHS if name.endswith("M")]
        return sorted(number // MONTHS[timespan] for number in months if number % MONTHS[timespan] == 0)
    unit = UNITS[timespan]
    return sorted(width // unit for width in _FIXED if width % unit == timedelta(0))


class Times(NamedTuple):
    """The instants that a text means: a whole day in UTC, or one in microseconds."""

    first: datetime
    end: datetime
    """After the last instant."""


def read_date(name: str, text: str) -> datetime:
    """Return the midnight of a date.

    Raises:
        BadParameters: It is none.
    """
    try:
        if not DATE.fullmatch(text):
            raise ValueError
        return clipped(datetime.fromisoformat(text).replace(tzinfo=UTC))
    except ValueError:
        raise bad_parameter(name, f"must be a date such as 2026-02-08, not {shown(text)}") from None


def read_times(name: str, text: str, unit: Literal["milliseconds", "nanoseconds"]) -> Times:
    """Return the instants of a date, or of a Unix time.

    One in nanoseconds may be between two microseconds, the instants of trades: then `first` is `end`.

    Raises:
        BadParameters: It is neither.
    """
    if NUMBER.fullmatch(text):
        number = int(text)
        if unit == "milliseconds":
            return Times(_after_epoch(number * 1000), _after_epoch(number * 1000 + 1))
        return Times(_after_epoch(-(-number // 1000)), _after_epoch(number // 1000 + 1))
    if DATE.fullmatch(text):
        first = read_date(name, text)
        return Times(first, first + DAY)
    raise bad_parameter(name, f"must be a date such as 2026-02-08, or a Unix time in {unit}, not {shown(text)}")


def _after_epoch(microseconds: int) -> datetime:
    lowest, highest = ((bound - UNIX_EPOCH) // MICROSECOND for bound in (EARLIEST, LATEST))
    return UNIX_EPOCH + timedelta(microseconds=min(max(microseconds, lowest), highest))


def clipped(time: datetime) -> datetime:
    """Return a time within the bounds."""
    return min(max(time, EARLIEST), LATEST)


def unix_nanoseconds(time: datetime) -> int:
    """Return a time as nanoseconds since 1970."""
    return (time - UNIX_EPOCH) // MICROSECOND * 1000


def read_flag(name: str, text: str | None, default: bool) -> bool:
    """Return the value of `true` or `false`; the default without a text.

    Raises:
        BadParameters: It is something else.
    """
    if text is None:
        return default
    if text.lower() not in ("true", "false"):
        raise bad_parameter(name, f"must be true or false, not {shown(text)}")
    return text.lower() == "true"


def read_order(name: str, text: str | None, default: Any) -> Any:
    """Return `asc` or `desc`; the default without a text.

    Raises:
        BadParameters: It is something else.
    """
    if text is not None and text not in ("asc", "desc"):
        raise bad_parameter(name, f"must be asc or desc, not {shown(text)}")
    return text or default


class NextPage(NamedTuple):
    """Address of the next page."""

    url: str
    """Without the prefixes in front of the path: clients append path and query to the base that they were given."""
    headers: Mapping[str, str]
    """`Link` with the whole address, unless it is too long."""


def next_page(request: Request[Any, Any, Any], segments: Sequence[str], changed: Mapping[str, str]) -> NextPage:
    """Return the address of the next page: a path by its segments, and the parameters of the request with some changes.

    It never has the key, because no handler has a parameter for one.
    """
    pairs = [(name, value) for name, value in known_pairs(request) if name not in changed]
    path = "".join(f"/{quote(segment, safe='')}" for segment in segments)
    address = f"{path}?{urlencode([*pairs, *changed.items()])}"
    origin = f"{request.base_url.scheme}://{request.base_url.netloc}"
    link = f'<{base_url(request)}{PREFIX}{address}>; rel="next"'
    return NextPage(f"{origin}{address}", {"Link": link} if len(link) <= MAX_LINK_LENGTH else {})
