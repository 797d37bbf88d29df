"""What a client has missed, read again from the database."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from functools import partial

from market_data.database.pool import Database
from market_data.queries.stream import read_stream_candles, read_stream_events, read_stream_range
from market_data.streaming.clients import Client
from market_data.streaming.event_batches import LAST_LEVEL, ROWS, ReadCandles, candle_events, end_of, trade_events
from market_data.streaming.events import EventId, Message, by_id, message

POSITIONS = 20_000
"""That are looked through at a time, for what a client wants may be rare."""

TOO_OLD = (
    "Events since the id that you gave have been deleted, for they are kept for an hour; read /trades and /candles for the "
    "time in between. The stream goes on from now."
)
UNKNOWN = "The id that you gave is not of this database; read /trades and /candles. The stream goes on from now."


async def missed(
    database: Database, client: Client, bound: Callable[[], EventId], turns: asyncio.Semaphore
) -> AsyncGenerator[list[Message]]:
    """The messages that follow what a client has been told, up to a bound that may rise meanwhile.

    Where they are not all there any more, a gap. `turns` are what all clients share, so that many who come at once leave the
    requests some connections.

    Raises:
        DatabaseUnavailable: They can't be read.
    """
    read: ReadCandles = partial(database.read, read_stream_candles)
    async with turns:
        reach = await database.read(read_stream_range)
    if client.told > EventId.after(reach.last):
        yield [_gap(client, bound(), UNKNOWN)]
    while not client.over and client.told < (end := bound()):
        until = min(end.position, client.told.position + POSITIONS)
        async with turns:
            rows = await database.read(
                read_stream_events,
                client.told.position,
                # That row itself once more, for its candles may not have been told.
                client.told.number - (client.told.level < LAST_LEVEL),
                limit=ROWS,
                until=until,
                symbols=client.subscription.symbols,
            )
            events = [*trade_events(rows), *await candle_events(rows, client.subscription, read)]
            reach = await database.read(read_stream_range)
        if client.over:
            return
        if client.told.position < reach.first and not reach.complete:
            yield [_gap(client, bound(), TOO_OLD)]
            continue
        whole = end_of(rows[-1]) if len(rows) == ROWS else EventId.after(until)
        reached = min(whole, end)  # what lies beyond is for those who have caught up
        messages = [
            event.message(client.transport)
            for event in sorted(events, key=by_id)
            if client.told < event.id <= reached and client.subscription.wants(event.channel, event.symbol)
        ]
        client.begin(reached)
        if messages:
            yield messages


def _gap(client: Client, at: EventId, reason: str) -> Message:
    """Have a client go on from another place, and tell it so."""
    client.begin(at)
    return message(client.transport, "gap", at, {"reason": reason})
