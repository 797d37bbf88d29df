"""One who listens: what it has yet to be sent, which is bounded."""

import asyncio
from collections.abc import Sequence

from market_data.streaming.events import EventId, Message, Transport, message
from market_data.streaming.subscriptions import Subscription

MOST_PENDING = 4_000_000
"""Bytes that may wait for a client when there is more for it, besides what the sockets hold."""

PIECE = 32_768
"""Bytes that are sent at a time: the server copies them, for each client anew."""

TOO_SLOW = "You read too slowly; reconnect with the id of the last event, and you have missed nothing."


class Client:
    """Takes what it is sent, in order, in as few pieces as it is slow."""

    def __init__(self, transport: Transport, subscription: Subscription, key: int | None = None) -> None:
        """`key` is the id of the key that let it in."""
        self.transport: Transport = transport
        self.subscription = subscription
        self.key = key
        self.refused = False
        """Whether its key does not hold any more."""
        self.told = EventId(0, 0, 0)
        """Up to where it has been given its events."""
        self._sent = self.told
        """The id of the last message that has been taken."""
        self._pending: list[Message] = []
        self._size = 0
        self._ready = asyncio.Event()
        self._over = False

    @property
    def over(self) -> bool:
        """Whether nothing is to be sent any more but what waits."""
        return self._over

    @property
    def idle(self) -> bool:
        """Whether nothing waits for it."""
        return not self._pending

    def begin(self, at: EventId) -> None:
        """Say where its events begin."""
        self.told = self._sent = at

    def give(self, messages: Sequence[Message], told: EventId) -> bool:
        """Messages to be sent, and how far they lead; false where too much waits already: it is cut off."""
        if self._over:
            return True
        self.told = told
        if not messages:
            return True
        if self._size > MOST_PENDING:
            self._pending.clear()
            self.end(TOO_SLOW)
            return False
        self._size += sum(len(each.text) for each in messages)
        self._pending.extend(messages)
        self._ready.set()
        return True

    def end(self, reason: str) -> None:
        """Send what waits and then the reason, and nothing any more."""
        if not self._over:
            at = self._pending[-1].id if self._pending else self._sent
            self._pending.append(message(self.transport, "bye", at, {"reason": reason}))
        self.leave()

    def refuse(self, reason: str) -> None:
        """Send the reason, and nothing any more: not even what waits."""
        self.refused = True
        self._pending.clear()
        self._size = 0
        self.end(reason)

    def leave(self) -> None:
        """Nothing is sent any more but what waits."""
        self._over = True
        self._ready.set()

    async def take(self) -> list[Message]:
        """What waits, once there is something, up to a piece of so many bytes; nothing at the end."""
        await self._ready.wait()
        count = size = 0
        while count < len(self._pending) and size < PIECE:
            size += len(self._pending[count].text)
            count += 1
        taken = self._pending[:count]
        del self._pending[:count]
        self._size -= size
        if taken:
            self._sent = max(self._sent, taken[-1].id)
        if not self._pending and not self._over:
            self._ready.clear()
        return taken
