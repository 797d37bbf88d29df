"""Revisions as events: one for each version and symbol, with the changes of closed candles of all intervals."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Final

import msgspec

from market_data.models_revisions import Revision, RevisionEvent
from market_data.queries.intervals import INTERVALS
from market_data.queries.revisions import SymbolRevisions
from market_data.queries.stream import StreamRow
from market_data.streaming.event_batches import REVISION_LEVEL
from market_data.streaming.events import Event, EventId
from market_data.streaming.subscriptions import REVISIONS, Subscription

MAX_REVISIONS: Final = 1000
"""Changes of an interval in an event; more of them are a `reload`, so that no message becomes too large."""

ReadRevisions = Callable[[Sequence[tuple[int, str, int]]], Awaitable[list[SymbolRevisions]]]
"""Reads the revisions by versions and symbols, with the number of the last row that was read of each."""


async def revision_events(rows: Sequence[StreamRow], wanted: Subscription, read: ReadRevisions) -> list[Event]:
    """Return the revisions by the rows that are subscribed to."""
    numbers = {
        (row.version, row.symbol): row.number
        for row in rows
        if row.kind == "trade" and wanted.includes(REVISIONS, row.symbol)
    }
    if not numbers:
        return []
    return [revision_event(found) for found in await read([(*key, number) for key, number in numbers.items()])]


def revision_event(found: SymbolRevisions) -> Event:
    """Return the revisions of a symbol by a version as an event."""
    revisions: list[Revision] = []
    for _, group in groupby(found.revisions, attrgetter("interval")):
        changes = list(group)
        revisions += changes if len(changes) <= MAX_REVISIONS else [_reload(changes)]
    data = msgspec.json.encode(RevisionEvent(found.symbol, found.version, revisions)).decode()
    return Event(EventId(found.version, found.number, REVISION_LEVEL), "revision", REVISIONS, found.symbol, data)


def _reload(changes: Sequence[Revision]) -> Revision:
    """Return one entry for the range of many changes of an interval."""
    first, last = changes[0], changes[-1]
    assert isinstance(first.timestamp, datetime) and isinstance(last.timestamp, datetime)  # noqa: S101, PT018 (of a candle)
    return Revision(
        symbol=first.symbol,
        interval=first.interval,
        version=first.version,
        changed_at=first.changed_at,
        cause="reload",
        start=first.timestamp,
        end=last.timestamp + INTERVALS[first.interval],
        actor=first.actor,
        reason=first.reason,
    )
