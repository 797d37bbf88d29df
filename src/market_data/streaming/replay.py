"""Replay of missed events from the database."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from functools import partial

from market_data.database.pool import Database
from market_data.queries.stream import read_stream_candles, read_stream_events, read_stream_range
from market_data.streaming.clients import Client
from market_data.streaming.event_batches import LAST_LEVEL, PAGE_ROWS, ReadCandles, candle_events, end_of, row_events
from market_data.streaming.events import EventId, Message, by_id, encode
from market_data.streaming.subscriptions import Subscription

MAX_VERSIONS = 20_000
"""Commits scanned by one read: events of the subscription may be rare among them."""

TOO_OLD = (
    "Events after the given id have been deleted, because they are kept for an hour; read /trades and /candles for the time "
    "since. The stream continues from now."
)
UNKNOWN_ID = "The given id is not of this database; read /trades and /candles. The stream continues from now."


async def replay(
    database: Database, client: Client, published_up_to: Callable[[], EventId], slots: asyncio.Semaphore
) -> AsyncGenerator[list[Message]]:
    """Yield the messages after `client.delivered_up_to`, until it reaches `published_up_to`, which may advance meanwhile.

    Yields a gap if events have been deleted. All clients share the `slots`, so that replays leave connections to requests.

    Raises:
        DatabaseUnavailable: The events can't be read.
    """
    read: ReadCandles = partial(database.read, read_stream_candles)
    async with slots:
        stream_range = await database.read(read_stream_range)
    if client.delivered_up_to > EventId.after(stream_range.last):
        yield [_gap(client, published_up_to(), UNKNOWN_ID)]
    while not client.closed and client.delivered_up_to < (end := published_up_to()):
        since = client.delivered_up_to
        until = min(end.version, since.version + MAX_VERSIONS)
        async with slots:
            rows = await database.read(
                read_stream_events,
                since.version,
                # The row itself again if its candles have not been delivered yet.
                since.number - (since.level < LAST_LEVEL),
                limit=PAGE_ROWS,
                until=until,
                symbols=client.subscription.symbols,
            )
            page_end = end_of(rows[-1]) if len(rows) == PAGE_ROWS else EventId.after(until)
            reached = min(page_end, end)
            # The hub publishes the rows beyond. Merged with one of them, a change would have its id and be left out here.
            rows = [row for row in rows if EventId(row.version, row.number, 0) <= reached]
            events = [*row_events(rows), *await candle_events(rows, client.subscription, read)]
            stream_range = await database.read(read_stream_range)
        if client.closed:
            return
        if since.version < stream_range.first:
            yield [_gap(client, published_up_to(), TOO_OLD)]
            continue
        messages = [
            event.message(client.transport)
            for event in sorted(events, key=by_id)
            if since < event.id <= reached and client.subscription.includes(event.channel, event.symbol)
        ]
        client.start_at(reached)
        if messages:
            yield messages


async def enqueue_missed(
    database: Database,
    client: Client,
    added: Subscription,
    after: EventId,
    published_up_to: Callable[[], EventId],
    slots: asyncio.Semaphore,
) -> None:
    """Add to the subscription of a client that receives no publications meanwhile, and enqueue the events that it missed.

    The first are those of `added` after an id, up to the position that the client had reached with its other subscriptions.

    Raises:
        DatabaseUnavailable: The events can't be read.
    """
    await client.drained()
    reached = client.delivered_up_to
    if not client.subscription.items:
        client.start_at(after)
    else:
        missed = Client(client.transport, added)
        missed.start_at(after)
        async for messages in replay(database, missed, lambda: reached, slots):
            client.enqueue(messages, missed.delivered_up_to)
            await client.drained()
            if client.closed:
                return
        client.start_at(reached)
        # An id that was received from a worker that is ahead of this one.
        await _enqueue_replayed(database, client, lambda: missed.delivered_up_to, slots)
    client.subscription |= added
    await _enqueue_replayed(database, client, published_up_to, slots)


async def _enqueue_replayed(
    database: Database, client: Client, published_up_to: Callable[[], EventId], slots: asyncio.Semaphore
) -> None:
    async for messages in replay(database, client, published_up_to, slots):
        client.enqueue(messages, client.delivered_up_to)
        await client.drained()


def _gap(client: Client, event_id: EventId, reason: str) -> Message:
    """Skip to an id, and return the message that says so."""
    client.start_at(event_id)
    return encode(client.transport, "gap", event_id, {"reason": reason})
