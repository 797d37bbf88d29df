"""One client of a stream and its bounded outgoing queue."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from market_data.queries.candles import SessionKind
from market_data.streaming.events import EventId, Message, Transport, encode
from market_data.streaming.subscriptions import Subscription

MAX_PENDING_BYTES = 4_000_000
"""Maximum of queued bytes, besides the sockets' buffers; a client above it is too slow and is disconnected."""

BATCH_BYTES = 32_768
"""Approximate size of a batch: the server copies each batch for each client."""

TOO_SLOW = "The client reads too slowly; reconnect with the id of the last event to continue without a gap."


class Client:
    """Messages for one client, in order."""

    def __init__(
        self, transport: Transport, subscription: Subscription, key_id: int | None = None, session: SessionKind = "all"
    ) -> None:
        """Create a client that was authenticated by the API key `key_id` or by none, and subscribes within sessions."""
        self.transport: Transport = transport
        self.subscription = subscription
        self.session: SessionKind = session
        self.key_id = key_id
        self.reconnectable = True
        """False if the same connection can't succeed again, because of its key."""
        self.finished = False
        """True if the stream has an end, and the client has received it."""
        self.delivered_up_to = EventId(0, 0, 0)
        """Id up to which all events of the subscription have been enqueued."""
        self._sent = self.delivered_up_to
        """Id of the last message returned by `next_batch`."""
        self._pending: list[Message] = []
        self._pending_bytes = 0
        self._ready = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        self.caught_up = asyncio.Event()
        """Set once the events missed before the connection are replayed, or at the end."""
        self.closed = False
        """True if no more messages are enqueued."""
        self.heartbeat_due = 0.0
        """Time of the event loop."""
        self.wake: Callable[[asyncio.Event], None] = asyncio.Event.set
        """Called with `_ready` when there are messages after a time without any; may set it later."""

    @property
    def idle(self) -> bool:
        """True if no messages are pending."""
        return not self._pending

    def start_at(self, event_id: EventId) -> None:
        """Deliver events after this id."""
        self.delivered_up_to = self._sent = event_id

    def enqueue(self, messages: Sequence[Message], delivered_up_to: EventId) -> bool:
        """Enqueue messages; if too many bytes are pending, drop them, end the stream and return False."""
        if self.closed:
            return True
        self.delivered_up_to = delivered_up_to
        if not messages:
            return True
        if self._pending_bytes > MAX_PENDING_BYTES:
            self._pending.clear()
            self.end(TOO_SLOW)
            return False
        if not self._pending:
            self.wake(self._ready)
        self._pending_bytes += sum(len(each.text) for each in messages)
        self._pending.extend(messages)
        self._drained.clear()
        return True

    def end(self, reason: str) -> None:
        """Close after the pending messages and a `bye` with the reason."""
        if not self.closed:
            last = self._pending[-1].id if self._pending else self._sent
            self._pending.append(encode(self.transport, "bye", last, {"reason": reason}))
        self.close()

    def disconnect(self, reason: str) -> None:
        """Drop the pending messages and close after a `bye` with the reason, because the key has ended."""
        self.reconnectable = False
        self._pending.clear()
        self._pending_bytes = 0
        self.end(reason)

    def close(self, *, reconnectable: bool = True) -> None:
        """Enqueue no more messages."""
        self.closed = True
        self.reconnectable &= reconnectable
        for event in (self._ready, self._drained, self.caught_up):
            event.set()

    async def wait(self, seconds: float) -> bool:
        """Wait until messages are pending or the client is closed, for a time; return False if neither is."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ready.wait()
        return self._ready.is_set()

    async def drained(self) -> None:
        """Wait until no messages are pending, or the client is closed."""
        await self._drained.wait()

    async def next_batch(self) -> list[Message]:
        """Wait for messages and return about `BATCH_BYTES` of them; return an empty list at the end."""
        await self._ready.wait()
        count = size = 0
        while count < len(self._pending) and size < BATCH_BYTES:
            size += len(self._pending[count].text)
            count += 1
        batch = self._pending[:count]
        del self._pending[:count]
        self._pending_bytes -= size
        if batch:
            self._sent = max(self._sent, batch[-1].id)
        if not self._pending and not self.closed:
            self._ready.clear()
            self._drained.set()
        return batch
