"""The replays of one worker."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import Final, Literal, NamedTuple

from market_data.database.pool import Database
from market_data.errors import Gone, Overloaded
from market_data.names import NO_NAMES, Names
from market_data.queries.past import read_version_at
from market_data.queries.replay import read_last_incomplete
from market_data.queries.retention import read_dropped_before
from market_data.queries.timed_replay import read_newest_writes
from market_data.settings import Settings
from market_data.streaming.clients import Client
from market_data.streaming.connected import ConnectedClients
from market_data.streaming.events import EventId, Message
from market_data.streaming.playback.by_time import TimeSource
from market_data.streaming.playback.known import KnownSource
from market_data.streaming.playback.moments import Audience, Position, Reader, Source
from market_data.streaming.playback.player import Open, Player
from market_data.trade_validation import MICROSECOND, rfc3339

ReplayOrder = Literal["known", "time"]


TOO_MANY: Final = "{count} replays run in this worker, which is as many as MAX_REPLAYS allows; try again when one has ended."
GONE: Final = "Trades of the replay have been dropped. The earliest time from which it can be played is {time}."


class ReplayRequest(NamedTuple):
    """Parameters of a replay."""

    start: datetime
    end: datetime
    """Exclusive."""
    speed: float
    """Virtual seconds per second, or infinite."""
    order: ReplayOrder


class Replays:
    """Starts replays, of which a few run at the same time."""

    def __init__(self, database: Database, settings: Settings, clients: ConnectedClients, names: Names = NO_NAMES) -> None:
        self._names = names
        self._database = database
        self._clients = clients
        self._max = settings.max_replays
        self._running = 0
        self._reader = Reader(database, max(1, settings.pool_size // 2))

    async def prepare(self, client: Client, request: ReplayRequest) -> Player:
        """Return the player of a replay whose trades are there.

        Raises:
            Overloaded: Too many replays run already.
            Gone: Trades of the range have been dropped.
            DatabaseUnavailable: The range can't be checked.
        """
        if self._running >= self._max:
            raise Overloaded(TOO_MANY.format(count=self._running))
        if request.order == "time":
            open_source = await self._by_time(client, request)
        else:
            open_source = await self._known(client, request)
        return Player(client, request.start, request.end, request.speed, open_source, has_revisions=request.order == "known")

    async def messages(self, player: Player) -> AsyncGenerator[list[Message]]:
        """Yield the messages of a replay until its end, or until the client is closed.

        Raises:
            DatabaseUnavailable: The past can't be read.
        """
        self._running += 1
        try:
            with self._clients.connected(player.client):
                if self._running > self._max:  # several were prepared at the same time
                    player.client.end(TOO_MANY.format(count=self._max))
                async with aclosing(player.messages()) as messages:
                    async for batch in messages:
                        yield batch
        finally:
            self._running -= 1

    async def _known(self, client: Client, request: ReplayRequest) -> Open:
        after, until = await self._version_before(request.start), await self._version_before(request.end)
        incomplete = await self._database.read(read_last_incomplete, after)
        if incomplete and incomplete >= request.start:
            raise Gone(GONE.format(time=rfc3339(incomplete + MICROSECOND)))
        client.start_at(EventId.after(after))

        async def open_source(position: Position) -> Source:
            is_time = isinstance(position, datetime)
            version = await self._version_before(position) if is_time else position.version - 1
            audience = Audience(client.subscription, client.transport, self._names)
            return KnownSource(self._reader, audience, version, until)

        return open_source

    async def _by_time(self, client: Client, request: ReplayRequest) -> Open:
        dropped_before = await self._database.read(read_dropped_before)
        if dropped_before and dropped_before > request.start:
            raise Gone(GONE.format(time=rfc3339(dropped_before)))
        writes = await self._database.read(read_newest_writes)
        client.start_at(EventId(writes.version, 0, 0))

        async def open_source(position: Position) -> Source:
            start = position if isinstance(position, datetime) else request.start
            audience = Audience(client.subscription, client.transport, self._names)
            number = client.delivered_up_to.number
            return TimeSource(self._reader, audience, writes, start, request.end, number)

        return open_source

    async def _version_before(self, time: datetime) -> int:
        # Relative, because the clock of the database may be behind.
        return await self._database.read(read_version_at, time - MICROSECOND, is_relative=True)
