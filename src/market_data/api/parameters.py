"""The query parameters: what each takes, how it is read, and how the OpenAPI document describes it.

They are read from the raw query string, not by the framework, because the contract asks for more than it gives: all that is
wrong is told at once, a repeated parameter is refused, times need a zone, and the plus of `+00:00` may arrive as a space.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, Self, TypeVar, cast
from urllib.parse import parse_qsl

from litestar import Request
from litestar.openapi.spec import Parameter, Schema
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType
from litestar.openapi.spec.example import Example

from market_data.api.paging import Key, read_page_token
from market_data.errors import BadParameters
from market_data.models import ParameterProblem
from market_data.queries import INTERVALS

T = TypeVar("T")


@dataclass(frozen=True)
class QueryParameter(Generic[T]):
    """One parameter: `read` turns its text into a value, or raises ValueError with what is wrong and the remedy."""

    name: str
    description: str
    example: str | int | None
    schema: Schema
    read: Callable[[str], T]
    required: bool = True
    default: T | None = None

    def describe(self) -> Parameter:
        """Its entry in the OpenAPI document."""
        return Parameter(
            name=self.name,
            param_in="query",
            description=self.description,
            required=self.required,
            schema=self.schema,
            examples=None if self.example is None else {"example": Example(value=self.example)},
        )


class Query:
    """The query string of a request. Within `with`, parameters are taken from it; leaving raises if any was wrong."""

    def __init__(self, request: Request[Any, Any, Any]) -> None:
        self._pairs = parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)
        self._taken: set[str] = set()
        self._problems: list[ParameterProblem] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Raise BadParameters with all that was found wrong."""
        if self._problems and kind is None:
            raise BadParameters(self._problems)

    def take(self, parameter: QueryParameter[T]) -> T:
        """The value of a parameter. One that is wrong is noted; what stands for it then never leaves the `with`."""
        self._taken.add(parameter.name)
        texts = [value for name, value in self._pairs if name == parameter.name]
        try:
            if len(texts) > 1:
                raise ValueError(f"is given {len(texts)} times; give it once")
            if texts:
                return parameter.read(texts[0])
            if parameter.required:
                raise ValueError(f"is required, for example {parameter.name}={parameter.example}")
        except ValueError as error:
            self.refuse(parameter.name, str(error))
        return cast(T, parameter.default)

    def take_range(self) -> tuple[datetime, datetime]:
        """The values of `start` and `end`, in this order in time."""
        start, end = self.take(START), self.take(END)
        if cast(datetime | None, start) and cast(datetime | None, end) and start >= end:
            self.refuse("start", "must be before end; the range includes start and excludes end")
        return start, end

    def take_page(self, *parameters: object, start: datetime, end: datetime) -> Key | None:
        """What `page_token` stands for, as a page of the answer to these parameters; None for the first page."""
        token = self.take(PAGE_TOKEN)
        try:
            if token is not None and not self._problems:
                key = read_page_token(token, (*parameters, start, end))
                if not start <= key[0] < end:
                    raise ValueError("leads out of the range; give next_page_token of the answer before, unchanged")
                return key
        except ValueError as error:
            self.refuse(PAGE_TOKEN.name, str(error))
        return None

    def known(self) -> list[tuple[str, str]]:
        """The parameters that were taken, as they came."""
        return [(name, value) for name, value in self._pairs if name in self._taken]

    def refuse(self, name: str, detail: str) -> None:
        """Note that a parameter is wrong."""
        self._problems.append(ParameterProblem(name, detail))


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


def read_interval(text: str) -> str:
    """An interval that candles are kept for."""
    if text not in INTERVALS:
        raise ValueError(f"must be one of {', '.join(INTERVALS)}, not {shown(text)}")
    return text


def read_number(highest: int) -> Callable[[str], int]:
    """A reader of whole numbers from 1 to `highest`."""

    def read(text: str) -> int:
        if not re.fullmatch(r"\d{1,18}", text, re.ASCII) or not 1 <= int(text) <= highest:
            raise ValueError(f"must be a whole number from 1 to {highest}, not {shown(text)}")
        return int(text)

    return read


def _limit(default: int, highest: int) -> QueryParameter[int]:
    return QueryParameter(
        "limit",
        f"How many to answer at the most, 1 to {highest}.",
        default,
        Schema(type=OpenAPIType.INTEGER, minimum=1, maximum=highest, default=default),
        read_number(highest),
        required=False,
        default=default,
    )


def _time(name: str, description: str, example: str) -> QueryParameter[datetime]:
    return QueryParameter(
        name,
        f"{description} RFC 3339, with a zone (`Z` or an offset).",
        example,
        Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.DATE_TIME),
        read_time,
    )


SYMBOL = QueryParameter(
    "symbol",
    "The symbol, in upper or lower case. `GET /symbols` lists the known ones.",
    "AAPL",
    Schema(type=OpenAPIType.STRING, pattern=f"^{SYMBOL_FORM.pattern}$"),
    read_symbol,
)
START = _time("start", "Start of the range, inclusive.", "2026-02-08T10:00:00Z")
END = _time("end", "End of the range, exclusive.", "2026-02-08T11:00:00Z")
INTERVAL = QueryParameter(
    "interval",
    "Length of a candle's bucket.",
    "1m",
    Schema(type=OpenAPIType.STRING, enum=list(INTERVALS)),
    read_interval,
)
TRADES_LIMIT = _limit(100, 1000)
CANDLES_LIMIT = _limit(10000, 10000)
PAGE_TOKEN = QueryParameter[str | None](
    "page_token",
    "`next_page_token` of the answer to read on from, with the same parameters.",
    None,  # the documentation page would send it
    Schema(type=OpenAPIType.STRING, min_length=1),
    lambda text: text,
    required=False,
)
