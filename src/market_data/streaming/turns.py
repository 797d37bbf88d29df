"""Turns of streams, so that thousands with something to do at once hold up no price.

The event loop runs everything that is ready before it looks for new requests: ten thousand streams that get the same trade,
or return after a restart, would take it for a second or more. With turns, a few streams run in each iteration of the loop,
in the order in which they asked.
"""

import asyncio
from collections import deque


class Turns:
    """Sets `per_iteration` events in each iteration of the event loop."""

    def __init__(self, per_iteration: int) -> None:
        self._per_iteration = per_iteration
        self._waiting: deque[asyncio.Event] = deque()

    def add(self, turn: asyncio.Event) -> None:
        """Set an event when its turn has come. Nobody needs to wait for it any more."""
        self._waiting.append(turn)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._take)

    async def next(self) -> None:
        """Wait for a turn."""
        turn = asyncio.Event()
        self.add(turn)
        await turn.wait()

    def _take(self) -> None:
        for _ in range(min(self._per_iteration, len(self._waiting))):
            self._waiting.popleft().set()
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._take)
