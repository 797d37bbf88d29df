"""The hub of one worker: follows the commits, and gives each client what it listens to.

Its connection listens to NOTIFY, and reads what has been committed since it last looked; the notification itself only wakes
it, so one that is lost, or a database that was away, delays the events and loses none.

Candles are read by a task of its own, on a connection of the pool: one that has had a hundred thousand trades in its open
minute takes a tenth of a second, in which those who listen to trades only are told of further ones. So there are two
bounds: up to where trades have been seen, and up to where all has been told, candles included.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from functools import partial

import psycopg

from market_data.auth.api_keys import ApiKeyCache
from market_data.database.connection import Connection, Deadline, connect
from market_data.database.pool import Database
from market_data.errors import DatabaseUnavailable, first_line
from market_data.queries.stream import (
    StreamRow,
    advance_stream,
    listen_to_stream,
    read_stream_candles,
    read_stream_events,
    read_stream_range,
)
from market_data.settings import Settings
from market_data.streaming.clients import Client
from market_data.streaming.event_batches import ROWS, ReadCandles, candle_events, end_of, trade_events
from market_data.streaming.events import EventId, Message, by_id, heartbeat
from market_data.streaming.replay import missed
from market_data.streaming.subscribers import Audience
from market_data.streaming.subscriptions import Subscription, union
from market_data.telemetry.metrics import STREAM_CLIENTS

logger = logging.getLogger(__name__)

MOST_UNSETTLED = 20 * ROWS
"""Rows that may wait for their candles; while there are as many, no further ones are read."""

ADVANCE_SECONDS = 1.0
"""How often the hub looks after closed and late candles."""

HEARTBEAT_SECONDS = 10.0

KEY_SECONDS = 0.3
"""How often the keys of those who listen are looked at; the ring knows them as they were half a second before."""

FIRST_WAIT, LONGEST_WAIT = 0.1, 2.0
"""Seconds between two attempts to reach a lost database: doubled each time, up to the second figure."""

STOPPING = "The service is stopping; reconnect with the id of the last event, and you have missed nothing."
REPLACED = "The database was replaced by an older one; reconnect, and read /trades and /candles."
AWAY = "The database was out of reach for over an hour; reconnect, and read /trades and /candles."
KEY_ENDED = "Your key was revoked or has expired; reconnect with another one."
NOT_NOW = "The stream can't be followed, for the database can't be reached; try again in a moment."


class Hub:
    """Run `run()` as a task; each client is served by `messages`."""

    def __init__(self, database_url: str, settings: Settings, database: Database) -> None:
        self._database_url = database_url
        self._query_timeout = settings.query_timeout_seconds
        self._database = database
        self._patience = settings.pool_timeout_seconds
        self._turns = asyncio.Semaphore(max(1, settings.pool_size // 2))
        self._seen = EventId(0, 0, 0)
        """Up to where those who want no candles have been told."""
        self._told = EventId(0, 0, 0)
        """Up to where those who do have been told."""
        self._unsettled: list[StreamRow] = []
        """What lies between the two."""
        self._settling: asyncio.Task[None] | None = None
        self._portion = MOST_UNSETTLED
        """How many of them are told at a time."""
        self._following = asyncio.Event()
        self._stopping = False
        self._state = "starting"
        self._audience = Audience()
        self._connected: set[Client] = set()

    async def run(self) -> None:
        """Follow the database until cancelled; one that is lost is waited for."""
        try:
            await self._keep_following()
        finally:
            self._forget_candles()

    async def _keep_following(self) -> None:
        wait = FIRST_WAIT
        while True:
            try:
                async with await connect(self._database_url, self._query_timeout) as connection:
                    await self._begin(connection)
                    wait = FIRST_WAIT
                    await self._follow(connection)
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                self._enter("lost", logging.WARNING, f"the streams lost the database and keep trying: {first_line(error)}")
            except Exception:  # a bug must not silence the streams for good, nor be hidden
                self._enter("failed", logging.ERROR, "the streams failed and keep trying", exc_info=True)
            self._following.clear()
            await asyncio.sleep(wait)
            wait = min(wait * 2, LONGEST_WAIT)

    def stop(self) -> None:
        """End all streams, for the service is about to stop and waits for its requests."""
        self._stopping = True
        for client in self._connected:
            client.end(STOPPING)

    async def keep_out(self, keys: ApiKeyCache) -> None:
        """End streams whose keys are revoked or expire, until the service stops."""
        while not self._stopping:
            await asyncio.sleep(KEY_SECONDS)
            keyed = [client for client in self._connected if client.key is not None]
            try:
                valid = await keys.valid() if keyed else frozenset[int]()
            except (DatabaseUnavailable, psycopg.Error):
                continue  # which has nothing to tell either
            for client in keyed:
                if client.key not in valid:
                    client.refuse(KEY_ENDED)

    async def ready(self) -> None:
        """Wait until the streams can be followed, for as long as a request waits for a connection.

        Raises:
            DatabaseUnavailable: They can't.
        """
        try:
            async with asyncio.timeout(self._patience):
                await self._following.wait()
        except TimeoutError:
            raise DatabaseUnavailable(NOT_NOW) from None

    async def messages(self, client: Client, after: EventId | None = None) -> AsyncGenerator[list[Message]]:
        """What a client is to be sent, until it is cut off or has left: a heartbeat first, then all events after an id.

        Once it has caught up, another heartbeat.

        Raises:
            DatabaseUnavailable: What it has missed can't be read.
        """
        self._connected.add(client)
        STREAM_CLIENTS.labels(client.transport).inc()
        try:
            client.begin(after or self._bound(client))
            if self._stopping:
                client.end(STOPPING)
            elif after:
                yield [heartbeat(client.transport, after)]
                async for messages in missed(self._database, client, partial(self._bound, client), self._turns):
                    yield messages
            # Nothing is awaited between the last look at what has been missed and this.
            self._audience.add(client)
            client.give([heartbeat(client.transport, client.told)], client.told)
            while taken := await client.take():
                yield taken
        finally:
            self._audience.forget(client)
            self._connected.discard(client)
            STREAM_CLIENTS.labels(client.transport).dec()

    def subscribe(self, client: Client, subscription: Subscription) -> None:
        """Have a client listen to something else from now on."""
        if not self._audience.forget(client):
            client.subscription = subscription
            return
        if client.subscription.candles and not subscription.candles:
            # It has waited for candles, and is behind those who don't.
            self._audience.add(client)
            trades = [event for event in trade_events(self._unsettled) if event.id > client.told]
            wanted = [each for each in trades if client.subscription.wants(each.channel, each.symbol)]
            self._audience.give(client, [event.message(client.transport) for event in wanted], self._seen)
            if not self._audience.forget(client):
                return
        client.subscription = subscription
        self._audience.add(client)

    def _bound(self, client: Client) -> EventId:
        """Up to where those have been told who listen to the like."""
        return self._told if client.subscription.candles else self._seen

    async def _begin(self, connection: Connection) -> None:
        with self._deadline(connection):
            await listen_to_stream(connection)
        with self._deadline(connection):
            reach = await read_stream_range(connection)
        last = EventId.after(reach.last)
        reason = ""
        if self._seen > last:
            reason = REPLACED
        elif self._seen.position < reach.first and not reach.complete:
            reason = AWAY
        if reason:
            self._forget_candles()
            for client in self._connected:
                client.end(reason)
        if reason or self._state == "starting":
            self._seen = self._told = last
            self._unsettled.clear()
        if self._state != "starting":
            logger.info("the streams follow the database again")
        self._state = "following"

    async def _follow(self, connection: Connection) -> None:
        """Tell what is committed, as it is."""
        loop = asyncio.get_running_loop()
        advance = beat = loop.time()
        while True:
            if loop.time() >= advance:
                with self._deadline(connection):
                    await advance_stream(connection)
                advance = loop.time() + ADVANCE_SECONDS
            more = True
            while more:
                more = await self._tell(connection)
                if loop.time() >= beat:
                    beat = loop.time() + HEARTBEAT_SECONDS
                    self._audience.beat()
            self._following.set()
            async for _ in connection.notifies(timeout=max(0, advance - loop.time()), stop_after=1):
                pass

    async def _tell(self, connection: Connection) -> bool:
        """Tell the trades since the last time, or a first part of them: then there are more."""
        if not self._audience and not self._unsettled:
            with self._deadline(connection):
                last = (await read_stream_range(connection)).last
            # Meanwhile a client may have come, to whom what has just been committed is new.
            if not self._audience:
                self._seen = self._told = max(self._seen, EventId.after(last))
                return False
        if len(self._unsettled) < MOST_UNSETTLED:
            with self._deadline(connection):
                rows = await read_stream_events(connection, self._seen.position, self._seen.number, limit=ROWS)
        else:
            rows = []
        more = len(rows) == ROWS
        if rows:
            end = end_of(rows[-1]) if more else EventId.after(rows[-1].position)
            self._audience.tell(trade_events(rows), self._seen, end, candles=False)
            self._seen = end
            self._unsettled += rows
        self._settle()
        return more

    def _settle(self) -> None:
        """See to it that those who want candles are told, too."""
        if self._settling:
            if not self._settling.done():
                return
            ended, self._settling = self._settling, None
            ended.result()
        if not self._audience.wants_candles:
            self._unsettled.clear()
            self._told = self._seen
        elif self._unsettled:
            self._settling = asyncio.create_task(self._tell_candles(), name="candles")

    def _forget_candles(self) -> None:
        """Give up reading the candles that are being read."""
        if self._settling:
            self._settling.cancel()
            self._settling = None

    async def _tell_candles(self) -> None:
        """Tell the unsettled rows with their candles, until there are none."""
        read: ReadCandles = partial(self._database.read, read_stream_candles)
        while self._unsettled:
            rows, end = self._unsettled[: self._portion], self._seen
            if len(rows) < len(self._unsettled):
                end = end_of(rows[-1])
            wanted = self._audience.wanted(candles=True)
            try:
                candles = await candle_events(rows, wanted, read)
            except DatabaseUnavailable:  # it will be asked again, for less, if it was too much
                self._portion = max(1, len(rows) // 2)
                return
            self._portion = min(2 * self._portion, MOST_UNSETTLED)
            if union([wanted, self._audience.wanted(candles=True)]) != wanted:
                continue  # somebody has come who wants others as well
            self._audience.tell(sorted([*trade_events(rows), *candles], key=by_id), self._told, end, candles=True)
            self._told = end
            del self._unsettled[: len(rows)]

    def _deadline(self, connection: Connection) -> Deadline:
        return Deadline(connection, self._query_timeout)

    def _enter(self, state: str, level: int, text: str, *, exc_info: bool = False) -> None:
        """Log a change for the worse, once."""
        if state != self._state:
            logger.log(level, text, exc_info=exc_info)
        self._state = state
