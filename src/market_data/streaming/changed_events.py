"""Events that need further reads: candles, revisions, and those of trading sessions."""

from collections.abc import Sequence

from market_data.queries.stream import StreamRow
from market_data.streaming.event_batches import candle_events
from market_data.streaming.events import Event
from market_data.streaming.revision_events import ReadRevisions, revision_events
from market_data.streaming.session_events import SessionReads, session_events
from market_data.streaming.subscriptions import Subscription


async def changed_events(
    rows: Sequence[StreamRow], wanted: Subscription, reads: SessionReads, read_revisions: ReadRevisions
) -> list[Event]:
    """Return the candles that the rows changed, the revisions, and the events of sessions, if subscribed to."""
    candles = await candle_events(rows, wanted, reads.candles)
    of_sessions = await session_events(rows, wanted, reads)
    return [*candles, *of_sessions, *await revision_events(rows, wanted, read_revisions)]
