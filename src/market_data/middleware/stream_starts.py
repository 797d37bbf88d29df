"""Start of streams, of which thousands may come at once after a restart, so that prices do not wait for them."""

import gc
import time
from typing import Final

from litestar.types import ASGIApp, Receive, Scope, Send

from market_data.streaming.turns import Turns

STREAMS: Final = frozenset({"/stream", "/ws"})
"""Paths of streams. WebSockets of other paths are streams, too."""

PER_ITERATION: Final = 2
"""Streams that start in one iteration of the event loop: each takes about half a millisecond."""

FROZEN_TOGETHER: Final = 50
"""Streams after which all objects are exempted from garbage collection: they are collected in about 3 ms before."""

BURST_SECONDS: Final = 5.0
"""Time in which so many must start. Otherwise, collections are rare enough, and what is garbage later is collected, too."""

FEW: Final = 100
"""Open streams below which all objects are collected again, in about 50 ms: some that were in use are garbage now."""


class StreamStarts:
    """Let streams start in turns, and exempt the objects of many streams from garbage collection.

    A full collection visits the hundreds of objects of each stream: it takes more than a second with ten thousand streams,
    and while they start, it runs again and again. A stream that ends leaves no cycles, so its objects need no collection.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._turns = Turns(PER_ITERATION)
        self._open = 0
        self._started = 0
        self._burst_began = 0.0
        self._is_frozen = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket" and scope["path"] not in STREAMS:
            await self.app(scope, receive, send)
            return
        await self._turns.next()
        self._freeze_after_burst()
        self._open += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._open -= 1
            if self._is_frozen and self._open < FEW:
                self._is_frozen = False
                gc.unfreeze()
                gc.collect()
                gc.freeze()  # those of the start again

    def _freeze_after_burst(self) -> None:
        self._started += 1
        if self._started < FROZEN_TOGETHER:
            return
        now, began = time.monotonic(), self._burst_began
        self._started, self._burst_began = 0, now
        if now - began < BURST_SECONDS:
            gc.collect()
            gc.freeze()
            self._is_frozen = True
