"""The query parameters: what each takes, how it is read, and how the OpenAPI document describes it.

They are read from the raw query string, not by the framework, because the contract asks for more than it gives: all that is
wrong is told at once, a repeated parameter is refused, times need a zone, and the plus of `+00:00` may arrive as a space.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Generic, Literal, Self, TypeVar, cast, get_args
from urllib.parse import parse_qsl

from litestar.connection import ASGIConnection
from litestar.openapi.spec import Parameter, Schema
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType
from litestar.openapi.spec.example import Example

from market_data.api.http.paging import read_page_token
from market_data.api.http.readers import (
    MOST_SYMBOLS,
    SYMBOL_FORM,
    Format,
    read_channels,
    read_choice,
    read_number,
    read_symbol,
    read_symbols,
    read_time,
)
from market_data.errors import BadParameters
from market_data.models import ParameterProblem
from market_data.queries.gapfilled_candles import Fill
from market_data.queries.intervals import INTERVALS
from market_data.queries.row_pages import Order, RowKey
from market_data.streaming.events import ID_PATTERN, EventId
from market_data.streaming.subscriptions import CHANNELS as KNOWN_CHANNELS

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
    place: Literal["query", "header", "path"] = "query"

    def describe(self) -> Parameter:
        """Its entry in the OpenAPI document."""
        return Parameter(
            name=self.name,
            param_in=self.place,
            description=self.description,
            required=self.required,
            schema=self.schema,
            examples=None if self.example is None else {"example": Example(value=self.example)},
        )


CACHED_BYTES = 200
"""Of a query string, at the most: with 1,024 of them the cache stays small."""


def _pairs(query_string: bytes) -> Sequence[tuple[str, str]]:
    """The parameters of a query string. A price is asked for again and again with the same one."""
    return _cached_pairs(query_string) if len(query_string) <= CACHED_BYTES else _parsed(query_string)


def _parsed(query_string: bytes) -> Sequence[tuple[str, str]]:
    return parse_qsl(query_string.decode("latin-1"), keep_blank_values=True)


_cached_pairs = lru_cache(1024)(_parsed)


class Query:
    """The query string of a request. Within `with`, parameters are taken from it; leaving raises if any was wrong."""

    def __init__(self, request: ASGIConnection[Any, Any, Any, Any]) -> None:
        self._request = request
        self._pairs = _pairs(request.scope["query_string"])
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
        if parameter.place == "header":
            texts = self._request.headers.getall(parameter.name, [])
        else:
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

    def has(self, parameter: QueryParameter[Any]) -> bool:
        """Whether a parameter was given, whatever it is worth."""
        return any(name == parameter.name for name, _ in self._pairs)

    def take_range(self) -> tuple[datetime, datetime]:
        """The values of `start` and `end`, in this order in time."""
        start, end = self.take(START), self.take(END)
        if cast(datetime | None, start) and cast(datetime | None, end) and start >= end:
            self.refuse("start", "must be before end; the range includes start and excludes end")
        return start, end

    def take_page(self, *parameters: object, start: datetime, end: datetime) -> RowKey | None:
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


def _limit(default: int, highest: int) -> QueryParameter[int]:
    return QueryParameter(
        "limit",
        f"How many to answer at the most, 1 to {highest}. Left out, CSV and Arrow answer the whole range.",
        default,
        Schema(type=OpenAPIType.INTEGER, minimum=1, maximum=highest, default=default),
        read_number(highest),
        required=False,
        default=default,
    )


def _order(default: Order, meaning: str) -> QueryParameter[Order]:
    return QueryParameter(
        "order",
        f"`asc` for the oldest first, `desc` for the newest first, by {meaning}.",
        default,
        Schema(type=OpenAPIType.STRING, enum=list(get_args(Order)), default=default),
        read_choice(get_args(Order)),
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
    read_choice(INTERVALS),
)
SYMBOLS = QueryParameter[tuple[str, ...] | None](
    "symbols",
    f"The symbols, in upper or lower case, with commas between them; {MOST_SYMBOLS:,} at the most. Left out, all.",
    "AAPL,MSFT",
    Schema(type=OpenAPIType.STRING, pattern=f"^{SYMBOL_FORM.pattern}(,{SYMBOL_FORM.pattern})*$"),
    read_symbols,
    required=False,
)
CHANNELS = QueryParameter[tuple[str, ...]](
    "channels",
    "What to listen to, with commas between them: `trades`, `candles_1m` and so on.",
    "trades,candles_1m",
    Schema(
        type=OpenAPIType.STRING, pattern=f"^({'|'.join(KNOWN_CHANNELS)})(,({'|'.join(KNOWN_CHANNELS)}))*$", default="trades"
    ),
    read_channels,
    required=False,
    default=("trades",),
)
LAST_EVENT_ID = QueryParameter[EventId | None](
    "last_event_id",
    "The id of the last event that has been got, for clients that can't send the header `Last-Event-ID`.",
    None,  # the documentation page would send it
    Schema(type=OpenAPIType.STRING, pattern=f"^{ID_PATTERN.pattern}$"),
    EventId.parse,
    required=False,
)
LAST_EVENT_ID_HEADER = QueryParameter[EventId | None](
    "Last-Event-ID",
    "As `last_event_id`, and goes before it.",
    None,
    LAST_EVENT_ID.schema,
    EventId.parse,
    required=False,
    place="header",
)
FILL = QueryParameter[Fill | None](
    "fill",
    "Answers a candle for each bucket of the range that has begun, each marked `filled` or not. Where nothing was traded, "
    "its prices are the `previous` close or `null`, its volume is 0. Left out, such a bucket has no candle.",
    None,  # the documentation page would send it
    Schema(type=OpenAPIType.STRING, enum=["previous", "null"]),
    read_choice(get_args(Fill)),
    required=False,
)
FORMAT = QueryParameter[Format | None](
    "format",
    "The form of the answer, whatever `Accept` says: `json`, `csv`, or `arrow` for an Arrow IPC stream.",
    None,  # as above
    Schema(type=OpenAPIType.STRING, enum=list(get_args(Format))),
    read_choice(get_args(Format)),
    required=False,
)
TRADES_ORDER = _order("desc", "time, then `trade_id`")
CANDLES_ORDER = _order("asc", "time")
TRADES_LIMIT = _limit(100, 1000)
CANDLES_LIMIT = _limit(10000, 10000)
CHANGES_SYMBOL = QueryParameter[str | None](
    "symbol",
    "The symbol, in upper or lower case. Left out, all.",
    "AAPL",
    SYMBOL.schema,
    read_symbol,
    required=False,
)
CHANGES_LIMIT = QueryParameter[int](
    "limit", "How many to answer at the most, 1 to 1000.", 100, TRADES_LIMIT.schema, read_number(1000), False, 100
)
SYMBOL_OF_PATH = QueryParameter[str]("symbol", SYMBOL.description, "AAPL", SYMBOL.schema, read_symbol, place="path")
PARTIAL = QueryParameter[str](
    "partial",
    "`true`: store what can be stored, and list the rest in `rejected`. Otherwise a trade that can't be stored keeps all "
    "others from being stored.",
    None,  # the documentation page would send it
    Schema(type=OpenAPIType.STRING, enum=["true", "false"], default="false"),
    read_choice(("true", "false")),
    required=False,
    default="false",
)
PAGE_TOKEN = QueryParameter[str | None](
    "page_token",
    "`next_page_token` of the answer to read on from, with the same parameters.",
    None,  # the documentation page would send it
    Schema(type=OpenAPIType.STRING, min_length=1),
    lambda text: text,
    required=False,
)
