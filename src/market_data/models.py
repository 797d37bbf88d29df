"""Structs of the market data: the rows of the database as clients read them, and the schemas of the OpenAPI document.

The database formats the JSON of `Trade`, `Candle` and `FilledCandle`, in the order of the fields here; tests compare the
two. Numbers are `float` to clients, and exact decimals in the database and in JSON. Times are in UTC.
"""

from datetime import datetime
from typing import Annotated, Final

from msgspec import Meta, Struct

SERVICE: Final = "market-data-platform"

SymbolName = Annotated[str, Meta(description="Symbol, in upper case.", examples=["AAPL"])]
Timestamp = Annotated[datetime, Meta(description="Time of the trade.", examples=["2026-02-08T10:30:00Z"])]
BucketStart = Annotated[datetime, Meta(description="Start of the bucket.", examples=["2026-02-08T10:30:00Z"])]
Price = Annotated[float, Meta(description="Price of one unit.", examples=[189.44])]
Volume = Annotated[float, Meta(description="Units traded.", examples=[104.9])]
TradeId = Annotated[
    int,
    Meta(
        description="Distinguishes trades of one symbol at one time; 0 if the source has no such number.",
        examples=[0],
    ),
]
IntervalName = Annotated[str, Meta(description="Length of a bucket.", examples=["1m"])]
Vwap = Annotated[
    float | None, Meta(description="Volume-weighted average price; null if the volume is 0.", examples=[189.3552])
]
FilledPrice = Annotated[
    float | None,
    Meta(
        description=(
            "As in a candle. If `filled`: the close of the last candle before it, null if there is none or with `fill=null`."
        ),
        examples=[189.44],
    ),
]
Closed = Annotated[
    bool,
    Meta(description="True if the bucket has ended; only late, corrected or cancelled trades change it.", examples=[True]),
]
Count = Annotated[int, Meta(description="Number of rows in this response.", examples=[1])]
RangeStart = Annotated[datetime, Meta(description="Start of the range, inclusive.", examples=["2026-02-08T10:00:00Z"])]
RangeEnd = Annotated[datetime, Meta(description="End of the range, exclusive.", examples=["2026-02-08T11:00:00Z"])]
NextPageToken = Annotated[
    str | None,
    Meta(description="Send it as `page_token`, with the same parameters, for the next page; null on the last page."),
]


class LatestPrice(Struct, frozen=True):
    """The newest trade of a symbol."""

    symbol: SymbolName
    price: Price
    volume: Volume
    timestamp: Timestamp


class PriceList(Struct, frozen=True):
    """The newest trade of each symbol that has one, in alphabetical order."""

    prices: Annotated[list[LatestPrice], Meta(description="The newest trades.")]
    count: Count


class Symbol(Struct, frozen=True):
    """A known symbol."""

    symbol: SymbolName
    name: Annotated[str, Meta(description="Full name of the symbol.", examples=["Apple Inc."])]
    created_at: Annotated[datetime, Meta(description="Time at which it was added.", examples=["2026-02-08T10:00:00Z"])]
    active: Annotated[bool, Meta(description="False if new trades of the symbol are refused.", examples=[True])]


class SymbolList(Struct, frozen=True):
    """Every symbol, in alphabetical order."""

    symbols: Annotated[list[Symbol], Meta(description="The symbols.")]
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
    limit: Annotated[int, Meta(description="The limit that was applied.", examples=[100])]
    count: Count
    trades: Annotated[list[Trade], Meta(description="The trades.")]
    next_page_token: NextPageToken


class Candle(Struct, frozen=True):
    """Open, high, low, close and volume of the trades in one bucket."""

    timestamp: BucketStart
    open: Annotated[float, Meta(description="Price of the first trade.", examples=[189.2])]
    high: Annotated[float, Meta(description="Highest price.", examples=[189.61])]
    low: Annotated[float, Meta(description="Lowest price.", examples=[189.13])]
    close: Annotated[float, Meta(description="Price of the last trade.", examples=[189.44])]
    volume: Annotated[float, Meta(description="Units traded.", examples=[2098.31])]
    vwap: Vwap
    trade_count: Annotated[int, Meta(description="Number of trades.", examples=[20])]
    closed: Closed


class CandleList(Struct, frozen=True):
    """The candles of a symbol whose buckets start in a range, oldest first by default, the open bucket included."""

    symbol: SymbolName
    interval: IntervalName
    start: RangeStart
    end: RangeEnd
    count: Count
    candles: Annotated[list[Candle], Meta(description="The candles.")]
    next_page_token: NextPageToken


class FilledCandle(Struct, frozen=True):
    """A candle of a response without gaps."""

    timestamp: BucketStart
    open: FilledPrice
    high: FilledPrice
    low: FilledPrice
    close: FilledPrice
    volume: Annotated[float, Meta(description="Units traded.", examples=[0])]
    vwap: Vwap
    trade_count: Annotated[int, Meta(description="Number of trades.", examples=[0])]
    closed: Closed
    filled: Annotated[bool, Meta(description="True if nothing was traded in the bucket.", examples=[True])]


class FilledCandleList(Struct, frozen=True):
    """The same with `fill`: a candle for each bucket that starts in the range and has begun."""

    symbol: SymbolName
    interval: IntervalName
    start: RangeStart
    end: RangeEnd
    count: Count
    candles: Annotated[list[FilledCandle], Meta(description="The candles.")]
    next_page_token: NextPageToken


class ParameterProblem(Struct, frozen=True):
    """A wrong parameter or field, and the remedy."""

    name: Annotated[str, Meta(description="Name of the parameter, or of the field of the body.", examples=["limit"])]
    detail: Annotated[
        str,
        Meta(
            description="What is wrong with it, and what it accepts.",
            examples=["must be a whole number from 1 to 1000, not '0'"],
        ),
    ]


class Problem(Struct, frozen=True, omit_defaults=True):
    """An error, as RFC 9457 problem details."""

    type: Annotated[str, Meta(description="Type of the problem, a URI.", examples=["about:blank"])]
    title: Annotated[str, Meta(description="Short name of the problem.", examples=["Not Found"])]
    status: Annotated[int, Meta(description="HTTP status.", examples=[404])]
    detail: Annotated[
        str,
        Meta(
            description="Cause of the problem, and its remedy.",
            examples=["There is no symbol ACME; GET /symbols lists the known ones."],
        ),
    ]
    errors: Annotated[list[ParameterProblem] | None, Meta(description="The wrong parameters or fields.")] = None
    request_id: Annotated[
        str | None,
        Meta(
            description="Id of the request, as in the header `X-Request-ID` and in the service's log.",
            examples=["5b1c9e720000002a"],
        ),
    ] = None
