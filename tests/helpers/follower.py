"""A client that keeps a copy of the market, as the HTTP interface describes it (Keeping a copy).

It reads everything once over HTTP, after its stream is open, and then knows only what events tell it; it reads again after a
`gap`, and the range of a `reload`. `read_market` is the same from the API, so that the two can be compared.
"""

import json
import random
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Literal, NamedTuple

import httpx
from helpers.candle_scenarios import INTERVALS, bucket_start
from helpers.sse_client import Event, Events
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

Fields = dict[str, Any]

EVER = (datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))
CANDLE_VALUES = ("open", "high", "low", "close", "volume", "vwap", "trade_count")
CHANNELS = ",".join(["trades", *(f"candles_{interval}" for interval in INTERVALS)])


class TradeKey(NamedTuple):
    symbol: str
    time: datetime
    trade_id: int


class CandleKey(NamedTuple):
    symbol: str
    interval: str
    start: datetime


class Price(NamedTuple):
    """A latest price. Those of the API and of `latest` have no `trade_id`."""

    time: datetime
    price: float
    volume: float


@dataclass
class Market:
    """Trades, candles of all intervals, and latest prices."""

    trades: dict[TradeKey, tuple[float, float]] = field(default_factory=dict[TradeKey, tuple[float, float]])
    """Price and volume."""
    candles: dict[CandleKey, tuple[Any, ...]] = field(default_factory=dict[CandleKey, tuple[Any, ...]])
    """`CANDLE_VALUES`."""
    prices: dict[str, Price] = field(default_factory=dict[str, Price])

    def differences(self, other: "Market") -> list[str]:
        """Return the differences between two markets."""
        return [
            f"{name} {key}: {mine.get(key)} here, {theirs.get(key)} there"
            for name, mine, theirs in [
                ("trade", self.trades, other.trades),
                ("candle", self.candles, other.candles),
                ("price", self.prices, other.prices),
            ]
            for key in sorted(mine.keys() | theirs.keys(), key=str)
            if mine.get(key) != theirs.get(key)
        ]


def read_market(api: httpx.Client) -> Market:
    """Return everything that the API has."""
    market = Market(prices=_read_prices(api))
    for symbol in _answer(api, "/symbols")["symbols"]:
        _read_range(api, market, symbol["symbol"], *EVER)
    return market


def _answer(api: httpx.Client, path: str, parameters: Fields | None = None) -> Fields:
    return api.get(path, params=parameters).raise_for_status().json()


def _pages(api: httpx.Client, path: str, parameters: Fields, name: str) -> Iterator[Fields]:
    page = _answer(api, path, parameters)
    yield from page[name]
    while token := page["next_page_token"]:
        page = _answer(api, path, parameters | {"page_token": token})
        yield from page[name]


def _read_prices(api: httpx.Client, **parameters: str) -> dict[str, Price]:
    return {price["symbol"]: _price(price) for price in _answer(api, "/prices/latest", parameters)["prices"]}


def _read_range(api: httpx.Client, market: Market, symbol: str, start: datetime, end: datetime) -> None:
    """Add the trades of a range, and all candles that touch it."""
    parameters = {"symbol": symbol, "start": start.isoformat(), "end": end.isoformat(), "limit": 1000}
    for trade in _pages(api, "/trades", parameters, "trades"):
        market.trades[_trade_key(trade)] = (trade["price"], trade["volume"])
    for interval in INTERVALS:
        parameters |= {"interval": interval, "start": bucket_start(interval, start).isoformat(), "limit": 10_000}
        for candle in _pages(api, "/candles", parameters, "candles"):
            market.candles[_candle_key(candle | {"symbol": symbol, "interval": interval})] = _values(candle)


def _time(data: Fields, name: str = "timestamp") -> datetime:
    return datetime.fromisoformat(data[name])


def _price(data: Fields) -> Price:
    return Price(_time(data), data["price"], data["volume"])


def _trade_key(data: Fields) -> TradeKey:
    return TradeKey(data["symbol"], _time(data), data["trade_id"])


def _candle_key(data: Fields) -> CandleKey:
    return CandleKey(data["symbol"], data["interval"], _time(data))


def _values(candle: Fields) -> tuple[Any, ...]:
    return tuple(candle[name] for name in CANDLE_VALUES)


class Copy:
    """The market as the events of a stream tell it."""

    def __init__(self, api: httpx.Client) -> None:
        self.market = Market()
        self.unsettled: set[CandleKey] = set()
        """Candles whose last event said `settled: false`."""
        self.open: set[CandleKey] = set()
        """Candles whose last event said `closed: false`."""
        self._api = api
        self._ids: dict[tuple[str, datetime], set[int]] = {}
        """Ids of the trades of a symbol at an instant."""

    def read_all(self) -> None:
        """Replace everything by what the API has."""
        self.market = read_market(self._api)
        self._index()
        self.unsettled.clear()
        self.open.clear()

    def _index(self) -> None:
        self._ids.clear()
        for key in self.market.trades:
            self._ids.setdefault(key[:2], set()).add(key.trade_id)

    def apply(self, name: str, data: Fields) -> None:
        """Apply an event."""
        match name:
            case "trade":
                self._apply_trade(data)
            case "candle":
                self._apply_candle(data)
            case "reload":
                self._reload(data["symbol"], _time(data, "start"), _time(data, "end"))
            case "gap":
                self.read_all()
            case _:
                pass

    def _apply_trade(self, data: Fields) -> None:
        key, prices = _trade_key(data), self.market.prices
        if data.get("change") == "cancelled":
            self.market.trades.pop(key, None)
            self._ids.get(key[:2], set()).discard(key.trade_id)
        else:
            self.market.trades[key] = (data["price"], data["volume"])
            self._ids.setdefault(key[:2], set()).add(key.trade_id)
        if "change" not in data:
            if key.symbol not in prices or self._is_later(key, prices[key.symbol]):
                prices[key.symbol] = _price(data)
        elif data["latest"] is None:
            prices.pop(key.symbol, None)
        else:
            prices[key.symbol] = _price(data["latest"])

    def _is_later(self, key: TradeKey, known: Price) -> bool:
        if key.time != known.time:
            return key.time > known.time
        return key.trade_id == max(self._ids[key[:2]])

    def _apply_candle(self, data: Fields) -> None:
        key = _candle_key(data)
        self.unsettled.discard(key)
        self.open.discard(key)
        if data.get("removed"):
            self.market.candles.pop(key, None)
            return
        self.market.candles[key] = _values(data)
        if not data.get("settled", True):
            self.unsettled.add(key)
        if not data["closed"]:
            self.open.add(key)

    def _reload(self, symbol: str, start: datetime, end: datetime) -> None:
        market = self.market
        for key in [key for key in market.trades if key.symbol == symbol and start <= key.time < end]:
            del market.trades[key]
        for candle in [key for key in market.candles if key.symbol == symbol and _touches(key, start, end)]:
            del market.candles[candle]
            self.unsettled.discard(candle)
            self.open.discard(candle)
        _read_range(self._api, market, symbol, start, end)
        self._index()
        market.prices.pop(symbol, None)
        market.prices |= _read_prices(self._api, symbols=symbol)


def _touches(key: CandleKey, start: datetime, end: datetime) -> bool:
    return key.start < end and key.start + INTERVALS[key.interval] > start


Transport = Literal["sse", "websocket"]


def sse_events(address: str, last_id: str) -> Generator[Event]:
    """Yield the events of `/stream` after an id, of all channels."""
    headers = {"Last-Event-ID": last_id} if last_id else {}
    with httpx.stream("GET", f"{address}/stream", params={"channels": CHANNELS}, headers=headers, timeout=25) as response:
        response.raise_for_status()
        yield from Events(response)


def websocket_events(address: str, last_id: str) -> Generator[Event]:
    """Yield the events of `/ws` after an id, of all channels."""
    parameters = {"channels": CHANNELS} | ({"last_event_id": last_id} if last_id else {})
    url = httpx.URL(f"{address.replace('http', 'ws', 1)}/ws", params=parameters)
    with connect(str(url), close_timeout=0.1) as client:  # unread messages would delay the answer to its close
        while True:
            message = json.loads(client.recv(timeout=25))
            yield Event(message.get("id", last_id), message["event"], message["data"])


class Follower:
    """A thread that keeps a `Copy`, and reconnects with the id of its last event whenever its stream ends.

    With `drops`, it also drops the connection itself, after 1 to 60 events, and stays away for up to half a second.
    """

    def __init__(self, address: Callable[[], str], transport: Transport = "sse", drops: random.Random | None = None) -> None:
        self._address = address
        self._open = sse_events if transport == "sse" else websocket_events
        self._drops = drops
        self._stopping = threading.Event()
        self.last_id = ""
        self.connections = 0
        self.failures: list[Exception] = []
        """Errors that ended a connection."""
        self._api = httpx.Client(timeout=30)
        self.copy = Copy(self._api)
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    @property
    def position(self) -> tuple[int, ...]:
        """Id up to which it has all events; empty before the first."""
        return tuple(map(int, self.last_id.split("-"))) if self.last_id else ()

    def _follow(self) -> None:
        while not self._stopping.is_set():
            try:
                with closing(self._open(self._address(), self.last_id)) as events:
                    self._apply(events)
            except (httpx.HTTPError, WebSocketException, OSError) as error:
                self.failures.append(error)
            self._stopping.wait(self._drops.random() / 2 if self._drops else 0.1)

    def _apply(self, events: Iterator[Event]) -> None:
        self.connections += 1
        lifetime = self._drops.choice([1, 20, 60]) if self._drops else None
        for event in islice(events, lifetime):
            self._api.base_url = self._address()
            if not self.last_id:
                self.copy.read_all()
            self.copy.apply(event.name, event.data)
            self.last_id = event.id
            if self._stopping.is_set():
                return

    def end(self) -> None:
        """End after the next event."""
        self._stopping.set()
        self._thread.join()
        self._api.close()
