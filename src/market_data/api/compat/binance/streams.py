"""`/binance/ws` and `/binance/stream`."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import parse_qsl

from litestar import WebSocket, websocket

from market_data.api.compat.binance.commands import INVALID_REQUEST, Command, CommandError, read_command
from market_data.api.compat.binance.figures import Figures
from market_data.api.compat.binance.frames import candle_frame, error_frame, event_of, framed, result_frame, trade_frame
from market_data.api.compat.binance.shared_reads import EventKey, shared_reads_of
from market_data.api.compat.binance.stream_names import KLINE, TICKER, TICKERS, StreamName, read_name, split_names
from market_data.api.compat.events import CandleEvent, TradeEvent
from market_data.api.compat.streams import Conversation, Frame, serve
from market_data.errors import DatabaseUnavailable, MarketDataError
from market_data.queries.trades import TradeKey
from market_data.streaming.subscriptions import Subscription, Symbols

MAX_STREAMS: Final = 1024
"""Streams of a connection, as at Binance."""

TICKER_SECONDS: Final = 1.0
"""Time between two frames of a ticker. All clients of a worker get theirs at the same moments, from the same statement."""

RETRY_SECONDS: Final = 0.5


class BinanceStream(Conversation):
    """A connection with the streams that its path names, and that it subscribes to."""

    tick_seconds: ClassVar[float | None] = 0.05

    def __init__(self, socket: WebSocket[Any, Any, Any], names: Sequence[str], *, combined: bool) -> None:
        super().__init__(socket)
        self._given = names
        self._combined = combined
        self._names: dict[StreamName, None] = {}
        """The streams, in the order of their subscription."""
        self._trades: dict[str, list[str]] = {}
        """Kinds of trade streams by symbol."""
        self._tickers: dict[str, list[str]] = {}
        """Kinds of tickers by symbol; of all symbols under the empty one."""
        self._changed: set[str] = set()
        """Symbols whose tickers are due."""
        self._has_changed = asyncio.Event()
        self._shared = shared_reads_of(socket)

    def greet(self) -> Sequence[Frame]:
        """Subscribe to the streams of the path; an error for those that there are not."""
        errors: list[str] = []
        names: list[StreamName] = []
        for text in self._given:
            try:
                names.append(read_name(text))
            except ValueError as error:
                errors.append(error_frame(INVALID_REQUEST, f"Invalid request: {error}."))
        if len(names) > MAX_STREAMS:
            return [error_frame(INVALID_REQUEST, f"Invalid request: more than {MAX_STREAMS} streams.")]
        self._add(names)
        return errors[:MAX_STREAMS]

    def _add(self, names: Iterable[StreamName]) -> None:
        new = [name for name in names if name not in self._names]
        self._names |= dict.fromkeys(new)
        self._apply()
        self._mark_changed(name.symbol for name in new if name.kind in TICKERS and name.symbol)

    def _apply(self) -> None:
        """Subscribe to the channels of the streams."""
        self._trades, self._tickers = {}, {}
        channels: dict[str, set[str]] = {}
        for name in self._names:
            if name.kind.startswith(KLINE):
                channels.setdefault(f"candles_{name.kind.removeprefix(KLINE)}", set()).add(name.symbol)
                continue
            channels.setdefault("trades", set()).add(name.symbol)
            kinds = self._tickers if name.kind in TICKERS else self._trades
            kinds.setdefault(name.symbol, []).append(name.kind)
        items: list[tuple[str, Symbols]] = []
        for channel, symbols in channels.items():
            items.append((channel, None if "" in symbols else frozenset(symbols)))
        self.subscribe(Subscription(frozenset(items)))

    def _mark_changed(self, symbols: Iterable[str]) -> None:
        self._changed.update(symbols)
        if self._changed:
            self._has_changed.set()

    async def receive(self, message: Frame) -> Sequence[Frame]:
        """Execute a command."""
        command: Command | None = None
        try:
            command = read_command(message)
            return [result_frame(self._execute(command), command.id)]
        except CommandError as error:
            return [error_frame(error.code, str(error), command.id if command else error.request_id)]

    def _execute(self, command: Command) -> object:
        """Return the result of a command.

        Raises:
            CommandError: It can't be executed.
        """
        match command.method:
            case "SUBSCRIBE":
                names = [_name(text) for text in command.names]
                if len(self._names.keys() | set(names)) > MAX_STREAMS:
                    raise CommandError(f"Invalid request: more than {MAX_STREAMS} streams.")
                self._add(names)
            case "UNSUBSCRIBE":
                for name in [_name(text) for text in command.names]:
                    self._names.pop(name, None)
                self._apply()
            case "LIST_SUBSCRIPTIONS":
                return [str(name) for name in self._names]
            case "SET_PROPERTY":
                self._combined = command.read_combined()
            case _:
                return self._combined
        return None

    async def translate(self, messages: Sequence[bytes]) -> Sequence[Frame]:
        """Return the frames of trades and candles, and remember the symbols whose tickers have changed."""
        events = [(message, event_of(message)) for message in messages]
        traded = {event.data.symbol for _, event in events if isinstance(event, TradeEvent)} if self._tickers else set[str]()
        self._mark_changed(traded if "" in self._tickers else traded & self._tickers.keys())
        ranks = await self._read_ranks(
            [
                _event_key(event)
                for _, event in events
                if isinstance(event, TradeEvent) and not event.data.change and event.data.symbol in self._trades
            ]
        )
        frames: list[Frame] = []
        for message, event in events:
            if isinstance(event, CandleEvent):
                if not event.data.removed:
                    frames.append(candle_frame(message, combined=self._combined))
            elif isinstance(event, TradeEvent) and (rank := ranks.get(_event_key(event))) is not None:
                frames += [
                    trade_frame(message, kind, rank, combined=self._combined)
                    for kind in self._trades.get(event.data.symbol, ())
                ]
        return frames

    async def _read_ranks(self, keys: Sequence[EventKey]) -> dict[EventKey, int]:
        """Return the ranks of the trades of events. Waits for the database, because no client could get the trades later."""
        while keys:
            try:
                return dict(zip(keys, await self._shared.ranks(keys), strict=True))
            except DatabaseUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
        return {}

    async def tick(self) -> Sequence[Frame]:
        """Return the tickers that have changed, at the next whole second of the worker's clock."""
        await self._has_changed.wait()
        await asyncio.sleep(-asyncio.get_running_loop().time() % TICKER_SECONDS)
        changed, self._changed = self._changed, set()
        self._has_changed.clear()
        try:
            figures = await self._shared.figures(changed)
        except DatabaseUnavailable:
            self._mark_changed(changed)
            raise
        found = [figures[symbol] for symbol in sorted(changed) if symbol in figures]
        frames: list[Frame] = []
        for each in found:
            frames += [
                framed(StreamName(each.symbol, kind), _ticker(each, kind), combined=self._combined)
                for kind in self._tickers.get(each.symbol, ())
            ]
        for kind in self._tickers.get("", ()) if found else ():
            payload = f"[{','.join(_ticker(each, kind) for each in found)}]"
            frames.append(framed(StreamName("", kind), payload, combined=self._combined))
        return frames

    def explain(self, error: MarketDataError) -> Sequence[Frame]:
        """Return the message of an error."""
        return [error_frame(INVALID_REQUEST, str(error))]


def _event_key(event: TradeEvent) -> EventKey:
    trade = event.data
    return TradeKey(trade.symbol, trade.timestamp, trade.trade_id), trade.version


def _ticker(figures: Figures, kind: str) -> str:
    return figures.ticker_event if kind == TICKER else figures.mini_event


def _name(text: str) -> StreamName:
    """Return the stream of a name.

    Raises:
        CommandError: There is no such stream.
    """
    try:
        return read_name(text)
    except ValueError as error:
        raise CommandError(f"Invalid request: {error}.") from None


@websocket("/ws")
async def raw_streams(socket: WebSocket[Any, Any, Any]) -> None:
    await serve(socket, lambda socket: BinanceStream(socket, (), combined=False))


@websocket("/ws/{names:path}")
async def named_streams(socket: WebSocket[Any, Any, Any]) -> None:
    text = socket.scope["path"].partition("/ws/")[2]
    names = split_names(text) if "@" in text else ()  # ccxt adds a number to the path
    await serve(socket, lambda socket: BinanceStream(socket, names, combined=False))


@websocket("/stream")
async def combined_streams(socket: WebSocket[Any, Any, Any]) -> None:
    given = parse_qsl(socket.scope["query_string"].decode("latin-1"))
    names = [name for key, text in given if key == "streams" for name in split_names(text)]
    await serve(socket, lambda socket: BinanceStream(socket, names, combined=True))
