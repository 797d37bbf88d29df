"""The options of a replay, and the messages in which its events are sent."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

import msgspec
from msgspec import Raw, Struct

from market_data.api.compat.events import CandleData, CandleEvent, TradeEvent, decode_event
from market_data.api.compat.parameters import bad_parameter, known_form
from market_data.api.http.parameter_types import MAX_SYMBOLS, read_time
from market_data.errors import BadParameters
from market_data.models import ParameterProblem
from market_data.queries.intervals import INTERVALS
from market_data.streaming.subscriptions import Subscription, union
from market_data.trade_validation import shown

TRADE: Final = "trade"
BAR: Final = "trade_bar_"

UNITS: Final[Mapping[str, timedelta]] = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
LENGTHS: Final = {length: interval for interval, length in INTERVALS.items()}

MAX_OPTIONS: Final = 100
MAX_DIGITS: Final = 10


class Options(Struct, rename="camel"):
    """Requested data of one exchange. The name of the exchange is only repeated: there is one market."""

    exchange: str
    from_: str = msgspec.field(name="from")
    to: str = msgspec.field(name="to")
    symbols: list[str] | None = None
    data_types: list[str] = []
    with_disconnect_messages: bool = False


class Wanted(NamedTuple):
    """Data types of some symbols, as one of the options asks for them."""

    exchange: str
    subscription: Subscription
    bars: Mapping[str, str]
    """Names of the bars by interval, as the client wrote them."""


class ReplayOptions(NamedTuple):
    """The options of a request."""

    start: datetime
    end: datetime
    wanted: Sequence[Wanted]

    @property
    def subscription(self) -> Subscription:
        """Channels and symbols of all options together."""
        return union([each.subscription for each in self.wanted])

    def renamed(self, rename: Callable[[str], str]) -> "ReplayOptions":
        """Return the options with other names of their symbols."""
        return self._replace(wanted=[each._replace(subscription=each.subscription.renamed(rename)) for each in self.wanted])


_decode: Final[Callable[[str], list[Options] | Options]] = msgspec.json.Decoder(list[Options] | Options).decode


def read_options(query_string: bytes) -> ReplayOptions:
    """Return the options of a request: an object or an array, all of whose entries have the same range.

    Raises:
        BadParameters: They are missing or wrong.
    """
    text = dict(parse_qsl(query_string.decode("latin-1"))).get("options", "")
    try:
        given = _decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        detail = f"must be an array of objects with exchange, from, to and dataTypes: {error}"
        raise bad_parameter("options", detail) from None
    options = [given] if isinstance(given, Options) else given
    if not 0 < len(options) <= MAX_OPTIONS:
        raise bad_parameter("options", f"must have 1 to {MAX_OPTIONS} entries, not {len(options)}")
    ranges = {(each.from_, each.to) for each in options}
    if len(ranges) > 1:
        raise bad_parameter("options", "have different ranges; ask for them in several replays")
    start, end = (_time(name, text) for name, text in zip(("from", "to"), ranges.pop(), strict=True))
    now = datetime.now(UTC)
    if start >= now:
        raise bad_parameter("from", "is in the future")
    if start >= end:
        raise bad_parameter("from", "must be before to, which is exclusive")
    return ReplayOptions(start, min(end, now), [_wanted(each) for each in options])


def _time(name: str, text: str) -> datetime:
    """Return a date or a time, which is in UTC unless it has a zone."""
    try:
        has_zone = len(text) <= len("2026-02-08") or text[-1:] in "zZ" or "+" in text or text[-6:-5] == "-"
        return read_time(text if has_zone else f"{text}Z")
    except ValueError as error:
        raise bad_parameter(name, str(error)) from None


def _wanted(options: Options) -> Wanted:
    symbols = None if not options.symbols else [known_form(text) for text in options.symbols]
    if symbols is not None and (None in symbols or len(symbols) > MAX_SYMBOLS):
        raise bad_parameter("symbols", f"must be at most {MAX_SYMBOLS:,} symbols such as AAPL")
    bars: dict[str, str] = {}
    channels: list[str] = []
    for data_type in options.data_types:
        if data_type == TRADE:
            channels.append("trades")
        else:
            interval = _interval(data_type)
            bars[interval] = data_type
            channels.append(f"candles_{interval}")
    if not channels:
        raise BadParameters([ParameterProblem("dataTypes", f"is required; it has {_known_types()}")])
    names = None if symbols is None else frozenset(symbol for symbol in symbols if symbol)
    return Wanted(options.exchange, Subscription.to(channels, names), bars)


def _interval(data_type: str) -> str:
    """Return the stored interval of a type of bars, such as `trade_bar_1m` or `trade_bar_60s`.

    Raises:
        BadParameters: There is none.
    """
    text = data_type.removeprefix(BAR)
    digits = text.rstrip("mshd")
    unit = UNITS.get(text[len(digits) :])
    is_number = digits.isascii() and digits.isdigit() and len(digits) < MAX_DIGITS
    length = int(digits) * unit if unit and is_number and data_type.startswith(BAR) else None
    interval = LENGTHS.get(length) if length else None
    if interval:
        return interval
    raise bad_parameter("dataTypes", f"has {_known_types()}, not {shown(data_type)}")


def _known_types() -> str:
    return ", ".join([TRADE, *(f"{BAR}{interval}" for interval in INTERVALS if interval[-1] in UNITS)])


def messages_of(event: bytes, wanted: Sequence[Wanted]) -> Iterator[bytes]:
    """Yield the messages of an event of the replay: one for each of the options that asks for it.

    A bar is sent once it has ended.
    """
    decoded = decode_event(event)
    for each in wanted:
        match decoded:
            case TradeEvent(data) if each.subscription.includes("trades", data.symbol):
                fields = data.symbol, each.exchange, str(data.trade_id), data.price, data.volume, data.timestamp
                yield _encode(TradeMessage(*fields, data.timestamp))
            case CandleEvent(data) if (
                data.closed
                and not data.removed
                and data.interval in each.bars
                and each.subscription.includes(f"candles_{data.interval}", data.symbol)
            ):
                yield _bar(data, each.exchange, each.bars[data.interval])
            case _:
                pass


def _bar(data: CandleData, exchange: str, name: str) -> bytes:
    length = INTERVALS[data.interval]
    end = data.timestamp + length
    figures = data.open, data.high, data.low, data.close, data.volume, data.trade_count
    vwap = data.close if data.vwap is None else data.vwap
    return _encode(
        BarMessage(
            data.symbol,
            exchange,
            name,
            length // timedelta(milliseconds=1),
            *figures,
            vwap,
            open_timestamp=data.timestamp,
            close_timestamp=end,
            timestamp=end,
            local_timestamp=end,
        )
    )


class TradeMessage(Struct, rename="camel", tag_field="type", tag="trade"):
    """A trade, whose side is unknown."""

    symbol: str
    exchange: str
    id: str
    price: Raw
    amount: Raw
    timestamp: datetime
    local_timestamp: datetime
    """Time of the trade, too: a replay in the order of times has no arrivals."""
    side: str = "unknown"


class BarMessage(Struct, rename="camel", tag_field="type", tag="trade_bar"):
    """A bar. The times of its first and last trade are taken for those of its bucket; sides are unknown."""

    symbol: str
    exchange: str
    name: str
    interval: int
    open: Raw
    high: Raw
    low: Raw
    close: Raw
    volume: Raw
    trades: int
    vwap: Raw | float
    open_timestamp: datetime
    close_timestamp: datetime
    timestamp: datetime
    local_timestamp: datetime
    buy_volume: float = 0
    sell_volume: float = 0
    kind: str = "time"


_encode: Final = msgspec.json.Encoder().encode
