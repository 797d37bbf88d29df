"""Uvicorn's HTTP protocol with a time-out and a size limit for request headers (slow-loris protection)."""

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from market_data.server.stop import UNREAD_STOP_SECONDS

HEADER_TIMEOUT_SECONDS = 10.0
"""Time for the headers of a request, from the connection or from their first byte."""

MAX_HEADER_BYTES: Final = 131_072
"""Maximum size of incomplete headers. Complete ones have a lower limit, in `RequestLimits`."""


class HeaderTimeoutProtocol(HttpToolsProtocol):
    """Protocol of one connection. Uvicorn itself waits forever for headers: the first byte ends its keep-alive time-out."""

    _timer: asyncio.TimerHandle | None = None
    _header_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Start the time-out of the first request."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(HEADER_TIMEOUT_SECONDS, transport.close)

    def data_received(self, data: bytes) -> None:
        """Parse bytes, then start or stop the time-out."""
        super().data_received(data)
        # Uvicorn's types do not say that both are None at first.
        incomplete = self.scope is not None and "method" not in self.scope  # pyright: ignore[reportUnnecessaryComparison]
        answered = self.cycle is None or self.cycle.response_complete  # pyright: ignore[reportUnnecessaryComparison]
        if self.transport.is_closing() or not (incomplete or answered) or self.transport.get_protocol() is not self:
            self._stop_timer()
            return
        if self._timer is None:
            self._timer = self.loop.call_later(HEADER_TIMEOUT_SECONDS, self.transport.close)
        self._header_bytes = self._header_bytes + len(data) if incomplete else 0
        if self._header_bytes > MAX_HEADER_BYTES:
            self.send_400_response("The headers of the request are too large.")

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the time-out."""
        self._stop_timer()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Let a running request end, and abort a response that its client still has not read after a while."""
        super().shutdown()
        self.loop.call_later(UNREAD_STOP_SECONDS, self._abort_unread)

    def _abort_unread(self) -> None:
        if self.cycle is None or self.cycle.response_started:  # pyright: ignore[reportUnnecessaryComparison]  # as above
            self.transport.abort()

    def _stop_timer(self) -> None:
        self._header_bytes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
