"""One request and its response on a connection."""

import asyncio
from collections.abc import Sequence
from types import CoroutineType
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

Header = tuple[bytes, bytes]

EVENT_STREAM = b"text/event-stream"


class RequestCycle(RequestResponseCycle):
    """Uvicorn's cycle, with a `Keep-Alive` header, and with bodies of unknown length for HTTP/1.0."""

    keep_alive_headers: Sequence[Header]
    """Headers of a response after which the connection stays open."""

    half_closed = False
    """True if the client has closed its side of the connection."""

    is_event_stream = False
    """True once a response has begun that does not end by itself."""

    _ends_with_connection = False
    """True if the end of the connection marks the end of the body, because HTTP/1.0 knows no chunks."""

    def disconnect(self) -> None:
        """Tell the application that the client has gone, and drop the rest of its response."""
        self.disconnected = True
        self.message_event.set()

    def send(self, message: Any) -> "CoroutineType[Any, Any, None]":
        """Send a message of the application. Not a coroutine function, to save one per message."""
        if message["type"] == "http.response.start":
            self._adapt_to_connection(message)
        elif self._ends_with_connection:
            self.expected_content_length = len(message.get("body", b""))  # uvicorn would add up to it, and fail
        return super().send(message)

    def _adapt_to_connection(self, message: Any) -> None:
        headers: list[Header] = message["headers"]
        fields = dict(headers)
        self.is_event_stream = fields.get(b"content-type", b"").startswith(EVENT_STREAM)
        if self.half_closed and self.is_event_stream:
            asyncio.get_running_loop().call_soon(self.transport.close)
        if self.scope["http_version"] == "1.0" and b"content-length" not in fields:
            self.chunked_encoding = False
            self._ends_with_connection = True
        if self.more_body and self.waiting_for_100_continue:
            self.keep_alive = False  # the client may send the body or not, so the next request would have no beginning
        # After an early response, while the body of the request is on its way, the connection may be closed sooner.
        if self.keep_alive and not self.more_body and not self.is_event_stream and b"connection" not in fields:
            message["headers"] = [*headers, *self.keep_alive_headers]
