"""Structs of the market data: the rows of the database as clients read them, and the schemas of the OpenAPI document.

The database formats the JSON of `Trade`, `Candle`, `FilledCandle` and `Snapshot`, in the order of the fields here; tests
compare the two. Numbers are `float` to clients, and exact decimals in the database and in JSON. Times are in UTC.
"""

from datetime import date, datetime
from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

SERVICE: Final = "market-data-platform"


def doc(description: str, example: object = None, **more: Any) -> Meta:
    """Return the description of a type or field in the OpenAPI document, with more of msgspec's constraints."""
    return Meta(description=description, examples=None if example is None else [example], **more)


SymbolName = Annotated[str, doc("Symbol, in upper case.", "AAPL")]
Timestamp = Annotated[datetime, doc("Time of the trade.", "2026-02-08T10:30:00Z")]
BucketStart = Annotated[datetime, doc("Start of the bucket.", "2026-02-08T10:30:00Z")]
Price = Annotated[float, doc("Price of one unit.", 189.44)]
Volume = Annotated[float, doc("Units traded.", 104.9)]
TradeId = Annotated[int, doc("Distinguishes trades of one symbol at one time; 0 if the source has no such number.", 0)]
IntervalName = Annotated[str, doc("Length of a bucket.", "1m")]
FillName = Annotated[str, doc("`fill` of the request. Only responses to `fill` have this field.", "previous")]
Vwap = Annotated[float | None, doc("Volume-weighted average price; null if the volume is 0.", 189.3552)]
FilledPrice = Annotated[
    float | None,
    doc(
        "As in a candle. If `filled`: the close of the last candle before it, null if there is none or with `fill=null`.",
        189.44,
    ),
]
Closed = Annotated[bool, doc("True if the bucket has ended; only late, corrected or cancelled trades change it.", True)]
Settled = Annotated[
    bool,
    doc(
        "Present, and false, while stored, corrected or cancelled trades are missing in the candle: for seconds, after bulk "
        "history for minutes.",
        False,
    ),
]
Count = Annotated[int, doc("Number of rows in this response.", 1)]
RangeStart = Annotated[
    datetime,
    doc("Start of the range, inclusive; without `start`, the oldest row of this page.", "2026-02-08T10:00:00Z"),
]
RangeEnd = Annotated[datetime, doc("End of the range, exclusive.", "2026-02-08T11:00:00Z")]
SymbolNames = Annotated[list[str], doc("The symbols, in upper case and alphabetical order.", ["AAPL", "MSFT"])]
NextPageToken = Annotated[
    str | None, doc("Send it as `page_token`, with the same parameters, for the next page; null on the last page.")
]


RenamedTo = Annotated[
    str | UnsetType, doc("Present name of the symbol. Present only if the request has a former name.", "META")
]
RenamedSymbols = Annotated[
    dict[str, str] | UnsetType,
    doc("Present names by the former names that the request has. Present only if it has some.", {"FB": "META"}),
]


class LatestPrice(Struct, frozen=True):
    """The newest trade of a symbol."""

    symbol: SymbolName
    price: Price
    volume: Volume
    timestamp: Timestamp
    renamed_to: RenamedTo = UNSET


class PriceList(Struct, frozen=True):
    """The newest trade of each symbol that has one, in alphabetical order."""

    prices: Annotated[list[LatestPrice], doc("The newest trades.")]
    count: Count
    renamed_to: RenamedSymbols = UNSET


SymbolType = Literal["stock", "etf", "crypto", "fx", "future", "index", "other"]


class PastName(Struct, frozen=True):
    """A name that a symbol had for a time."""

    name: Annotated[str, doc("The name.", "FB")]
    since: Annotated[datetime | None, doc("Time from which it had the name, inclusive; null: since ever.")]
    until: Annotated[datetime | None, doc("Time until which it had the name, exclusive; null for the present name.")]


class Symbol(Struct, frozen=True):
    """A known symbol."""

    symbol: SymbolName
    name: Annotated[str, doc("Full name of the symbol.", "Apple Inc.")]
    created_at: Annotated[datetime, doc("Time at which it was added.", "2026-02-08T10:00:00Z")]
    active: Annotated[bool, doc("False if new trades of the symbol are refused.", True)]
    signed: Annotated[bool, doc("True if trades of the symbol may have prices of 0 or less.", False)]
    currency: Annotated[str, doc("Currency of its prices.", "USD")]
    type: Annotated[SymbolType, doc("Kind of instrument.", "stock")]
    calendar: Annotated[str, doc("Code of the calendar of its trading sessions; `24/7`: always open.", "XNYS")]
    tick_size: Annotated[float | None, doc("Smallest step of the price; null if unknown.", 0.01)]
    listed: Annotated[date | None, doc("First day of trading at the exchange; null if unknown.", "1980-12-12")]
    delisted: Annotated[date | None, doc("Last day of trading at the exchange; null while listed, or if unknown.")]
    description: Annotated[str, doc("Text for people.", "Common stock of Apple Inc.")]
    aliases: Annotated[list[str], doc("Further names by which people find the symbol.", ["US0378331005"])]
    names: Annotated[list[PastName] | UnsetType, doc("Its names, the oldest first. Only `/symbols/{symbol}` has them.")] = (
        UNSET
    )
    renamed_to: RenamedTo = UNSET


class SymbolList(Struct, frozen=True):
    """Every symbol, in alphabetical order."""

    symbols: Annotated[list[Symbol], doc("The symbols.")]
    count: Count


class Trade(Struct, frozen=True):
    """One trade."""

    symbol: SymbolName
    price: Price
    volume: Volume
    timestamp: Timestamp
    trade_id: TradeId


class TradeList(Struct, frozen=True):
    """The trades of a symbol in a range, sorted by time, then `trade_id`, newest first by default."""

    symbol: SymbolName
    start: RangeStart
    end: RangeEnd
    limit: Annotated[int, doc("The limit that was applied.", 100)]
    count: Count
    trades: Annotated[list[Trade], doc("The trades.")]
    next_page_token: NextPageToken
    renamed_to: RenamedTo = UNSET


class SymbolsTradeList(Struct, frozen=True):
    """With `symbols`: the trades of several symbols, sorted by symbol, then by time and `trade_id`."""

    symbols: SymbolNames
    start: RangeStart
    end: RangeEnd
    limit: Annotated[int, doc("The limit that was applied.", 100)]
    count: Count
    trades: Annotated[list[Trade], doc("The trades.")]
    next_page_token: NextPageToken
    renamed_to: RenamedSymbols = UNSET


class Candle(Struct, frozen=True, omit_defaults=True):
    """Open, high, low, close and volume of the trades in one bucket."""

    timestamp: BucketStart
    open: Annotated[float, doc("Price of the first trade.", 189.2)]
    high: Annotated[float, doc("Highest price.", 189.61)]
    low: Annotated[float, doc("Lowest price.", 189.13)]
    close: Annotated[float, doc("Price of the last trade.", 189.44)]
    volume: Annotated[float, doc("Units traded.", 2098.31)]
    vwap: Vwap
    trade_count: Annotated[int, doc("Number of trades.", 20)]
    closed: Closed
    settled: Settled = True


class CandleList(Struct, frozen=True):
    """The candles of a symbol whose buckets start in a range, oldest first by default, the open bucket included."""

    symbol: SymbolName
    interval: IntervalName
    start: RangeStart
    end: RangeEnd
    count: Count
    candles: Annotated[list[Candle], doc("The candles.")]
    next_page_token: NextPageToken
    renamed_to: RenamedTo = UNSET


class FilledCandle(Struct, frozen=True, omit_defaults=True):
    """A candle of a response without gaps."""

    timestamp: BucketStart
    open: FilledPrice
    high: FilledPrice
    low: FilledPrice
    close: FilledPrice
    volume: Annotated[float, doc("Units traded.", 0)]
    vwap: Vwap
    trade_count: Annotated[int, doc("Number of trades.", 0)]
    closed: Closed
    filled: Annotated[bool, doc("True if nothing was traded in the bucket.", True)]
    settled: Settled = True


class FilledCandleList(Struct, frozen=True):
    """The same with `fill`: a candle for each bucket that starts in the range and has begun."""

    symbol: SymbolName
    interval: IntervalName
    start: RangeStart
    end: RangeEnd
    count: Count
    candles: Annotated[list[FilledCandle], doc("The candles.")]
    next_page_token: NextPageToken
    fill: FillName
    renamed_to: RenamedTo = UNSET


class SymbolCandle(Candle, frozen=True, omit_defaults=True, kw_only=True):
    """A candle with its symbol."""

    symbol: SymbolName


class SymbolsCandleList(Struct, frozen=True):
    """With `symbols`: the candles of several symbols, sorted by symbol, then by time."""

    symbols: SymbolNames
    interval: IntervalName
    start: RangeStart
    end: RangeEnd
    count: Count
    candles: Annotated[list[SymbolCandle], doc("The candles.")]
    next_page_token: NextPageToken
    renamed_to: RenamedSymbols = UNSET


class SymbolFilledCandle(FilledCandle, frozen=True, omit_defaults=True, kw_only=True):
    """A candle of a response without gaps, with its symbol."""

    symbol: SymbolName


class SymbolsFilledCandleList(Struct, frozen=True):
    """With `symbols` and `fill`: the candles of several symbols without gaps, sorted by symbol, then by time."""

    symbols: SymbolNames
    interval: IntervalName
    start: RangeStart
    end: RangeEnd
    count: Count
    candles: Annotated[list[SymbolFilledCandle], doc("The candles.")]
    next_page_token: NextPageToken
    fill: FillName
    renamed_to: RenamedSymbols = UNSET


class Last24Hours(Struct, frozen=True, omit_defaults=True):
    """Figures of the 15-minute candles that began within the last 24 hours."""

    open: Annotated[float | None, doc("Price of the first trade; null without a trade.", 187.9)]
    high: Annotated[float | None, doc("Highest price; null without a trade.", 190.12)]
    low: Annotated[float | None, doc("Lowest price; null without a trade.", 187.3)]
    volume: Annotated[float, doc("Units traded.", 30211.6)]
    turnover: Annotated[float, doc("Sum of price times volume.", 5714322.8)]
    trade_count: Annotated[int, doc("Number of trades.", 28790)]
    settled: Settled = True


class Snapshot(Struct, frozen=True):
    """A symbol at a glance."""

    symbol: SymbolName
    latest: Annotated[LatestPrice, doc("The newest trade.")]
    day: Annotated[Candle | None, doc("Candle of the UTC day or session so far; null without a trade.")]
    previous_day: Annotated[Candle | None, doc("Candle of the one before; null without a trade.")]
    minute: Annotated[Candle | None, doc("The newest 1-minute candle; null until the trade of `latest` has been taken in.")]
    change: Annotated[float | None, doc("`price` of `latest` minus `price_24h_ago`; null without that.", 1.51)]
    change_percent: Annotated[
        float | None, doc("The same in percent of `price_24h_ago`; null if that is not above 0.", 0.8035)
    ]
    price_24h_ago: Annotated[
        float | None, doc("Last close before `last_24h`; null if the symbol was not traded before.", 187.93)
    ]
    previous_close: Annotated[float | None, doc("Last close before `day`; null if the symbol was not traded before.", 188.4)]
    last_24h: Annotated[Last24Hours, doc("Figures of the last 24 hours.")]


class SnapshotList(Struct, frozen=True):
    """Snapshots of symbols that have a trade, in alphabetical order."""

    snapshots: Annotated[list[Snapshot], doc("The snapshots.")]
    count: Count
    renamed_to: RenamedSymbols = UNSET


class ParameterProblem(Struct, frozen=True):
    """A wrong parameter or field, and the remedy."""

    name: Annotated[str, doc("Name of the parameter, or of the field of the body.", "limit")]
    detail: Annotated[
        str, doc("What is wrong with it, and what it accepts.", "must be a whole number from 1 to 1000, not '0'")
    ]


class Problem(Struct, frozen=True, omit_defaults=True):
    """An error, as RFC 9457 problem details."""

    type: Annotated[str, doc("Type of the problem, a URI.", "about:blank")]
    title: Annotated[str, doc("Short name of the problem.", "Not Found")]
    status: Annotated[int, doc("HTTP status.", 404)]
    detail: Annotated[
        str, doc("Cause of the problem, and its remedy.", "There is no symbol ACME; GET /symbols lists the known ones.")
    ]
    errors: Annotated[list[ParameterProblem] | None, doc("The wrong parameters or fields.")] = None
    request_id: Annotated[
        str | None, doc("Id of the request, as in the header `X-Request-ID` and in the service's log.", "5b1c9e720000002a")
    ] = None
