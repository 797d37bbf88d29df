"""The hub of one worker: follows the commits, and gives each client what it listens to.

Its connection listens to NOTIFY, and reads what has been committed since it last looked; the notification itself only wakes
it, so one that is lost, or a database that was away, delays the events and loses none.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Sequence
from datetime import datetime
from functools import partial

import psycopg

from market_data import queries
from market_data.connection import Connection, Deadline, connect
from market_data.database import Database
from market_data.errors import DatabaseUnavailable, first_line
from market_data.live.batches import LAST_LEVEL, ReadCandles, candle_events, trade_events
from market_data.live.clients import Client
from market_data.live.events import TRANSPORTS, Event, EventId, by_id, heartbeat, message
from market_data.live.subscriptions import Subscription, union
from market_data.metrics import STREAM_CLIENTS, STREAM_DROPPED
from market_data.queries import StreamedCandle
from market_data.settings import Settings

logger = logging.getLogger(__name__)

ROWS = 2000
"""Of stream_events that are read at a time."""

ADVANCE_SECONDS = 1.0
"""How often the hub looks after closed and late candles."""

HEARTBEAT_SECONDS = 10.0

FIRST_WAIT, LONGEST_WAIT = 0.1, 2.0
"""Seconds between two attempts to reach a lost database: doubled each time, up to the second figure."""

STOPPING = "The service is stopping; reconnect with the id of the last event, and you have missed nothing."
TOO_OLD = (
    "Events since the id that you gave have been deleted, for they are kept for an hour; read /trades and /candles for the "
    "time in between. The stream goes on from now."
)
UNKNOWN = "The id that you gave is not of this database; read /trades and /candles. The stream goes on from now."
REPLACED = "The database was replaced by an older one; reconnect, and read /trades and /candles."
NOT_NOW = "The stream can't be followed, for the database can't be reached; try again in a moment."


class Hub:
    """Run `run()` as a task; each client is served by `messages`."""

    def __init__(self, database_url: str, settings: Settings, database: Database) -> None:
        self._database_url = database_url
        self._query_timeout = settings.query_timeout_seconds
        self._database = database
        self._told = EventId(0, 0, 0)
        """Up to where all clients have been given their events."""
        self._following = False
        self._stopping = False
        self._state = "starting"
        self._clients: defaultdict[Subscription, set[Client]] = defaultdict(set)
        self._connected: set[Client] = set()

    async def run(self) -> None:
        """Follow the database until cancelled; one that is lost is waited for."""
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
            self._following = False
            await asyncio.sleep(wait)
            wait = min(wait * 2, LONGEST_WAIT)

    def stop(self) -> None:
        """End all streams, for the service is about to stop and waits for its requests."""
        self._stopping = True
        for client in self._connected:
            client.end(STOPPING)

    def require(self) -> None:
        """Make sure that the streams can be followed now.

        Raises:
            DatabaseUnavailable: They can't.
        """
        if not self._following or self._stopping:
            raise DatabaseUnavailable(NOT_NOW)

    async def messages(self, client: Client, after: EventId | None = None) -> AsyncGenerator[list[bytes]]:
        """What a client is to be sent, until it is cut off or has left: a heartbeat first, then all events after an id.

        Raises:
            DatabaseUnavailable: What it has missed can't be read.
        """
        self._connected.add(client)
        STREAM_CLIENTS.labels(client.transport).inc()
        try:
            if self._stopping:
                client.end(STOPPING)
            client.begin(self._told)
            if after is not None:
                async for missed in self._missed(client, after):
                    yield missed
            # Nothing is awaited between the last look at what has been missed and this.
            self._clients[client.subscription].add(client)
            client.give([heartbeat(client.transport, client.told)], client.told)
            while taken := await client.take():
                yield taken
        finally:
            self._forget(client)
            self._connected.discard(client)
            STREAM_CLIENTS.labels(client.transport).dec()

    def subscribe(self, client: Client, subscription: Subscription) -> None:
        """Have a client listen to something else from now on."""
        listening = self._forget(client)
        client.subscription = subscription
        if listening:
            self._clients[subscription].add(client)

    def _forget(self, client: Client) -> bool:
        """Give a client no more events; whether it was given any."""
        clients = self._clients.get(client.subscription, set())
        if client not in clients:
            return False
        clients.discard(client)
        if not clients:
            del self._clients[client.subscription]
        return True

    async def _begin(self, connection: Connection) -> None:
        with self._deadline(connection):
            await queries.listen_to_stream(connection)
        with self._deadline(connection):
            last = EventId.after((await queries.stream_reach(connection)).last)
        if self._told > last:
            for client in self._connected:
                client.end(REPLACED)
        if self._told > last or self._state == "starting":
            self._told = last
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
                    await queries.advance_stream(connection)
                advance = loop.time() + ADVANCE_SECONDS
            while await self._tell(connection):
                pass
            self._following = True
            if loop.time() >= beat:
                beat = loop.time() + HEARTBEAT_SECONDS
                for client in [each for clients in self._clients.values() for each in clients]:
                    self._give(client, [heartbeat(client.transport, self._told)], self._told)
            async for _ in connection.notifies(timeout=max(0, advance - loop.time()), stop_after=1):
                pass

    async def _tell(self, connection: Connection) -> bool:
        """Tell what there is since the last time, or a first part of it: then there is more."""
        if not self._clients:
            with self._deadline(connection):
                last = (await queries.stream_reach(connection)).last
            # Meanwhile a client may have come, to whom what has just been committed is new.
            if not self._clients:
                self._told = max(self._told, EventId.after(last))
                return False
        with self._deadline(connection):
            rows = await queries.stream_events(connection, self._told.position, self._told.number, limit=ROWS)
        if not rows:
            return False
        more = len(rows) == ROWS
        end = EventId(rows[-1].position, rows[-1].number, LAST_LEVEL) if more else EventId.after(rows[-1].position)
        trades = trade_events(rows)
        wanted = union(self._clients)
        if wanted.candles:
            # Who wants no candles need not wait for them.
            self._dispatch([each for each in self._clients if not each.candles], trades, end)
        candles = await candle_events(rows, wanted, self._reader(connection))
        self._dispatch(list(self._clients), sorted([*trades, *candles], key=by_id), end)
        self._told = end
        return more

    def _dispatch(self, subscriptions: Iterable[Subscription], events: Sequence[Event], end: EventId) -> None:
        for subscription in subscriptions:
            wanted = [event for event in events if subscription.wants(event.channel, event.symbol)]
            for transport in TRANSPORTS:
                messages = [event.message(transport) for event in wanted]
                for client in list(self._clients.get(subscription, ())):
                    if client.transport == transport and client.told < end:
                        self._give(client, messages, end)

    def _give(self, client: Client, messages: Sequence[bytes], told: EventId) -> None:
        if not client.give(messages, told):
            self._forget(client)
            STREAM_DROPPED.labels("slow").inc()
            logger.info("a client of a stream is cut off, for it reads too slowly")

    async def _missed(self, client: Client, after: EventId) -> AsyncGenerator[list[bytes]]:
        """What a client has missed, read from the database up to where the others have been told."""
        reach = await self._database.read(queries.stream_reach)
        reason = ""
        if after > EventId.after(reach.last):
            reason = UNKNOWN
        elif after.position < reach.first and not reach.complete:
            reason = TOO_OLD
        if reason:
            after = self._told
            yield [message(client.transport, "gap", after, {"reason": reason})]
        client.begin(after)
        while client.told < (end := self._told):
            rows = await self._database.read(
                queries.stream_events,
                client.told.position,
                # That row itself once more, for its candles may not have been told.
                client.told.number - (client.told.level < LAST_LEVEL),
                limit=ROWS,
                until=end.position,
                symbols=client.subscription.symbols,
            )
            read: ReadCandles = partial(self._database.read, queries.stream_candles)
            events = [*trade_events(rows), *await candle_events(rows, client.subscription, read)]
            wanted = [
                event.message(client.transport)
                for event in sorted(events, key=by_id)
                if after < event.id <= end and client.subscription.wants(event.channel, event.symbol)
            ]
            client.begin(EventId(rows[-1].position, rows[-1].number, LAST_LEVEL) if len(rows) == ROWS else end)
            if wanted:
                yield wanted

    def _reader(self, connection: Connection) -> ReadCandles:
        async def read(interval: str, symbols: Sequence[str], first: datetime, last: datetime) -> list[StreamedCandle]:
            with self._deadline(connection):
                return await queries.stream_candles(connection, interval, symbols, first, last)

        return read

    def _deadline(self, connection: Connection) -> Deadline:
        return Deadline(connection, self._query_timeout)

    def _enter(self, state: str, level: int, text: str, *, exc_info: bool = False) -> None:
        """Log a change for the worse, once."""
        if state != self._state:
            logger.log(level, text, exc_info=exc_info)
        self._state = state
