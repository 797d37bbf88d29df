"""`/massive/ws/stocks`."""

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec
from litestar import WebSocket, websocket
from msgspec import Struct

from market_data.api.compat.massive.stream_messages import (
    MINUTE_MILLISECONDS,
    ClosedMinute,
    DayFigures,
    NewTrade,
    Seconds,
    aggregate_message,
    day_of,
    days_of,
    milliseconds,
    today,
    translate,
)
from market_data.api.compat.parameters import bad_parameter, known_form
from market_data.api.compat.streams import Conversation, Frame, StreamEnded, serve
from market_data.api.http.consistency import read_source
from market_data.auth.api_keys import KEY_NEEDED
from market_data.errors import DatabaseUnavailable, Forbidden, MarketDataError, Unauthorized
from market_data.queries.bucket_candles import read_bucket_candles
from market_data.streaming.clients import TOO_SLOW
from market_data.streaming.disconnections import STOPPING
from market_data.streaming.subscriptions import Subscription
from market_data.trade_validation import shown

ALL: Final = "*"
KINDS: Final = ("T", "A", "AM")

MAX_TOPICS: Final = 10_000
"""Topics of a client."""

CLOSING_MILLISECONDS: Final = 5_000
"""Time after the end of a minute within which its bar is closed: later subscribers do not get it."""

MESSAGE_FORM: Final = 'must be JSON such as {"action": "subscribe", "params": "T.AAPL,AM.*"}'


class Command(Struct):
    """A message of the client."""

    action: str
    params: str = ""


_decode = msgspec.json.Decoder(Command).decode


def status(kind: str, message: str) -> dict[str, str]:
    """Return a message about the connection."""
    return {"ev": "status", "status": kind, "message": message}


def frame_of(*messages: dict[str, str]) -> Sequence[Frame]:
    """Return the frame of some messages."""
    return (msgspec.json.encode(messages).decode(),)


class MassiveStream(Conversation):
    """A client's connection."""

    tick_seconds = 0.5

    def __init__(self, socket: WebSocket[Any, Any, Any]) -> None:
        super().__init__(socket)
        self._topics: dict[str, set[str]] = {kind: set() for kind in KINDS}
        self._seconds = Seconds()
        self._days: dict[tuple[str, int], DayFigures] = {}
        """By symbol and start of the day."""
        self._today = 0
        self._first_minute = 0
        self._minutes: dict[str, int] = {}
        """Start of the last minute that was sent, by symbol."""

    def greet(self) -> Sequence[Frame]:
        """Return the first message, for which clients wait."""
        return frame_of(status("connected", "Connected Successfully"))

    async def receive(self, message: Frame) -> Sequence[Frame]:
        """Execute `auth`, `subscribe` or `unsubscribe`."""
        try:
            command = _decode(message)
        except (msgspec.DecodeError, UnicodeError):
            raise bad_parameter("message", MESSAGE_FORM) from None
        match command.action:
            case "auth":
                return await self._authenticate(command.params)
            case "subscribe" | "unsubscribe":
                if not self.is_authenticated:
                    raise Unauthorized(KEY_NEEDED.format(scope="read"))
                return await self._change_topics(command)
            case _:
                raise bad_parameter("action", f"must be auth, subscribe or unsubscribe, not {shown(command.action)}")

    async def _authenticate(self, secret: str) -> Sequence[Frame]:
        try:
            await self.authenticate(secret)
        except (Unauthorized, Forbidden) as error:
            raise StreamEnded(frame_of(status("auth_failed", str(error)))) from None
        return frame_of(status("auth_success", "authenticated"))

    async def _change_topics(self, command: Command) -> Sequence[Frame]:
        topics = dict.fromkeys(part.strip() for part in command.params.split(","))
        if len(topics) > MAX_TOPICS:
            raise bad_parameter("params", f"has {len(topics)} topics; send at most {MAX_TOPICS} at a time")
        is_added = command.action == "subscribe"
        replies = [self._change_topic(topic, is_added=is_added) for topic in topics]
        self._days = {key: figures for key, figures in self._days.items() if self._wants_day(key[0])}
        self.subscribe(self._subscription())
        if is_added:
            self._first_minute = int(time.time() * 1000) - CLOSING_MILLISECONDS - MINUTE_MILLISECONDS
            with suppress(DatabaseUnavailable):  # then the figures of the day come with the next trade
                await self._read_days()
        return frame_of(*replies)

    def _change_topic(self, topic: str, *, is_added: bool) -> dict[str, str]:
        """Add or remove a topic, and return the reply."""
        kind, _, name = topic.partition(".")
        symbol = ALL if name == ALL else known_form(name)
        if kind not in self._topics:
            return status("error", f"{shown(topic)}: there is no {shown(kind)}; subscribe to T, A or AM")
        if symbol is None:
            return status("error", f"{shown(topic)}: no symbol; subscribe to {kind}.AAPL or {kind}.*")
        if not is_added:
            self._topics[kind].discard(symbol)
            return status("success", f"unsubscribed to: {topic}")
        if sum(map(len, self._topics.values())) >= MAX_TOPICS:
            return status("error", f"{shown(topic)}: more than {MAX_TOPICS} topics; subscribe to {kind}.*")
        self._topics[kind].add(symbol)
        return status("success", f"subscribed to: {topic}")

    async def _read_days(self) -> None:
        """Read the figures of the day so far; later ones come as events."""
        if not self._topics["A"] and not self._topics["AM"]:
            return
        rows = await read_source(self.socket).read_coalesced(read_bucket_candles, "1d", today())
        found = [each._replace(symbol=self.shown_name(each.symbol)) for each in days_of(rows).values()]
        read = {(each.symbol, each.day): each for each in found if self._wants_day(each.symbol)}
        self._days = read | self._days  # those of events, which are not older

    def _subscription(self) -> Subscription:
        topics = self._topics
        wanted = {
            "trades": topics["T"] | topics["A"],
            "candles_1m": topics["AM"],
            "candles_1d": topics["A"] | topics["AM"],
        }
        items = [(channel, None if ALL in some else frozenset(some)) for channel, some in wanted.items() if some]
        return Subscription(frozenset(items))

    def _wants(self, kind: str, symbol: str) -> bool:
        topics = self._topics[kind]
        return symbol in topics or ALL in topics

    def _wants_day(self, symbol: str) -> bool:
        return self._wants("A", symbol) or self._wants("AM", symbol)

    async def translate(self, messages: Sequence[bytes]) -> Sequence[Frame]:
        """Return a batch as one frame."""
        texts: list[str] = []
        for message in messages:
            match translate(message):
                case NewTrade() as trade:
                    if self._wants("T", trade.symbol):
                        texts.append(trade.text)
                    if self._wants("A", trade.symbol):
                        self._seconds.add(trade)
                case DayFigures() as day:
                    self._days[day.symbol, day.day] = day
                case ClosedMinute() as minute:
                    last = self._minutes.get(minute.symbol, self._first_minute)
                    if self._wants("AM", minute.symbol) and minute.start > last:
                        self._minutes[minute.symbol] = minute.start
                        texts.append(self._aggregate("AM", minute.symbol, minute.start, minute.members))
                case _:
                    pass
        return _joined(texts)

    async def tick(self) -> Sequence[Frame]:
        """Return the seconds that are complete."""
        complete = self._seconds.take_complete()
        if complete and (current := milliseconds(today())) != self._today:
            self._today = current
            yesterday = day_of(current - 1)
            self._days = {key: figures for key, figures in self._days.items() if key[1] >= yesterday}
        return _joined([self._aggregate("A", *each) for each in complete])

    def _aggregate(self, event: str, symbol: str, start: int, members: str) -> str:
        return aggregate_message(event, symbol, members, self._days.get((symbol, day_of(start))))

    def explain(self, error: MarketDataError) -> Sequence[Frame]:
        """Return a status with the error."""
        return frame_of(status("auth_failed" if isinstance(error, Unauthorized) else "error", str(error)))

    def time_out(self) -> Sequence[Frame]:
        """Return the status of a client that has not sent its key in time."""
        return frame_of(status("auth_timeout", KEY_NEEDED.format(scope="read")))

    def say_goodbye(self, reason: str) -> Sequence[Frame]:
        """Return the status of a client that is disconnected. After a restart it may return at once."""
        if reason == STOPPING:
            return frame_of(status("force_disconnect", "The service restarts; reconnect."))
        if reason == TOO_SLOW:
            return frame_of(status("slow_consumer", "The client reads too slowly."))
        return frame_of(status("force_disconnect", reason))


def _joined(texts: Sequence[str]) -> Sequence[Frame]:
    return (f"[{','.join(texts)}]",) if texts else ()


@websocket("/ws/stocks", opt={"authenticates": True})
async def massive_stream(socket: WebSocket[Any, Any, Any]) -> None:
    await serve(socket, MassiveStream)
