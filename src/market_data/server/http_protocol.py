"""Uvicorn's HTTP, for strangers: it would wait for a request for ever, and take a request's head however large it gets."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 10.0
"""How long the head of a request may take to arrive, counted from the connection or from its first byte."""

MOST_HEAD_BYTES = 131_072
"""Of a head that has not ended yet. The gate refuses smaller ones, and says why."""


class Protocol(HttpToolsProtocol):
    """One connection. Between two requests uvicorn has a time-out of its own, which any byte ends."""

    _waiting: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._waiting = self.loop.call_later(HEAD_SECONDS, transport.close)

    def data_received(self, data: bytes) -> None:
        """Take bytes, and see whether they lead anywhere."""
        super().data_received(data)
        # Uvicorn's types do not say that both are None at first.
        incomplete = self.scope is not None and "method" not in self.scope  # pyright: ignore[reportUnnecessaryComparison]
        answered = self.cycle is None or self.cycle.response_complete  # pyright: ignore[reportUnnecessaryComparison]
        if self.transport.is_closing() or not (incomplete or answered) or self.transport.get_protocol() is not self:
            self._stop_waiting()
            return
        if self._waiting is None:
            self._waiting = self.loop.call_later(HEAD_SECONDS, self.transport.close)
        self._head_bytes = self._head_bytes + len(data) if incomplete else 0
        if self._head_bytes > MOST_HEAD_BYTES:
            self.send_400_response("The head of the request is too large.")

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _stop_waiting(self) -> None:
        self._head_bytes = 0
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
