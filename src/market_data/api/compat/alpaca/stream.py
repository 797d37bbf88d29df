"""`/alpaca/stream`: the stream of trades and bars, as JSON text or as msgpack."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, Final

import msgspec
from litestar import WebSocket, websocket
from litestar.params import PathParameter
from msgspec import Struct, field

from market_data.api.compat.alpaca.messages import (
    MINUTE,
    Correction,
    Translation,
    correction,
    encode,
    first_bar,
    frame_of,
    frames_of,
    translate,
)
from market_data.api.compat.events import TradeData
from market_data.api.compat.names import key_of
from market_data.api.compat.parameters import known_form
from market_data.api.compat.streams import Conversation, Frame, StreamEnded, serve
from market_data.errors import Forbidden, MarketDataError, TooManyRequests, Unauthorized
from market_data.models_writes import TradeValues
from market_data.queries.row_pages import digits_of
from market_data.queries.trade_changes import read_changes_of_range
from market_data.services import services_of
from market_data.streaming.clients import TOO_SLOW
from market_data.streaming.disconnections import KEY_ENDED, STOPPING
from market_data.streaming.subscriptions import Subscription, Symbols
from market_data.trade_validation import MICROSECOND, shown

MSGPACK: Final = "application/msgpack"

MAX_SYMBOLS: Final = 10_000
"""Symbols of all channels together that a client may subscribe to."""

MAX_CHANGES: Final = 1000
"""Changes of trades of one instant among which a correction is looked for."""

CLOSING: Final = timedelta(seconds=10)
"""Time after the end of a minute within which its bar is sent, also if the first event of its end is a change."""

ALL: Final = "*"

CHANNELS: Final = ("trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses", "lulds")


class StreamError(MarketDataError):
    """An error with a code of the protocol."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class ClientMessage(Struct, rename="camel"):
    """A message of the client."""

    action: str
    key: str = ""
    secret: str = ""
    trades: list[str] = field(default_factory=list[str])
    quotes: list[str] = field(default_factory=list[str])
    bars: list[str] = field(default_factory=list[str])
    updated_bars: list[str] = field(default_factory=list[str])
    daily_bars: list[str] = field(default_factory=list[str])
    statuses: list[str] = field(default_factory=list[str])
    lulds: list[str] = field(default_factory=list[str])

    @property
    def channels(self) -> dict[str, list[str]]:
        """Symbols by channel."""
        lists = self.trades, self.quotes, self.bars, self.updated_bars, self.daily_bars, self.statuses, self.lulds
        return dict(zip(CHANNELS, lists, strict=True))


_from_json: Final = msgspec.json.Decoder(ClientMessage).decode
_from_msgpack: Final = msgspec.msgpack.Decoder(ClientMessage).decode


class AlpacaStream(Conversation):
    """One client of the stream."""

    tick_seconds: ClassVar[float | None] = 60.0
    """Time between two bars of a symbol's day."""

    def __init__(self, socket: WebSocket[Any, Any, Any]) -> None:
        super().__init__(socket)
        self._packed = MSGPACK in socket.headers.get("content-type", "")
        self._has_sent_key = False
        self._channels: dict[str, set[str]] = {channel: set() for channel in CHANNELS}
        self._last_bars: dict[str, datetime] = {}
        """Start of the newest minute that was sent, by symbol."""
        self._days: dict[tuple[str, datetime], bytes] = {}
        """Changed bars of days, by symbol and start."""

    def greet(self) -> Sequence[Frame]:
        """Return the messages that begin the conversation; the second one if the handshake brought a key."""
        frames = self._control({"T": "success", "msg": "connected"})
        return [*frames, *self._authenticated()] if self.client.key_id is not None else frames

    async def receive(self, message: Frame) -> Sequence[Frame]:
        """Execute a message of the client."""
        given = self._decode(message)
        if given.action == "auth":
            return await self._authenticate(given)
        if not self.is_authenticated:
            raise StreamError(401, "not authenticated")
        if given.action not in ("subscribe", "unsubscribe"):
            raise StreamError(410, f"invalid subscribe action: {shown(given.action)}")
        self._change(given)
        return self._control(self._list_channels())

    async def translate(self, messages: Sequence[bytes]) -> Sequence[Frame]:
        """Return events as messages."""
        found: list[bytes] = []
        for event in messages:
            translated = translate(event, self._packed)
            if isinstance(translated, Correction):
                if self._wants("trades", translated.data.symbol):
                    before = await self._values_before(translated.data)
                    found.append(correction(translated.data, before, self._packed).message)
            elif translated:
                found.extend(self._filter(translated, event))
        return frames_of(found, self._packed)

    def explain(self, error: MarketDataError) -> Sequence[Frame]:
        """Return the message of an error."""
        match error:
            case StreamError():
                return self._error(error.code, str(error))
            case TooManyRequests():
                return self._error(406, str(error))
            case _:
                return self._error(500, str(error))

    def time_out(self) -> Sequence[Frame]:
        """Return the message for a client that has not sent its key in time."""
        return self._error(404, "auth timeout")

    async def tick(self) -> Sequence[Frame]:
        """Return the days that have changed within the last minute."""
        days, self._days = self._days, {}
        return frames_of(
            [message for (symbol, _), message in days.items() if self._wants("dailyBars", symbol)], self._packed
        )

    def say_goodbye(self, reason: str) -> Sequence[Frame]:
        """Return the message before the end; none if the service stops, because clients reconnect."""
        match reason:
            case _ if reason == STOPPING:
                return ()
            case _ if reason == TOO_SLOW:
                return self._error(407, "slow client")
            case _ if reason == KEY_ENDED:
                return self._error(402, f"auth failed: {reason}")
            case _:
                return self._error(500, reason)

    def _decode(self, message: Frame) -> ClientMessage:
        is_text = isinstance(message, str)
        self._packed = self._packed or not is_text
        try:
            return _from_json(message) if is_text else _from_msgpack(message)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise StreamError(400, f"invalid syntax: {str(error)[:200]}") from None

    async def _authenticate(self, given: ClientMessage) -> Sequence[Frame]:
        if self._has_sent_key:
            raise StreamError(403, "already authenticated")
        try:
            await self.authenticate(given.secret)
        except (Unauthorized, Forbidden) as error:
            raise StreamEnded(self._error(402, f"auth failed: {error}")) from None
        self._has_sent_key = True
        return self._authenticated()

    def _change(self, given: ClientMessage) -> None:
        """Change the subscription."""
        changed: dict[str, set[str]] = {}
        for channel, names in given.channels.items():
            symbols = {_name(each) for each in names}
            known = self._channels[channel]
            changed[channel] = known | symbols if given.action == "subscribe" else known - symbols
        if sum(map(len, changed.values())) > MAX_SYMBOLS:
            raise StreamError(405, f"symbol limit exceeded: at most {MAX_SYMBOLS:,} symbols of all channels together")
        self._channels = changed
        wanted = {
            "trades": changed["trades"],
            "candles_1m": changed["bars"] | changed["updatedBars"],
            "candles_1d": changed["dailyBars"],
        }
        self.subscribe(Subscription(frozenset((name, _symbols(some)) for name, some in wanted.items() if some)))

    def _list_channels(self) -> dict[str, Any]:
        lists = {channel: sorted(names) for channel, names in self._channels.items()}
        trades = lists["trades"]
        return {"T": "subscription", **lists, "corrections": trades, "cancelErrors": trades}

    def _wants(self, channel: str, symbol: str) -> bool:
        names = self._channels[channel]
        return symbol in names or ALL in names

    def _filter(self, translated: Translation, event: bytes) -> Iterable[bytes]:
        """Yield the messages that the client gets now. Days wait for the next tick."""
        channel, symbol, message, time = translated
        if channel == "updatedBars" and self._is_new(symbol, time):
            yield from self._filter(first_bar(event, self._packed), event)
        if not self._wants(channel, symbol):
            return
        if channel == "dailyBars":
            self._days[symbol, time] = message
            return
        if channel == "bars":
            self._last_bars[symbol] = time
        yield message

    def _is_new(self, symbol: str, time: datetime) -> bool:
        """Return True for a minute that has just ended, and whose bar has not been sent."""
        last = self._last_bars.get(symbol)
        return (last is None or time > last) and datetime.now(UTC) - (time + MINUTE) < CLOSING

    async def _values_before(self, data: TradeData) -> TradeValues | None:
        """Return price and volume of a trade before a correction; None if its audit trail has none."""
        read = services_of(self.socket).database.read_coalesced
        end = data.timestamp + MICROSECOND
        changes = await read(read_changes_of_range, await key_of(self.socket, data.symbol), data.timestamp, end, MAX_CHANGES)
        values = digits_of(data.price), digits_of(data.volume)
        for change in changes:
            if change.trade_id == data.trade_id and change.after and _texts(change.after) == values:
                return change.before
        return None

    def _authenticated(self) -> Sequence[Frame]:
        return self._control({"T": "success", "msg": "authenticated"})

    def _error(self, code: int, message: str) -> Sequence[Frame]:
        return self._control({"T": "error", "code": code, "msg": message})

    def _control(self, message: dict[str, Any]) -> Sequence[Frame]:
        return [frame_of([encode(message, self._packed)], self._packed)]


def _name(text: str) -> str:
    """Return a symbol in upper case, or the asterisk for all.

    Raises:
        StreamError: It can't be a symbol.
    """
    symbol = ALL if text == ALL else known_form(text)
    if symbol is None:
        raise StreamError(400, f"invalid syntax: {shown(text)} is no symbol")
    return symbol


def _texts(values: TradeValues) -> tuple[str, str]:
    numbers: tuple[Any, Any] = values.price, values.volume
    return digits_of(numbers[0]), digits_of(numbers[1])


def _symbols(names: set[str]) -> Symbols:
    return None if ALL in names else frozenset(names)


@websocket(["/stream", "/stream/{path:path}"], opt={"authenticates": True})
async def alpaca_stream(
    socket: WebSocket[Any, Any, Any],
    path: Annotated[str, PathParameter(description="Feed, without meaning.")] = "",
) -> None:
    await serve(socket, AlpacaStream)
