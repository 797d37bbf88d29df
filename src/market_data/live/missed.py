"""What a client has missed, read again from the database."""

from collections.abc import AsyncGenerator, Callable
from functools import partial

from market_data import queries
from market_data.database import Database
from market_data.live.batches import LAST_LEVEL, ROWS, ReadCandles, candle_events, trade_events
from market_data.live.clients import Client
from market_data.live.events import EventId, Message, by_id, message

TOO_OLD = (
    "Events since the id that you gave have been deleted, for they are kept for an hour; read /trades and /candles for the "
    "time in between. The stream goes on from now."
)
UNKNOWN = "The id that you gave is not of this database; read /trades and /candles. The stream goes on from now."


async def missed(
    database: Database, client: Client, after: EventId, bound: Callable[[], EventId]
) -> AsyncGenerator[list[Message]]:
    """The messages that follow an id, up to a bound that may rise meanwhile; a gap first where they are not all there.

    Raises:
        DatabaseUnavailable: They can't be read.
    """
    reach = await database.read(queries.stream_reach)
    reason = ""
    if after > EventId.after(reach.last):
        reason = UNKNOWN
    elif after.position < reach.first and not reach.complete:
        reason = TOO_OLD
    if reason:
        after = bound()
        yield [message(client.transport, "gap", after, {"reason": reason})]
    client.begin(after)
    read: ReadCandles = partial(database.read, queries.stream_candles)
    while client.told < (end := bound()):
        rows = await database.read(
            queries.stream_events,
            client.told.position,
            # That row itself once more, for its candles may not have been told.
            client.told.number - (client.told.level < LAST_LEVEL),
            limit=ROWS,
            until=end.position,
            symbols=client.subscription.symbols,
        )
        events = [*trade_events(rows), *await candle_events(rows, client.subscription, read)]
        messages = [
            event.message(client.transport)
            for event in sorted(events, key=by_id)
            if client.told < event.id <= end and client.subscription.wants(event.channel, event.symbol)
        ]
        client.begin(EventId(rows[-1].position, rows[-1].number, LAST_LEVEL) if len(rows) == ROWS else end)
        if messages:
            yield messages
