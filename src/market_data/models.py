"""The structs of the service: what the database answers is what the client reads.

They are the OpenAPI document's schemas, and what is encoded where the service writes an answer itself. Rows that come in
numbers (`LatestPrice`, `Trade`, `Candle`) are written as JSON by the database, in the order of the fields here; tests hold
the two together. Numbers are ``float`` to clients and exact in the database. Times are in UTC and print as RFC 3339 with a
``Z``.
"""

from datetime import datetime
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

SERVICE: Final = "market-data-platform"

SymbolName = Annotated[str, Meta(description="The symbol, in upper case.", examples=["AAPL"])]
Timestamp = Annotated[datetime, Meta(description="When the trade happened.", examples=["2026-02-08T10:30:00Z"])]
Price = Annotated[float, Meta(description="Price of one unit.", examples=[189.44])]
Volume = Annotated[float, Meta(description="Units traded.", examples=[104.9])]
TradeId = Annotated[
    int,
    Meta(
        description="Tells apart the trades of one symbol in one instant; 0 where the source has no such number.",
        examples=[0],
    ),
]
IntervalName = Annotated[str, Meta(description="Length of a bucket.", examples=["1m"])]
FilledPrice = Annotated[
    float | None,
    Meta(
        description=(
            "As of a candle. Where `filled`: the close of the last candle before, null where there is none or with "
            "`fill=null`."
        ),
        examples=[189.44],
    ),
]
Count = Annotated[int, Meta(description="Number of rows in this answer.", examples=[1])]
RangeStart = Annotated[datetime, Meta(description="Start of the range, inclusive.", examples=["2026-02-08T10:00:00Z"])]
RangeEnd = Annotated[datetime, Meta(description="End of the range, exclusive.", examples=["2026-02-08T11:00:00Z"])]
NextPageToken = Annotated[
    str | None,
    Meta(description="Give it as `page_token`, with the same parameters, to read on; null where the answer is complete."),
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
    """A symbol that can be asked for."""

    symbol: SymbolName
    name: Annotated[str, Meta(description="What the symbol stands for.", examples=["Apple Inc."])]
    created_at: Annotated[datetime, Meta(description="When it was added.", examples=["2026-02-08T10:00:00Z"])]
    active: Annotated[bool, Meta(description="Whether new trades of it are taken.", examples=[True])]


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
    """The trades of a symbol in a range, by time, then `trade_id`, newest first unless told otherwise."""

    symbol: SymbolName
    start: RangeStart
    end: RangeEnd
    limit: Annotated[int, Meta(description="The limit that was applied.", examples=[100])]
    count: Count
    trades: Annotated[list[Trade], Meta(description="The trades.")]
    next_page_token: NextPageToken


class Candle(Struct, frozen=True):
    """Open, high, low, close and volume of the trades in one bucket."""

    timestamp: Annotated[
        datetime,
        Meta(
            description="Start of the bucket.",
            examples=["2026-02-08T10:30:00Z"],
        ),
    ]
    open: Annotated[float, Meta(description="Price of the first trade.", examples=[189.2])]
    high: Annotated[float, Meta(description="Highest price.", examples=[189.61])]
    low: Annotated[float, Meta(description="Lowest price.", examples=[189.13])]
    close: Annotated[float, Meta(description="Price of the last trade.", examples=[189.44])]
    volume: Annotated[float, Meta(description="Units traded.", examples=[2098.31])]
    vwap: Annotated[
        float | None,
        Meta(
            description="Volume-weighted average price; null where the volume is 0.",
            examples=[189.3552],
        ),
    ]
    trade_count: Annotated[int, Meta(description="Number of trades.", examples=[20])]
    closed: Annotated[
        bool, Meta(description="Whether the bucket has ended; only late trades change its candle then.", examples=[True])
    ]


class CandleList(Struct, frozen=True):
    """The candles of a symbol whose buckets start in a range, oldest first unless told otherwise, the open one included."""

    symbol: SymbolName
    interval: IntervalName
    start: RangeStart
    end: RangeEnd
    count: Count
    candles: Annotated[list[Candle], Meta(description="The candles.")]
    next_page_token: NextPageToken


class FilledCandle(Struct, frozen=True):
    """A candle of an answer that has one for each bucket, also where nothing was traded."""

    timestamp: Annotated[datetime, Meta(description="Start of the bucket.", examples=["2026-02-08T10:30:00Z"])]
    open: FilledPrice
    high: FilledPrice
    low: FilledPrice
    close: FilledPrice
    volume: Annotated[float, Meta(description="Units traded.", examples=[0])]
    vwap: Annotated[
        float | None,
        Meta(description="Volume-weighted average price; null where the volume is 0.", examples=[189.3552]),
    ]
    trade_count: Annotated[int, Meta(description="Number of trades.", examples=[0])]
    closed: Annotated[bool, Meta(description="Whether the bucket has ended.", examples=[True])]
    filled: Annotated[bool, Meta(description="Whether nothing was traded in the bucket.", examples=[True])]


class FilledCandleList(Struct, frozen=True):
    """The same with `fill`: a candle for each bucket that starts in the range and has begun."""

    symbol: SymbolName
    interval: IntervalName
    start: RangeStart
    end: RangeEnd
    count: Count
    candles: Annotated[list[FilledCandle], Meta(description="The candles.")]
    next_page_token: NextPageToken


class Health(Struct, frozen=True):
    """Whether the service can answer, and from what data."""

    status: Annotated[Literal["healthy", "unhealthy"], Meta(description="Of the service.", examples=["healthy"])]
    service: Annotated[Literal["market-data-platform"], Meta(description="The service's name.", examples=[SERVICE])]
    database: Annotated[Literal["healthy", "unhealthy"], Meta(description="Of the database.", examples=["healthy"])]
    timestamp: Annotated[datetime, Meta(description="When this was found.", examples=["2026-02-08T10:30:00Z"])]
    last_trade_count: Annotated[
        int | None,
        Meta(
            description="Number of stored trades; null while unhealthy.",
            examples=[4215],
        ),
    ]
    last_ingestion: Annotated[
        datetime | None,
        Meta(
            description="Time of the newest trade; null while there is none or while unhealthy.",
            examples=["2026-02-08T10:29:58.500000Z"],
        ),
    ]


class Liveness(Struct, frozen=True):
    """That the process answers. Nothing is asked of the database."""

    status: Annotated[Literal["alive"], Meta(description="Of the process.", examples=["alive"])]


class ReadinessChecks(Struct, frozen=True):
    """What this process needs to serve."""

    schema: Annotated[
        Literal["ok", "outdated", "unknown"],
        Meta(
            description="`outdated` while the schema is older than this version needs; `unknown` without an answer.",
            examples=["ok"],
        ),
    ]
    pool: Annotated[
        Literal["ok", "unavailable"], Meta(description="Whether a connection can be had and answers.", examples=["ok"])
    ]
    feed: Annotated[
        Literal["starting", "feeding", "waiting", "lost", "refused", "failed", "dead", "disabled"],
        Meta(
            description=(
                "What the feed is at: `waiting` while another process feeds; trying again after it `lost` the database, was "
                "`refused` or `failed`; only `dead` makes the service unready."
            ),
            examples=["feeding"],
        ),
    ]


class Readiness(Struct, frozen=True):
    """Whether requests may be sent here."""

    status: Annotated[Literal["ready", "unready"], Meta(description="Of this process.", examples=["ready"])]
    checks: Annotated[ReadinessChecks, Meta(description="What was looked at.")]


class LevelStatus(Struct, frozen=True):
    """How far the candles of an interval are materialized; later ones are computed when they are read."""

    interval: IntervalName
    watermark: Annotated[
        datetime | None,
        Meta(description="Up to where; null where nothing is materialized yet.", examples=["2026-02-08T10:29:00Z"]),
    ]
    lag_seconds: Annotated[
        float | None, Meta(description="How far that is behind the newest trade; null likewise.", examples=[58.5])
    ]


class JobStatus(Struct, frozen=True):
    """A job of the database that keeps the candles, the storage or the stream."""

    job: Annotated[str, Meta(description="The procedure that it calls.", examples=["refresh_candles"])]
    table: Annotated[str | None, Meta(description="The table that it works on, where it is one.", examples=["candles_5m"])]
    last_run: Annotated[
        datetime | None,
        Meta(description="When it last began; null before its first time.", examples=["2026-02-08T10:30:00Z"]),
    ]
    last_status: Annotated[str | None, Meta(description="How that went: `Success` or `Failed`.", examples=["Success"])]
    next_run: Annotated[
        datetime | None,
        Meta(description="When it is to begin next; null while it is paused.", examples=["2026-02-08T10:30:05Z"]),
    ]


class IngestionStatus(Struct, frozen=True):
    """Whether trades arrive, who feeds, and how far the candles are."""

    ingestion_status: Annotated[
        Literal["alive", "stale", "disabled"],
        Meta(
            description=(
                "`alive` while the newest trade, whoever stored it, is younger than the threshold; else `disabled` where "
                "this service is not to feed and no other does, and `stale` where one should."
            ),
            examples=["alive"],
        ),
    ]
    last_trade: Annotated[
        datetime | None, Meta(description="Time of the newest trade.", examples=["2026-02-08T10:29:58.500000Z"])
    ]
    seconds_since_last_trade: Annotated[float | None, Meta(description="Its age.", examples=[1.5])]
    threshold_seconds: Annotated[float, Meta(description="Three intervals of ingestion.", examples=[9])]
    feeding_replica: Annotated[
        str | None,
        Meta(description="Host, process and a random part of who holds the feed's lease.", examples=["api-1:17:5b1c9e72"]),
    ]
    candles: Annotated[list[LevelStatus], Meta(description="By interval, the shortest first.")]
    jobs: Annotated[list[JobStatus], Meta(description="The jobs.")]


class Welcome(Struct, frozen=True):
    """What this service is and where to go from here."""

    service: Annotated[str, Meta(description="The service's name.", examples=[SERVICE])]
    version: Annotated[str, Meta(description="The service's version.", examples=["0.1.0"])]
    links: Annotated[dict[str, str], Meta(description="The paths of the service.", examples=[{"docs": "/docs"}])]


class ParameterProblem(Struct, frozen=True):
    """What is wrong with one parameter or field, and the remedy."""

    name: Annotated[str, Meta(description="The parameter, or the field of the body.", examples=["limit"])]
    detail: Annotated[
        str,
        Meta(
            description="What is wrong with it and what it takes.",
            examples=["must be a whole number from 1 to 1000, not '0'"],
        ),
    ]


class Problem(Struct, frozen=True, omit_defaults=True):
    """An error, as RFC 9457 problem details."""

    type: Annotated[str, Meta(description="The kind of problem, a URI.", examples=["about:blank"])]
    title: Annotated[str, Meta(description="The kind of problem in words.", examples=["Not Found"])]
    status: Annotated[int, Meta(description="The HTTP status.", examples=[404])]
    detail: Annotated[
        str,
        Meta(
            description="What happened and what to do about it.",
            examples=["No symbol 'ACME'; GET /symbols lists the known ones."],
        ),
    ]
    errors: Annotated[list[ParameterProblem] | None, Meta(description="The parameters or fields at fault.")] = None
    request_id: Annotated[
        str | None,
        Meta(
            description="The request, as in the header `X-Request-ID` and in the service's log.",
            examples=["5b1c9e720000002a"],
        ),
    ] = None
