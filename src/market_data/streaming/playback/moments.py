"""Parts that both orders of a replay share."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Concatenate, NamedTuple, ParamSpec, Protocol, TypeVar

from market_data.database.connection import Connection
from market_data.database.pool import Database
from market_data.names import NO_NAMES, Names
from market_data.queries.intervals import INTERVALS
from market_data.queries.replay import PlayedTrade
from market_data.streaming.events import EventId, Message, Transport, encode
from market_data.streaming.subscriptions import REVISIONS, Subscription
from market_data.tasks import cancel_and_wait

P = ParamSpec("P")
T = TypeVar("T")

PAGE_TRADES = 2000
"""Trades read at a time: at this many, a page takes about 10 ms of the event loop."""

PAGE_COMMITS = 1000
"""Commits read at a time."""

MAX_READ_CANDLES = 50
"""Candles read by one statement, each of which takes some milliseconds."""


Position = datetime | EventId
"""A time, inclusive, or the id up to which events were sent."""


class Moment(NamedTuple):
    """Events that happened together: those of a commit, or of an instant."""

    time: datetime
    """Virtual time at which they are sent."""
    id: EventId
    """Id up to which these are all."""
    messages: list[Message]
    resume: Position
    """Position after it."""
    is_whole: bool = True
    """False if other moments of the same commit follow."""


class Source(Protocol):
    """The events of a replay."""

    def moments(self) -> AsyncGenerator[Moment]:
        """Yield the moments from the position of the source to the end of the replay."""
        ...


class Reader:
    """Reads pages for replays: all share a few slots, so that they leave connections to requests."""

    def __init__(self, database: Database, slots: int) -> None:
        self._database = database
        self._slots = asyncio.Semaphore(slots)

    async def read(self, query: Callable[Concatenate[Connection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the result of a function of `queries`. No connection is held between two reads.

        Raises:
            DatabaseUnavailable: As `Database.read`.
        """
        async with self._slots:
            return await self._database.read(query, *args, **kwargs)


class Audience:
    """One client's subscription and transport, and the names that symbols have."""

    def __init__(self, subscription: Subscription, transport: Transport, names: Names = NO_NAMES) -> None:
        self.names = names
        self.subscription = subscription
        self.transport: Transport = transport
        self.wants_trades = "trades" in subscription.channels
        self.wants_revisions = REVISIONS in subscription.channels
        channels = {interval: f"candles_{interval}" for interval in INTERVALS}
        self.intervals = {interval: channel for interval, channel in channels.items() if channel in subscription.channels}

    def trade(self, event_id: EventId, symbol: str, members: str) -> list[Message]:
        """Return the message of a trade: none if it is not subscribed to."""
        if not self.wants_trades or not self.subscription.includes("trades", symbol):
            return []
        data = self.names.rename_json(f'{{{members},"version":{event_id.version}}}')
        return [encode(self.transport, "trade", event_id, data)]

    def trades(self, version: int, trades: Sequence[PlayedTrade], first_number: int) -> list[Message]:
        """Return the messages of trades that are all subscribed to; server-sent events are encoded together."""
        numbered = enumerate(trades, first_number)
        if self.transport == "websocket":
            return [
                message
                for number, each in numbered
                for message in self.trade(EventId(version, number, 0), each.symbol, each.members)
            ]
        name_of = self.names.name_of
        text = "".join(
            [
                f'id: {version}-{number}-0\nevent: trade\ndata: {{"symbol":"{name_of(symbol)}","price":{price},'
                f'"volume":{volume},"timestamp":"{time.isoformat()[:-6]}Z","trade_id":{trade_id},"version":{version}}}\n\n'
                for number, (_, symbol, time, trade_id, price, volume, _, _) in numbered
            ]
        )
        return [Message(EventId(version, first_number + len(trades) - 1, 0), text.encode())] if trades else []


async def read_ahead(pages: AsyncGenerator[T]) -> AsyncGenerator[T]:
    """Yield pages, the next of which is read while one is played."""
    reading = asyncio.create_task(anext(pages, None))
    try:
        while (page := await reading) is not None:
            reading = asyncio.create_task(anext(pages, None))
            await asyncio.sleep(0)
            yield page
    finally:
        await cancel_and_wait(reading)
        await pages.aclose()


def chunks(items: Iterable[T], size: int) -> list[list[T]]:
    """Return the items in lists of at most a size."""
    rest = list(items)
    return [rest[first : first + size] for first in range(0, len(rest), size)]
