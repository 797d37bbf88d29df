"""Query, header and path parameters of the handlers, and the checks that Litestar lacks.

Litestar reads and checks a request. If a parameter is wrong, missing or repeated, all are read again here, so that the
response names each problem in the service's own words.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_args
from urllib.parse import parse_qsl

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.openapi.spec import Example
from litestar.params import HeaderParameter, ParameterKwarg, PathParameter, QueryParameter
from litestar.typing import FieldDefinition

from market_data.api.http.parameter_types import (
    MAX_SYMBOLS,
    ParsedType,
    parsed,
    parsed_choice,
    parsed_limit,
    read_channels,
    read_choice,
    read_event_id,
    read_path_symbol,
    read_symbol,
    read_symbols,
    read_time,
)
from market_data.errors import BadParameters
from market_data.models import ParameterProblem
from market_data.queries.gapfilled_candles import Fill
from market_data.queries.intervals import INTERVALS
from market_data.queries.row_pages import Order
from market_data.streaming.events import ID_PATTERN, EventId
from market_data.streaming.subscriptions import CHANNELS
from market_data.trade_validation import SYMBOL_PATTERN

ResponseFormat = Literal["json", "csv", "arrow"]

MAX_TRADES_LIMIT, DEFAULT_TRADES_LIMIT = 1000, 100
MAX_CANDLES_LIMIT = DEFAULT_CANDLES_LIMIT = 10_000

if TYPE_CHECKING:
    Ticker = PathTicker = Interval = str
    OptionalTicker = OptionalPageToken = str | None
    Time = datetime
    TradesLimit = CandlesLimit = int | None
    Tickers = Channels = tuple[str, ...] | None
    OptionalFill = Fill | None
    OptionalFormat = ResponseFormat | None
    OptionalEventId = EventId | None
else:
    _is_ticker = re.compile(r"[A-Z0-9^][A-Z0-9._/^=-]{0,31}").fullmatch
    Ticker = OptionalTicker = parsed(read_symbol, is_text_value=_is_ticker)
    PathTicker = parsed(read_path_symbol, is_text_value=_is_ticker)
    Interval = parsed_choice(INTERVALS)
    OptionalFill = parsed_choice(get_args(Fill))
    OptionalFormat = parsed_choice(get_args(ResponseFormat))
    OptionalPageToken = parsed(str, is_text_value=lambda _: True)
    Time = parsed(read_time, datetime)
    TradesLimit = parsed_limit(MAX_TRADES_LIMIT)
    CandlesLimit = parsed_limit(MAX_CANDLES_LIMIT)
    Tickers = parsed(read_symbols, tuple)
    Channels = parsed(read_channels, tuple)
    OptionalEventId = parsed(read_event_id, EventId)

_CHANNEL = "|".join(CHANNELS)
_SYMBOL_SCHEMA: Final[dict[str, Any]] = {"type": "string", "pattern": f"^{SYMBOL_PATTERN}$"}
_EVENT_ID_SCHEMA: Final[dict[str, Any]] = {"type": "string", "pattern": f"^({ID_PATTERN.pattern})?$"}
_TIME_SCHEMA: Final[dict[str, Any]] = {"type": "string", "format": "date-time"}


def _query(
    name: str, description: str, example: object = None, kind: type[ParameterKwarg] = QueryParameter, **schema: Any
) -> ParameterKwarg:
    """Return a query parameter, or one of another kind. Without an example, the documentation page does not send it."""
    examples = None if example is None else [Example(value=example)]
    return kind(name=name, description=description, examples=examples, schema_extra=schema)


def _limit(rows: str, default: int, maximum: int, unlimited: str = "") -> ParameterKwarg:
    description = f"Maximum number of {rows}, 1 to {maximum}.{unlimited}"
    return _query("limit", description, default, type="integer", minimum=1, maximum=maximum, default=default)


def _symbol(default: str, kind: type[ParameterKwarg] = QueryParameter) -> ParameterKwarg:
    return _query("symbol", f"The symbol, in upper or lower case. {default}", "AAPL", kind, **_SYMBOL_SCHEMA)


def _order(default: Order, key: str) -> ParameterKwarg:
    return _query("order", f"`asc` for the oldest first, `desc` for the newest first, by {key}.", default)


_LISTED = "`GET /symbols` lists the known ones."
_UNLIMITED = " Without it, CSV and Arrow have the whole range."
_RFC_3339 = "RFC 3339, with a zone (`Z` or an offset). Digits beyond the microsecond are cut off."

SymbolParameter = Annotated[Ticker, _symbol(_LISTED)]
AnySymbolParameter = Annotated[OptionalTicker, _symbol("Default: all symbols.")]
PathSymbolParameter = Annotated[PathTicker, _symbol(_LISTED, PathParameter)]
SymbolsParameter = Annotated[
    Tickers,
    _query(
        "symbols",
        f"Symbols, in upper or lower case, separated by commas; at most {MAX_SYMBOLS:,}. Default: all symbols.",
        "AAPL,MSFT",
        type="string",
        pattern=f"^{SYMBOL_PATTERN}(,{SYMBOL_PATTERN})*$",
    ),
]
IntervalParameter = Annotated[
    Interval, _query("interval", "Length of a candle's bucket.", "1m", type="string", enum=list(INTERVALS))
]
StartParameter = Annotated[
    Time, _query("start", f"Start of the range, inclusive. {_RFC_3339}", "2026-02-08T10:00:00Z", **_TIME_SCHEMA)
]
EndParameter = Annotated[
    Time, _query("end", f"End of the range, exclusive. {_RFC_3339}", "2026-02-08T11:00:00Z", **_TIME_SCHEMA)
]
TradesOrderParameter = Annotated[Order, _order("desc", "time, then `trade_id`")]
CandlesOrderParameter = Annotated[Order, _order("asc", "time")]
TradesLimitParameter = Annotated[TradesLimit, _limit("trades", DEFAULT_TRADES_LIMIT, MAX_TRADES_LIMIT, _UNLIMITED)]
CandlesLimitParameter = Annotated[CandlesLimit, _limit("candles", DEFAULT_CANDLES_LIMIT, MAX_CANDLES_LIMIT, _UNLIMITED)]
ChangesLimitParameter = Annotated[TradesLimit, _limit("changes", DEFAULT_TRADES_LIMIT, MAX_TRADES_LIMIT)]
FillParameter = Annotated[
    OptionalFill,
    _query(
        "fill",
        "Adds a candle for each bucket of the range that has begun and in which nothing was traded: its prices are the "
        "`previous` close or `null`, its volume is 0, and it is marked `filled`. Default: such a bucket has no candle.",
        type="string",
        enum=list(get_args(Fill)),
    ),
]
FormatParameter = Annotated[
    OptionalFormat,
    _query(
        "format",
        "Format of the response, instead of `Accept`: `json`, `csv`, or `arrow` for an Arrow IPC stream.",
        type="string",
        enum=list(get_args(ResponseFormat)),
    ),
]
PageTokenParameter = Annotated[
    OptionalPageToken,
    _query("page_token", "`next_page_token` of the page before, with the same parameters.", type="string", min_length=1),
]
PartialParameter = Annotated[
    Literal["true", "false"],
    _query(
        "partial",
        "`true`: store the valid trades, and list the others in `rejected`. Otherwise one invalid trade prevents all others "
        "from being stored.",
    ),
]
ChannelsParameter = Annotated[
    Channels,
    _query(
        "channels",
        "Channels, separated by commas: `trades`, `candles_1m` and so on.",
        "trades,candles_1m",
        type="string",
        pattern=f"^({_CHANNEL})(,({_CHANNEL}))*$",
        default="trades",
    ),
]
LastEventIdParameter = Annotated[
    OptionalEventId,
    _query(
        "last_event_id",
        "Id of the last received event, for clients that can't send the header `Last-Event-ID`. Empty: none.",
        **_EVENT_ID_SCHEMA,
    ),
]
LastEventIdHeader = Annotated[
    OptionalEventId,
    _query("Last-Event-ID", "As `last_event_id`, and takes precedence over it.", kind=HeaderParameter, **_EVENT_ID_SCHEMA),
]

MAX_CACHED_BYTES = 200
"""Length of a query string that is cached; with 1,024 of them the cache stays small."""


async def reject_repeated(request: Request[Any, Any, Any]) -> None:
    """Reject repeated query parameters, because Litestar would use the last. A `before_request` hook.

    Raises:
        BadParameters: A parameter of the handler is repeated.
    """
    names = [name for name, _ in _pairs(request.scope["query_string"])]
    if len(set(names)) < len(names):
        read_parameters(request, request.route_handler)


def _pairs(query_string: bytes) -> list[tuple[str, str]]:
    return (_parse_cached if len(query_string) <= MAX_CACHED_BYTES else _parse)(query_string)


def _parse(query_string: bytes) -> list[tuple[str, str]]:
    return parse_qsl(query_string.decode("latin-1"), keep_blank_values=True)


_parse_cached = lru_cache(1024)(_parse)


def known_pairs(request: Request[Any, Any, Any]) -> list[tuple[str, str]]:
    """Return the query parameters that the handler knows, as the client sent them."""
    known = _parameters(request.route_handler)
    return [(name, value) for name, value in _pairs(request.scope["query_string"]) if name in known]


def read_parameters(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> dict[str, Any]:
    """Return the parameters of a handler by their Python names.

    Raises:
        BadParameters: Parameters are wrong, missing or repeated; all of them are named.
    """
    query = _pairs(connection.scope["query_string"])
    values: dict[str, Any] = {}
    problems: list[ParameterProblem] = []
    for name, field in _parameters(handler).items():
        match field.kwarg_definition:
            case HeaderParameter():
                texts = connection.headers.getall(name, [])
            case PathParameter():
                texts = [str(connection.path_params[name])]
            case _:
                texts = [value for key, value in query if key == name]
        try:
            values[field.name] = _read(name, field, texts)
        except ValueError as error:
            problems.append(ParameterProblem(name, str(error)))
    if problems:
        raise BadParameters(problems)
    return values


@lru_cache(64)
def _parameters(handler: BaseRouteHandler) -> Mapping[str, FieldDefinition]:
    """Return the parameters of a handler by the names that clients send."""
    fields = handler.parsed_fn_signature.parameters.values()
    return {
        field.kwarg_definition.name or field.name: field
        for field in fields
        if isinstance(field.kwarg_definition, ParameterKwarg)
    }


def _read(name: str, field: FieldDefinition, texts: list[str]) -> Any:
    if len(texts) > 1:
        raise ValueError(f"is given {len(texts)} times; give it once")
    if not texts:
        if not field.is_required:
            return field.default
        examples = field.kwarg_definition.examples if isinstance(field.kwarg_definition, ParameterKwarg) else None
        raise ValueError(f"is required, for example {name}={examples[0].value if examples else ''}")
    kind = field.annotation
    return kind.read(texts[0]) if isinstance(kind, ParsedType) else read_choice(texts[0], get_args(kind))
