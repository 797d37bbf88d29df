"""Query, header and path parameters of the handlers."""

from collections.abc import Iterable
from datetime import date, timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_args
from zoneinfo import ZoneInfo

from litestar.openapi.spec import Example, Schema
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType
from litestar.params import ParameterKwarg, PathParameter, QueryParameter

from market_data.api.http.parameter_types import (
    MAX_SYMBOLS,
    TimeBound,
    parsed,
    parsed_choice,
    parsed_limit,
    read_date,
    read_duration,
    read_path_symbol,
    read_symbol,
    read_symbols,
    read_time_bound,
    read_version_number,
    read_zone,
)
from market_data.api.http.past import PastMoment, read_close, read_moment
from market_data.queries.adjustment import Adjustment
from market_data.queries.candles import Fill, SessionKind
from market_data.queries.intervals import ALL_INTERVALS, INTERVALS, LOCAL_LENGTHS, MAX_SECONDS_DAYS
from market_data.queries.row_pages import Order
from market_data.trade_validation import MAX_SYMBOL_LENGTH, STORED_SYMBOL, SYMBOL_PATTERN

ResponseFormat = Literal["json", "ndjson", "csv", "arrow", "parquet"]

MAX_TRADES_LIMIT, DEFAULT_TRADES_LIMIT = 1000, 100
MAX_CANDLES_LIMIT = DEFAULT_CANDLES_LIMIT = 10_000
MAX_ROW_SYMBOLS = 100
"""Symbols of a request for candles or trades, each of which costs a statement."""

if TYPE_CHECKING:
    Ticker = PathTicker = Interval = StoredInterval = str
    OptionalTicker = OptionalPageToken = str | None
    Time = TimeBound
    OptionalTime = TimeBound | None
    OptionalMoment = PastMoment | None
    OptionalZone = ZoneInfo | None
    RowOrder = Order | None
    TradesLimit = CandlesLimit = int | None
    Tickers = SeveralTickers = tuple[str, ...] | None
    OptionalFill = Fill | None
    OptionalSession = SessionKind | None
    OptionalAdjustment = Adjustment | None
    OptionalFormat = ResponseFormat | None
    OptionalVersion = int | None
    OptionalDuration = timedelta | None
    OptionalClose = PastMoment | None
    OptionalDate = date | None
else:
    Ticker = OptionalTicker = parsed(read_symbol, is_text_value=STORED_SYMBOL.fullmatch)
    PathTicker = parsed(read_path_symbol, is_text_value=STORED_SYMBOL.fullmatch)
    Interval = parsed_choice(ALL_INTERVALS)
    StoredInterval = parsed_choice(INTERVALS)
    RowOrder = parsed_choice(get_args(Order))
    OptionalZone = parsed(read_zone, ZoneInfo)
    OptionalFill = parsed_choice(get_args(Fill))
    OptionalSession = parsed_choice(get_args(SessionKind))
    OptionalAdjustment = parsed_choice(get_args(Adjustment))
    OptionalFormat = parsed_choice(get_args(ResponseFormat))
    OptionalPageToken = parsed(str, is_text_value=lambda _: True)
    Time = OptionalTime = parsed(read_time_bound, TimeBound)
    OptionalMoment = parsed(read_moment, PastMoment)
    TradesLimit = parsed_limit(MAX_TRADES_LIMIT)
    CandlesLimit = parsed_limit(MAX_CANDLES_LIMIT)
    Tickers = parsed(read_symbols, tuple)
    SeveralTickers = parsed(partial(read_symbols, maximum=MAX_ROW_SYMBOLS), tuple)
    OptionalVersion = parsed(read_version_number, int)
    OptionalDuration = parsed(read_duration, timedelta)
    OptionalClose = parsed(read_close, PastMoment)
    OptionalDate = parsed(read_date, date)

_SYMBOL_SCHEMA: Final[dict[str, Any]] = {"type": "string", "pattern": f"^{SYMBOL_PATTERN}$", "max_length": MAX_SYMBOL_LENGTH}
# Generated clients then take a `datetime` or a `date`, as well as the other notations.
TIME_SCHEMA: Final[dict[str, Any]] = {
    "any_of": [
        Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.DATE_TIME),
        Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.DATE),
        Schema(type=OpenAPIType.STRING),
    ]
}


def query(
    name: str, description: str, example: object = None, kind: type[ParameterKwarg] = QueryParameter, **schema: Any
) -> ParameterKwarg:
    """Return a query parameter, or one of another kind. Without an example, the documentation page does not send it."""
    examples = None if example is None else [Example(value=example)]
    return kind(name=name, description=description, examples=examples, schema_extra=schema)


def one_of(name: str, choices: Iterable[str]) -> dict[str, Any]:
    """Return the schema of a parameter with a few values. Generated clients know it by its name."""
    return {"type": "string", "title": name, "enum": list(choices)}


def _limit(rows: str, default: int, maximum: int, unlimited: str = "") -> ParameterKwarg:
    description = f"Maximum number of {rows}, 1 to {maximum}; by default {default}.{unlimited}"
    return query("limit", description, type="integer", minimum=1, maximum=maximum)


def _symbol(default: str, kind: type[ParameterKwarg] = QueryParameter) -> ParameterKwarg:
    return query("symbol", f"The symbol, in upper or lower case. {default}", "AAPL", kind, **_SYMBOL_SCHEMA)


def _order(default: Order, key: str) -> ParameterKwarg:
    description = f"`asc` for the oldest first, `desc` for the newest first, by {key}; by default `{default}`."
    return query("order", description, **one_of("Order", get_args(Order)))


def session_query(description: str) -> ParameterKwarg:
    """Return the definition of `session`."""
    return query("session", description, **one_of("SessionKind", get_args(SessionKind)))


_LISTED = "`GET /symbols` lists the known ones."
_UNLIMITED = " Without it, all formats but JSON have the whole range."
NOTATIONS = (
    "A time with a zone (`2026-02-08T10:30:00Z`), a date (midnight UTC), `now`, `now-1h` (`s`, `m`, `h`, `d` or `w`), or "
    "a Unix time, whose unit follows from its magnitude."
)

SymbolParameter = Annotated[Ticker, _symbol(_LISTED)]
AnySymbolParameter = Annotated[OptionalTicker, _symbol("Default: all symbols.")]
PathSymbolParameter = Annotated[PathTicker, _symbol(_LISTED, PathParameter)]


def _symbols(maximum: int, default: str) -> ParameterKwarg:
    description = f"Symbols, in upper or lower case, separated by commas; at most {maximum:,}. {default}"
    pattern = f"^{SYMBOL_PATTERN}(,{SYMBOL_PATTERN})*$"
    return query("symbols", description, "AAPL,MSFT", type="string", pattern=pattern)


SymbolsParameter = Annotated[Tickers, _symbols(MAX_SYMBOLS, "Default: all symbols.")]
OneSymbolParameter = Annotated[OptionalTicker, _symbol(f"This or `symbols` is required. {_LISTED}")]
SeveralSymbolsParameter = Annotated[
    SeveralTickers,
    query(
        "symbols",
        f"Several symbols instead of `symbol`, separated by commas; at most {MAX_ROW_SYMBOLS}. Rows are sorted by symbol, "
        "then by time, and `limit` applies to all of them.",
        type="string",
        pattern=f"^{SYMBOL_PATTERN}(,{SYMBOL_PATTERN})*$",
    ),
]
IntervalParameter = Annotated[
    Interval,
    query(
        "interval",
        "Length of a candle's bucket; `1m` is a minute, `1M` a month. Intervals of seconds are computed from at most "
        f"{MAX_SECONDS_DAYS} days of trades.",
        "1m",
        **one_of("Interval", ALL_INTERVALS),
    ),
]
StoredIntervalParameter = Annotated[
    StoredInterval,
    query("interval", "Length of a candle's bucket.", "1m", **one_of("StoredInterval", INTERVALS)),
]
SinceVersionParameter = Annotated[
    OptionalVersion,
    query(
        "since_version",
        "Changes after this version, such as the `Data-Version` of the candles that the client has. This or `start` is "
        "required.",
        0,
        type="integer",
        minimum=0,
    ),
]
RevisedStartParameter = Annotated[
    OptionalTime,
    query("start", "Buckets that start at this time or later; notations as at `/candles`.", "now-1h", **TIME_SCHEMA),
]
RevisedEndParameter = Annotated[OptionalTime, query("end", "Buckets that start before this time.", **TIME_SCHEMA)]
StartOfRevisedParameter = Annotated[
    Time, query("start", "Buckets that start at this time or later; notations as at `/candles`.", "now-1h", **TIME_SCHEMA)
]
EndOfRevisedParameter = Annotated[
    OptionalTime, query("end", "Buckets that start before this time. Default: now.", **TIME_SCHEMA)
]
RevisionsLimitParameter = Annotated[TradesLimit, _limit("changes", DEFAULT_TRADES_LIMIT, MAX_TRADES_LIMIT)]
ZoneParameter = Annotated[
    OptionalZone,
    query(
        "tz",
        f"Time zone in whose midnights the buckets of {', '.join(f'`{name}`' for name in LOCAL_LENGTHS)} begin, such as "
        "`America/New_York`; by default UTC.",
        type="string",
    ),
]
BucketParameter = Annotated[
    Time,
    query(
        "timestamp",
        f"Start of the bucket, as in the candle. {NOTATIONS} A relative time chooses the bucket that contains it.",
        "now-1h",
        **TIME_SCHEMA,
    ),
]
StartParameter = Annotated[
    OptionalTime,
    query(
        "start",
        f"Start of the range, inclusive. {NOTATIONS} Default: as many of the newest rows as `limit` allows; the next page "
        "then has older ones.",
        "now-1h",
        **TIME_SCHEMA,
    ),
]
EndParameter = Annotated[
    OptionalTime,
    query("end", "End of the range, exclusive; notations as for `start`. Default: now.", **TIME_SCHEMA),
]
_AS_OF = (
    "A version, as in `Data-Version`, or a time, notations as for `start` but no Unix times: the answer is what it was "
    "then. Trades stored later are left out; those corrected or cancelled later are as they were. Such an answer never "
    "changes."
)
AsOfParameter = Annotated[OptionalMoment, query("as_of", _AS_OF, type="string")]
CandlesAsOfParameter = Annotated[
    OptionalClose,
    query(
        "as_of",
        f"{_AS_OF} Or `close`: each candle as it stood when `grace` had passed since the end of its bucket; candles whose "
        "time has not come yet are left out.",
        type="string",
    ),
]
GraceParameter = Annotated[
    OptionalDuration,
    query(
        "grace",
        "With `as_of=close`: a time such as `30s` (`s`, `m`, `h`, `d` or `w`); by default `0s`.",
        type="string",
        pattern="^[0-9]{1,6}[smhdw]$",
    ),
]
OnParameter = Annotated[
    OptionalDate,
    query(
        "on",
        "The symbols that had their names on this day (in UTC), such as `2021-06-30`. Default: those that have them now, or "
        "had them last.",
        type="string",
        format=OpenAPIFormat.DATE,
    ),
]
TradesOrderParameter = Annotated[RowOrder, _order("desc", "time, then `trade_id`")]
CandlesOrderParameter = Annotated[RowOrder, _order("asc", "time")]
TradesLimitParameter = Annotated[TradesLimit, _limit("trades", DEFAULT_TRADES_LIMIT, MAX_TRADES_LIMIT, _UNLIMITED)]
CandlesLimitParameter = Annotated[CandlesLimit, _limit("candles", DEFAULT_CANDLES_LIMIT, MAX_CANDLES_LIMIT, _UNLIMITED)]
ChangesLimitParameter = Annotated[TradesLimit, _limit("changes", DEFAULT_TRADES_LIMIT, MAX_TRADES_LIMIT)]
FillParameter = Annotated[
    OptionalFill,
    query(
        "fill",
        "Adds a candle for each bucket of the range that has begun and in which nothing was traded: its prices are the "
        "`previous` close or `null`, its volume is 0, and it is marked `filled`. Default: such a bucket has no candle.",
        **one_of("Fill", get_args(Fill)),
    ),
]
SessionParameter = Annotated[
    OptionalSession,
    session_query(
        "`regular` for candles of regular trading and its closing auction, `extended` with pre- and post-market as well, by "
        "the calendar of the symbol: a day is one session, labelled by its date, and other buckets start when a session "
        "opens. Default: `all`, whole UTC days."
    ),
]
DaySessionParameter = Annotated[
    OptionalSession,
    session_query(
        "`regular` for days of regular trading and its closing auction, `extended` for those with pre- and post-market, by "
        "the calendar of the symbol. Default: `all`, UTC days."
    ),
]
AdjustmentParameter = Annotated[
    OptionalAdjustment,
    query(
        "adjustment",
        "Adjusts prices and volumes to later corporate actions of the symbol: `split` to splits and stock dividends, "
        "`dividend` to cash dividends, `all` to these and spin-offs; results have at most 12 decimal places. With `as_of`, "
        "to the actions that were known then. Default: `raw`, the prices that were traded.",
        **one_of("Adjustment", get_args(Adjustment)),
    ),
]
FormatParameter = Annotated[
    OptionalFormat,
    query(
        "format",
        "Format of the response, instead of `Accept`: `json`, `ndjson` (a JSON object per line), `csv`, `arrow` (an Arrow "
        "IPC stream) or `parquet`.",
        **one_of("ResponseFormat", get_args(ResponseFormat)),
    ),
]
PageTokenParameter = Annotated[
    OptionalPageToken,
    query("page_token", "`next_page_token` of the page before, with the same parameters.", type="string", min_length=1),
]
PartialParameter = Annotated[
    Literal["true", "false"],
    query(
        "partial",
        "`true`: store the valid trades, and list the others in `rejected`. Otherwise one invalid trade prevents all others "
        "from being stored.",
        type="boolean",
        enum=None,
    ),
]
