"""Bodies of snapshots."""

from typing import Annotated

from msgspec import UNSET, Raw, Struct, UnsetType, field

from market_data.models import doc


class SnapshotBar(Struct, frozen=True, omit_defaults=True):
    """A bar."""

    o: Raw
    h: Raw
    l: Raw  # noqa: E741 - the name of the protocol
    c: Raw
    v: Raw
    n: int
    t: Annotated[int, doc("Start, in Unix milliseconds.", 1770546600000)]
    vw: float | UnsetType = UNSET
    av: Annotated[Raw, doc("Volume of the day; only of the minute.", 1250.5)] | UnsetType = UNSET


class SnapshotTrade(Struct, frozen=True):
    """The latest trade."""

    p: Raw
    s: Raw
    t: Annotated[int, doc("Time, in Unix nanoseconds.", 1770546600123456000)]
    x: int = 0
    c: list[int] = field(default_factory=list[int])


class TickerSnapshot(Struct, frozen=True, rename="camel"):
    """Figures of a symbol. Missing ones are left out."""

    ticker: Annotated[str, doc("Symbol.", "AAPL")]
    updated: Annotated[int, doc("Time of the latest trade, in Unix nanoseconds.", 1770546600123456000)]
    last_trade: SnapshotTrade
    day: SnapshotBar | UnsetType
    prev_day: SnapshotBar | UnsetType
    min: SnapshotBar | UnsetType
    todays_change: Annotated[Raw, doc("Change of the price since the close before the day.", 1.04)] | UnsetType
    todays_change_perc: float | UnsetType


class TickerSnapshots(Struct, frozen=True):
    """Snapshots of symbols."""

    status: str
    request_id: str
    count: int
    tickers: list[TickerSnapshot]


class OneTickerSnapshot(Struct, frozen=True):
    """Snapshot of one symbol."""

    status: str
    request_id: str
    ticker: TickerSnapshot


class Session(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Figures of the day."""

    price: Raw
    close: Raw
    open: Raw | UnsetType = UNSET
    high: Raw | UnsetType = UNSET
    low: Raw | UnsetType = UNSET
    volume: Raw | UnsetType = UNSET
    previous_close: Raw | UnsetType = UNSET
    change: Raw | UnsetType = UNSET
    change_percent: float | UnsetType = UNSET


class UniversalTrade(Struct, frozen=True):
    """The latest trade."""

    price: Raw
    size: Raw
    sip_timestamp: int
    last_updated: int
    timeframe: str = "REAL-TIME"


class UniversalMinute(Struct, frozen=True, omit_defaults=True):
    """The bar of the minute of the latest trade."""

    open: Raw
    high: Raw
    low: Raw
    close: Raw
    volume: Raw
    transactions: int
    last_updated: int
    vwap: float | UnsetType = UNSET


class UniversalSnapshot(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Figures of a symbol, or an error."""

    ticker: str
    name: str | UnsetType = UNSET
    type: str | UnsetType = UNSET
    market_status: str | UnsetType = UNSET
    session: Session | UnsetType = UNSET
    last_trade: UniversalTrade | UnsetType = UNSET
    last_minute: UniversalMinute | UnsetType = UNSET
    error: str | UnsetType = UNSET
    message: str | UnsetType = UNSET


class UniversalSnapshots(Struct, frozen=True):
    """Snapshots of symbols."""

    status: str
    request_id: str
    count: int
    results: list[UniversalSnapshot]
    next_url: str | UnsetType = UNSET
