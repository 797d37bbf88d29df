"""One request and its response on a connection."""

import asyncio
import socket
import struct
from collections.abc import Sequence
from types import CoroutineType
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

Header = tuple[bytes, bytes]

EVENT_STREAM: Final = b"text/event-stream"

RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
"""Value of SO_LINGER with which the end of a connection is a reset."""


class RequestCycle(RequestResponseCycle):
    """Uvicorn's cycle, with a `Keep-Alive` header, bodies of unknown length for HTTP/1.0, and aborted responses."""

    keep_alive_headers: Sequence[Header] = ()
    """Headers of a response after which the connection stays open."""

    half_closed = False
    """True if the client has closed its side of the connection."""

    is_event_stream = False
    """True once a response has begun that does not end by itself."""

    _ends_with_connection = False
    """True if the end of the connection marks the end of the body, because HTTP/1.0 knows no chunks."""

    async def run_asgi(self, app: Any) -> None:
        """Run the application, and abort a response that it leaves incomplete."""

        async def run(scope: Any, receive: Any, send: Any) -> None:
            await app(scope, receive, send)
            if self.response_started and not self.response_complete and not self.disconnected:
                self._abort()

        await super().run_asgi(run)

    def _abort(self) -> None:
        """Close the connection so that the client does not take the body for complete. The application has logged why."""
        self.disconnect()
        if self._ends_with_connection:
            connection: socket.socket = self.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            self.transport.abort()
        self.transport.close()

    def disconnect(self) -> None:
        """Tell the application that the client has gone, and drop the rest of its response."""
        self.disconnected = True
        self.message_event.set()

    def send(self, message: Any) -> "CoroutineType[Any, Any, None]":
        """Send a message of the application. Not a coroutine function, to save one per message."""
        if message["type"] == "http.response.start":
            self._adapt_to_connection(message)
        elif self._ends_with_connection:
            self.expected_content_length = len(message.get("body", b""))  # uvicorn compares the body with it
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
