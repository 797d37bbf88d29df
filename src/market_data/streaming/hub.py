"""The hub of one worker: reads commits from the database, and publishes their events to the subscribed clients.

Its connection listens to NOTIFY, and reads all commits since its last read; the notification is only a wake-up, so a lost
one or an unavailable database delays events and loses none.

A separate task reads candles, on a connection of the pool: an open minute with a hundred thousand trades takes a tenth of
a second, during which clients of trades must get further ones. So there are two positions: up to the first trades are
published, up to the second trades and candles.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from functools import partial

import psycopg

from market_data.database.connection import Connection, Deadline, connect
from market_data.database.pool import Database
from market_data.errors import DatabaseUnavailable, first_line
from market_data.names import NO_NAMES, Names
from market_data.queries.names import NAMES_CHANNEL, listen_to_names, read_names
from market_data.queries.stream import (
    Commit,
    StreamRange,
    StreamRow,
    advance_stream,
    listen_to_stream,
    read_stream_events,
    read_stream_range,
)
from market_data.settings import Settings
from market_data.streaming.changed_events import changed_events
from market_data.streaming.clients import Client
from market_data.streaming.connected import ConnectedClients
from market_data.streaming.disconnections import AWAY, REPLACED
from market_data.streaming.event_batches import PAGE_ROWS, end_of, row_events
from market_data.streaming.events import EventId, Message, Transport, by_id, first_heartbeat, heartbeat
from market_data.streaming.history import History
from market_data.streaming.recent_rows import RecentRows
from market_data.streaming.replay import MissedEvents, enqueue_missed, replay
from market_data.streaming.subscribers import Subscribers
from market_data.streaming.subscriptions import Subscription, union

logger = logging.getLogger(__name__)

MAX_AWAITING_ROWS = 20 * PAGE_ROWS
"""Rows that may wait for their candles; the hub reads no further ones meanwhile."""

ADVANCE_SECONDS = 1.0
"""Seconds between two checks for closed and late candles."""

HEARTBEAT_SECONDS = 10.0

KEEP_SECONDS = 60.0
"""Time for which a worker reads events without any client, because its clients may be about to return."""

MIN_BACKOFF, MAX_BACKOFF = 0.1, 2.0
"""Seconds between two attempts to reach a lost database, doubled each time."""

UNAVAILABLE = "The stream is not available because the database can't be reached; try again in a moment."


class Hub:
    """Run `run()` as a task; serve each client with `messages`."""

    def __init__(self, database_url: str, settings: Settings, database: Database, names: Names | None = None) -> None:
        """Events show the present ones of `names`, which the hub keeps up to date."""
        self._database_url = database_url
        self._query_timeout = settings.query_timeout_seconds
        self._database = database
        self._ready_timeout = settings.pool_timeout_seconds
        self._recent = RecentRows()
        self._names = names
        shown = NO_NAMES if names is None else names
        self._missed = MissedEvents(database, self._recent, max(1, settings.pool_size // 2), shown)
        self._trades_published_up_to = EventId(0, 0, 0)
        self._all_published_up_to = EventId(0, 0, 0)
        """Id up to which trades and candles have been published."""
        self._awaiting_candles: list[StreamRow] = []
        """Rows between the two."""
        self._history = History(settings.query_timeout_seconds)
        self._candle_task: asyncio.Task[None] | None = None
        self._candle_batch_rows = MAX_AWAITING_ROWS
        self._had_clients_at = 0.0
        self._ready = asyncio.Event()
        self._state = "starting"
        self._subscribers = Subscribers(shown)
        self.clients = ConnectedClients()

    async def run(self) -> None:
        """Follow the database until cancelled; reconnect whenever it is lost."""
        try:
            await self._follow_with_retry()
        finally:
            self._cancel_candle_task()

    async def _follow_with_retry(self) -> None:
        backoff = MIN_BACKOFF
        while True:
            try:
                async with await connect(self._database_url, self._query_timeout) as connection:
                    await self._begin(connection)
                    backoff = MIN_BACKOFF
                    await self._follow(connection)
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                self._enter("lost", logging.WARNING, f"streams lost the database, retrying: {first_line(error)}")
            except Exception:  # a bug must not end the streams, and must be logged
                self._enter("failed", logging.ERROR, "streams failed, retrying", exc_info=True)
            self._ready.clear()
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, MAX_BACKOFF)

    async def wait_until_ready(self) -> None:
        """Wait until the hub follows the database, for at most the pool time-out.

        Raises:
            DatabaseUnavailable: It does not.
        """
        if self._ready.is_set():
            return
        try:
            async with asyncio.timeout(self._ready_timeout):
                await self._ready.wait()
        except TimeoutError:
            raise DatabaseUnavailable(UNAVAILABLE) from None
        await self._subscribers.deliveries.next()  # not all at once

    async def messages(self, client: Client, after: EventId | None = None) -> AsyncGenerator[list[Message]]:
        """Yield a client's messages until it is closed: a heartbeat, the events after an id, another heartbeat, new events.

        Raises:
            DatabaseUnavailable: The missed events can't be read.
        """
        client.wake = self._subscribers.deliveries.add
        client.start_at(after or self._published_up_to(client))
        with self.clients.connected(client):
            try:
                if after and not client.closed:
                    yield [first_heartbeat(client.transport, after)]
                    async for messages in replay(self._missed, client, partial(self._published_up_to, client)):
                        yield messages
                self._publish_to(client, heartbeat if after else first_heartbeat)
                while batch := await client.next_batch():
                    yield batch
            finally:
                self._subscribers.remove(client)

    async def resume(self, client: Client, added: Subscription, after: EventId) -> None:
        """Add to a client's subscription, and send it the events of the added one after an id before any newer ones.

        Raises:
            DatabaseUnavailable: The missed events can't be read.
        """
        await client.caught_up.wait()
        self._subscribers.remove(client)
        await enqueue_missed(self._missed, client, added, after, partial(self._published_up_to, client))
        if not client.closed:
            self._publish_to(client)

    def _publish_to(self, client: Client, beat: Callable[[Transport, EventId], Message] = heartbeat) -> None:
        """Publish to a client from now on. No await since the end of its replay: it must not miss a publication."""
        self._subscribers.add(client)
        client.enqueue([beat(client.transport, client.delivered_up_to)], client.delivered_up_to)
        client.caught_up.set()

    def subscribe(self, client: Client, subscription: Subscription) -> None:
        """Replace a client's subscription."""
        if not self._subscribers.remove(client):
            client.subscription = subscription
            return
        if client.subscription.candles and not subscription.candles:
            # Deliver the trades and reloads that have waited for the candles before them.
            self._subscribers.add(client)
            waiting = [event for event in row_events(self._awaiting_candles) if event.id > client.delivered_up_to]
            wanted = [each for each in waiting if client.subscription.includes(each.channel, each.symbol)]
            messages = [event.message(client.transport, self._subscribers.names) for event in wanted]
            self._subscribers.enqueue(client, messages, max(client.delivered_up_to, self._trades_published_up_to))
            if not self._subscribers.remove(client):
                return
        client.subscription = subscription
        self._subscribers.add(client)

    def _published_up_to(self, client: Client) -> EventId:
        """Id up to which clients with this kind of subscription have received events."""
        return self._all_published_up_to if client.subscription.candles else self._trades_published_up_to

    async def _begin(self, connection: Connection) -> None:
        with self._deadline(connection):
            await listen_to_stream(connection)
            if self._names is not None:
                await listen_to_names(connection)
                self._names.replace(await read_names(connection))
        is_lost = await self._history.is_lost(connection)
        read_range = partial(self._read_range, connection)
        stream_range = await read_range()
        last = EventId.after(stream_range.last.version)
        is_away = self._trades_published_up_to.version < stream_range.first
        reason = REPLACED if is_lost else AWAY if is_away else ""
        if reason:
            self._cancel_candle_task()
            self.clients.end(reason)
        if reason or self._state == "starting":
            self._trades_published_up_to = self._all_published_up_to = last
            self._history.newest = stream_range.last
            self._awaiting_candles.clear()
            self._had_clients_at = asyncio.get_running_loop().time()
            await self._recent.load(partial(self._read_rows, connection), read_range, stream_range)
        if self._state != "starting":
            logger.info("streams follow the database again")
        self._state = "following"

    async def _follow(self, connection: Connection) -> None:
        """Publish commits as they happen."""
        loop = asyncio.get_running_loop()
        next_advance = loop.time()
        while True:
            if loop.time() >= next_advance:
                with self._deadline(connection):
                    await advance_stream(connection)
                next_advance = loop.time() + ADVANCE_SECONDS
            more = True
            while more:
                more = await self._publish_page(connection)
                self._subscribers.send_heartbeats(HEARTBEAT_SECONDS)
            self._ready.set()
            names_changed = False
            async for notice in connection.notifies(timeout=max(0, next_advance - loop.time()), stop_after=1):
                names_changed |= self._names is not None and notice.channel == NAMES_CHANNEL
            if self._names is not None and names_changed:
                with self._deadline(connection):
                    self._names.replace(await read_names(connection))

    async def _publish_page(self, connection: Connection) -> bool:
        """Publish the next page of trades; return True if there are more."""
        now = asyncio.get_running_loop().time()
        if self._subscribers:
            self._had_clients_at = now
        if now > self._had_clients_at + KEEP_SECONDS and not self._subscribers and not self._awaiting_candles:
            last = (await self._read_range(connection)).last
            # A client that subscribed meanwhile must get these commits.
            if not self._subscribers:
                self._history.newest = last
                skipped_to = max(self._trades_published_up_to, EventId.after(last.version))
                self._trades_published_up_to = self._all_published_up_to = skipped_to
                self._recent.start_after(skipped_to)
                return False
        rows: list[StreamRow] = []
        if len(self._awaiting_candles) < MAX_AWAITING_ROWS:
            since = self._trades_published_up_to
            rows = await self._read_rows(connection, since.version, since.number)
            # Only then may events between have been deleted before they were read.
            if rows and rows[0].version > since.version and since.version < (await self._read_range(connection)).first:
                await self._begin(connection)
                return True
        more = len(rows) == PAGE_ROWS
        if rows:
            end = end_of(rows[-1]) if more else EventId.after(rows[-1].version)
            self._subscribers.publish(row_events(rows), self._trades_published_up_to, end, candles=False)
            self._trades_published_up_to = end
            self._recent.add(rows, end)
            self._history.newest = Commit(rows[-1].version, rows[-1].committed_at)
            self._awaiting_candles += rows
        self._ensure_candle_task()
        return more

    async def _read_range(self, connection: Connection) -> StreamRange:
        with self._deadline(connection):
            return await read_stream_range(connection)

    async def _read_rows(
        self, connection: Connection, version: int, number: int, *, until: int | None = None
    ) -> list[StreamRow]:
        with self._deadline(connection):
            return await read_stream_events(connection, version, number, limit=PAGE_ROWS, until=until)

    def _ensure_candle_task(self) -> None:
        """Start the task that publishes candles if rows wait for it; drop the rows if no client wants candles."""
        if self._candle_task:
            if not self._candle_task.done():
                return
            ended, self._candle_task = self._candle_task, None
            ended.result()
        if not self._subscribers.has_candles:
            self._awaiting_candles.clear()
            self._all_published_up_to = self._trades_published_up_to
        elif self._awaiting_candles:
            self._candle_task = asyncio.create_task(self._publish_candles(), name="candles")

    def _cancel_candle_task(self) -> None:
        if self._candle_task:
            self._candle_task.cancel()
            self._candle_task = None

    async def _publish_candles(self) -> None:
        """Publish the waiting rows with their candles until none are left."""
        while self._awaiting_candles:
            rows, end = self._awaiting_candles[: self._candle_batch_rows], self._trades_published_up_to
            if len(rows) < len(self._awaiting_candles):
                end = end_of(rows[-1])
            wanted = self._subscribers.subscription(candles=True)
            try:
                changes = await changed_events(rows, wanted, self._missed.reads, self._missed.read_revisions)
            except DatabaseUnavailable:  # the next attempt reads fewer, in case this was too much
                self._candle_batch_rows = max(1, len(rows) // 2)
                return
            self._candle_batch_rows = min(2 * self._candle_batch_rows, MAX_AWAITING_ROWS)
            if union([wanted, self._subscribers.subscription(candles=True)]) != wanted:
                continue  # a client subscribed to other candles meanwhile
            events = sorted([*row_events(rows), *changes], key=by_id)
            self._subscribers.publish(events, self._all_published_up_to, end, candles=True)
            self._all_published_up_to = end
            del self._awaiting_candles[: len(rows)]

    def _deadline(self, connection: Connection) -> Deadline:
        return Deadline(connection, self._query_timeout)

    def _enter(self, state: str, level: int, message: str, *, exc_info: bool = False) -> None:
        """Set the state, and log it if it is new."""
        if state != self._state:
            logger.log(level, message, exc_info=exc_info)
        self._state = state
