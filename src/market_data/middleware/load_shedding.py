"""Load shedding: reject requests that would wait too long in the queue of this worker.

Otherwise, once requests arrive faster than a worker can answer them, each request waits longer than the previous one, until
every response is too late. A worker runs one request at a time, so a new request waits for the processor time of all
requests in flight. That time is measured while there are many requests.
"""

import logging
import time
from collections.abc import Awaitable
from typing import Final

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from market_data.errors import Overloaded
from market_data.middleware.asgi import reject
from market_data.middleware.stream_starts import STREAMS
from market_data.telemetry.logging import ThrottledWarning

logger = logging.getLogger(__name__)

MAX_QUEUE_SECONDS: Final = 0.1
"""Maximum processor time that a request waits for."""

MIN_CONCURRENT: Final = 32
"""Requests below this number are always admitted."""

SAMPLE_SIZE: Final = 32
"""Requests that are measured together, if they arrive within `SAMPLE_SECONDS`: a longer sample contains other work."""
SAMPLE_SECONDS: Final = 1.0

REJECTION_WEIGHT: Final = 1 / 6
"""Processor time of a rejection, relative to a small read."""

NEVER_SHED: Final = frozenset({"/health", "/health/live", "/health/ready", "/metrics"})
"""Health checks and metrics must work under overload."""


class LoadShedder:
    """Reject requests (503) once the queue of this worker would take longer than `MAX_QUEUE_SECONDS` of processor time.

    Streams pass: they have waited for their turn (`StreamStarts`), and an EventSource does not retry after a 503.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._in_flight = 0
        """Requests whose responses have not begun."""
        self._warning = ThrottledWarning(logger)
        self._request_seconds = 0.0
        self._weight = 0.0
        self._sampled_at = self._processor_at = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in STREAMS:
            await self.app(scope, receive, send)
            return
        if not self.admits(self._in_flight) and scope["path"] not in NEVER_SHED:
            self._warning.count(f"{self._in_flight} in flight")
            error = Overloaded("There are more requests than can be answered soon; try again in a moment.")
            await reject(scope, receive, send, error)
            return
        is_waiting = True

        def observed_send(message: Message) -> Awaitable[None]:
            nonlocal is_waiting
            if is_waiting and message["type"] == "http.response.start":
                is_waiting = False
                self._in_flight -= 1
            return send(message)

        self._in_flight += 1
        try:
            await self.app(scope, receive, observed_send)
        finally:
            if is_waiting:
                self._in_flight -= 1

    def admits(self, in_flight: int) -> bool:
        """Return True if one more request will be answered soon, and count it for the measurement."""
        admitted = in_flight <= MIN_CONCURRENT or in_flight * self._request_seconds <= MAX_QUEUE_SECONDS
        self._weight += 1 if admitted else REJECTION_WEIGHT
        if self._weight >= SAMPLE_SIZE:
            self._measure()
        return admitted

    def _measure(self) -> None:
        """Update the processor time of a request, a moving average, from the latest sample."""
        now, processor = time.monotonic(), time.thread_time()
        if now - self._sampled_at < SAMPLE_SECONDS:
            self._request_seconds += ((processor - self._processor_at) / self._weight - self._request_seconds) / 4
        self._weight, self._sampled_at, self._processor_at = 0, now, processor
