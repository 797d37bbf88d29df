"""Replay of missed events."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import date, datetime
from typing import NamedTuple

from market_data.database.coalescing import RequestCoalescer
from market_data.database.pool import Database
from market_data.errors import Gone
from market_data.names import NO_NAMES, Names
from market_data.queries.candles import SessionKind
from market_data.queries.intervals import INTERVALS
from market_data.queries.market_schedules import MarketSchedule, read_market_schedules
from market_data.queries.revisions import SymbolRevisions, read_stream_revisions
from market_data.queries.schedules import BucketTimes
from market_data.queries.stream import (
    StreamedCandle,
    StreamRange,
    read_session_candle,
    read_stream_candles,
    read_stream_events,
    read_stream_range,
)
from market_data.streaming.changed_events import changed_events
from market_data.streaming.clients import Client
from market_data.streaming.event_batches import LAST_LEVEL, PAGE_ROWS, end_of, row_events
from market_data.streaming.events import Event, EventId, Message, by_id, encode
from market_data.streaming.recent_rows import RecentRows
from market_data.streaming.session_events import SessionReads
from market_data.streaming.subscriptions import Subscription

MAX_VERSIONS = 20_000
"""Commits scanned by one read: events of the subscription may be rare among them."""

CandleKey = tuple[str, tuple[str, ...], datetime, datetime]
"""Interval, symbols, and first and last bucket of candles."""

ScheduleKey = tuple[tuple[str, ...], date, date]
"""Symbols, and the first and the last day of their sessions."""

SessionCandleKey = tuple[str, str, BucketTimes, SessionKind]
"""Symbol, interval and bucket of a candle, and its sessions."""

TOO_OLD = (
    "Events after the given id have been deleted, because they are kept for an hour; read /trades and /candles for the time "
    "since. The stream continues from now."
)
UNKNOWN_ID = "The given id is not of this database; read /trades and /candles. The stream continues from now."


class MissedPage(NamedTuple):
    """Events after the position of a client."""

    events: list[Event]
    reached: EventId
    """Id up to which these are all."""
    is_complete: bool
    """False if some of them have been deleted."""


class MissedEvents:
    """Reads the events that clients have missed: from the rows that a worker keeps, else from the database.

    All clients share a few `slots`, so that replays leave connections to requests, and read the same candles once.
    """

    def __init__(self, database: Database, recent: RecentRows, slots: int, names: Names = NO_NAMES) -> None:
        self.names = names
        self._database = database
        self._recent = recent
        self._slots = asyncio.Semaphore(slots)
        self._ranges = RequestCoalescer[None](self._read_range)
        self._candles = RequestCoalescer[CandleKey](self._read_candles)
        self._session_candles = RequestCoalescer[SessionCandleKey](self._read_session_candle)
        self._schedules = RequestCoalescer[ScheduleKey](self._read_schedules)
        self.reads = SessionReads(self.read_candles, self._read_schedules_of, self._read_session_candle_of)
        """For the hub, which waits for no slot."""
        self._shared_reads = SessionReads(self._candles_of, self._schedules_of, self._session_candle_of)

    async def range(self) -> StreamRange:
        """Return the versions between which the stream can be read."""
        return await self._ranges.get(None)

    async def page(self, client: Client, end: EventId) -> MissedPage:
        """Return the next events of a client, at most up to an id."""
        since = client.delivered_up_to
        # The row itself again if its candles have not been delivered yet.
        position = since.version, since.number - (since.level < LAST_LEVEL)
        symbols = client.subscription.symbols
        rows, reached = self._recent.between(*position, end), end
        is_kept = rows is not None
        if rows is None:
            until = min(end.version, since.version + MAX_VERSIONS)
            async with self._slots:
                rows = await self._database.read(
                    read_stream_events, *position, limit=PAGE_ROWS, until=until, symbols=symbols
                )
            page_end = end_of(rows[-1]) if len(rows) == PAGE_ROWS else EventId.after(until)
            reached = min(page_end, end)
        # The hub publishes the rows beyond. Merged with one of them, a change would have its id and be left out here.
        rows = [
            row for row in rows if (symbols is None or row.symbol in symbols) and (row.version, row.number, 0) <= reached
        ]
        changes = await changed_events(rows, client.subscription, self._shared_reads, self.read_revisions)
        events = [*row_events(rows), *changes]
        return MissedPage(events, reached, is_kept or since.version >= (await self.range()).first)

    async def read_revisions(self, rows: Sequence[tuple[int, str, int]]) -> list[SymbolRevisions]:
        """Return the revisions by rows; none of those that need trades that retention has dropped meanwhile."""
        async with self._slots:
            try:
                return await self._database.read(read_stream_revisions, rows, [*INTERVALS])
            except Gone:
                return []

    async def read_candles(
        self, interval: str, symbols: Sequence[str], first: datetime, last: datetime
    ) -> list[StreamedCandle]:
        """Return the candles of some symbols whose buckets start in a closed range."""
        return await self._database.read(read_stream_candles, interval, symbols, first, last)

    async def _candles_of(
        self, interval: str, symbols: Sequence[str], first: datetime, last: datetime
    ) -> list[StreamedCandle]:
        return await self._candles.get((interval, tuple(symbols), first, last))

    async def _read_candles(self, key: CandleKey) -> list[StreamedCandle]:
        async with self._slots:
            return await self.read_candles(*key)

    async def _read_schedules_of(self, symbols: Sequence[str], first: date, last: date) -> list[MarketSchedule]:
        return await self._database.read(read_market_schedules, symbols, first, last)

    async def _schedules_of(self, symbols: Sequence[str], first: date, last: date) -> list[MarketSchedule]:
        return await self._schedules.get((tuple(symbols), first, last))

    async def _read_schedules(self, key: ScheduleKey) -> list[MarketSchedule]:
        async with self._slots:
            return await self._read_schedules_of(*key)

    async def _read_session_candle_of(self, *key: *SessionCandleKey) -> StreamedCandle | None:
        return await self._database.read(read_session_candle, *key)

    async def _session_candle_of(self, *key: *SessionCandleKey) -> StreamedCandle | None:
        return await self._session_candles.get(key)

    async def _read_session_candle(self, key: SessionCandleKey) -> StreamedCandle | None:
        async with self._slots:
            return await self._read_session_candle_of(*key)

    async def _read_range(self, _: None) -> StreamRange:
        async with self._slots:
            return await self._database.read(read_stream_range)


async def replay(
    missed: MissedEvents, client: Client, published_up_to: Callable[[], EventId]
) -> AsyncGenerator[list[Message]]:
    """Yield the messages after `client.delivered_up_to`, until it reaches `published_up_to`, which may advance meanwhile.

    Yields a gap if events have been deleted.

    Raises:
        DatabaseUnavailable: The events can't be read.
    """
    if client.delivered_up_to > published_up_to() and (
        client.delivered_up_to > EventId.after((await missed.range()).last.version)
    ):
        yield [_gap(client, published_up_to(), UNKNOWN_ID)]
    while not client.closed and client.delivered_up_to < (end := published_up_to()):
        since = client.delivered_up_to
        events, reached, is_complete = await missed.page(client, end)
        if client.closed:
            return
        if not is_complete:
            yield [_gap(client, published_up_to(), TOO_OLD)]
            continue
        messages = [
            event.message(client.transport, missed.names)
            for event in sorted(events, key=by_id)
            if since < event.id <= reached and client.subscription.includes(event.channel, event.symbol)
        ]
        client.start_at(reached)
        if messages:
            yield messages


async def enqueue_missed(
    missed: MissedEvents, client: Client, added: Subscription, after: EventId, published_up_to: Callable[[], EventId]
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
        other = Client(client.transport, added)
        other.start_at(after)
        async for messages in replay(missed, other, lambda: reached):
            client.enqueue(messages, other.delivered_up_to)
            await client.drained()
            if client.closed:
                return
        client.start_at(reached)
        # An id that was received from a worker that is ahead of this one.
        await _enqueue_replayed(missed, client, lambda: other.delivered_up_to)
    client.subscription |= added
    await _enqueue_replayed(missed, client, published_up_to)


async def _enqueue_replayed(missed: MissedEvents, client: Client, published_up_to: Callable[[], EventId]) -> None:
    async for messages in replay(missed, client, published_up_to):
        client.enqueue(messages, client.delivered_up_to)
        await client.drained()


def _gap(client: Client, event_id: EventId, reason: str) -> Message:
    """Skip to an id, and return the message that says so."""
    client.start_at(event_id)
    return encode(client.transport, "gap", event_id, {"reason": reason})
