"""One request and its response on a connection."""

import asyncio
import socket
import struct
from collections.abc import Sequence
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

EVENT_STREAM: Final = b"text/event-stream"

MAX_JOINED_BYTES: Final = 65_536
"""Maximum size of a body that is copied, to be sent with its headers in one system call instead of two."""

RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
"""Value of SO_LINGER with which the end of a connection is a reset."""


class RequestCycle(RequestResponseCycle):
    """Uvicorn's cycle, with another `send`.

    It adds a `Keep-Alive` header, bodies of unknown length for HTTP/1.0, and responses whose abort the client can detect.
    Headers are checked all at once, and sent together with the body. After the last response, `on_response` closes the
    connection.
    """

    app: Any = None
    """Application that responds."""

    keep_alive_lines: Sequence[bytes] = ()
    """Header lines of a response after which the connection stays open."""

    half_closed = False
    """True if the client has closed its side of the connection."""

    is_event_stream = False
    """True once a response has begun that does not end by itself."""

    _head = b""
    """Status and headers that wait for the body."""

    _ends_with_connection = False
    """True if the end of the connection marks the end of the body, because HTTP/1.0 knows no chunks."""

    async def run_asgi(self, app: Any) -> None:
        """Run the application, and end the response if it did not."""
        try:
            await app(self.scope, self.receive, self.send)
            if not self.response_started and not self.disconnected:
                raise RuntimeError("the application sent no response")
        except asyncio.CancelledError:
            pass  # the service stops
        except BaseException:
            self.logger.exception("Exception in ASGI application")
        if not self.response_complete and not self.disconnected:
            if self.response_started:
                self._abort()
            else:
                await self.send_500_response()
        self.on_response = lambda: None  # breaks a reference cycle, as in uvicorn

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

    async def send(self, message: Any) -> None:
        """Send a message of the application."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if message["type"] == "http.response.start" and not self.response_started:
            self._start_response(message)
        elif message["type"] == "http.response.body" and self.response_started and not self.response_complete:
            self._send_body(message.get("body", b""), more=message.get("more_body", False))
        else:
            raise RuntimeError(f"unexpected ASGI message {message['type']!r}")

    def _start_response(self, message: Any) -> None:
        headers: list[tuple[bytes, bytes]] = [*self.default_headers, *message["headers"]]
        fields = dict(headers)
        self.is_event_stream = fields.get(b"content-type", b"").startswith(EVENT_STREAM)
        lines = [STATUS_LINE[message["status"]], *[b"%b: %b\r\n" % header for header in headers]]
        lines += self._connection_lines(fields)
        if length := fields.get(b"content-length"):
            self.expected_content_length = int(length)
        elif self.scope["http_version"] == "1.0":
            self._ends_with_connection = True
        elif self.scope["method"] != "HEAD" and message["status"] not in (204, 304):
            self.chunked_encoding = True
            lines.append(b"transfer-encoding: chunked\r\n")
        head = b"".join(lines)
        if not head.count(b"\n") == head.count(b"\r") == len(lines) or b"\0" in head:
            raise RuntimeError("a header contains a line break or NUL")
        self.response_started = True
        self.waiting_for_100_continue = False
        self._head = head + b"\r\n"
        if not length:
            self._write(b"")  # the body may arrive much later

    def _connection_lines(self, fields: dict[bytes, bytes]) -> Sequence[bytes]:
        """Return the header lines that say how long the connection stays open."""
        if self.half_closed and self.is_event_stream:
            asyncio.get_running_loop().call_soon(self.transport.close)
        if self.more_body and self.waiting_for_100_continue:
            self.keep_alive = False  # the client may send the body or not, so the next request would have no beginning
        if b"connection" in fields:
            self.keep_alive = self.keep_alive and b"close" not in fields[b"connection"].lower()
            return ()
        if not self.keep_alive:
            return (b"connection: close\r\n",)
        # After an early response, while the body of the request is on its way, the connection may be closed sooner.
        return () if self.more_body or self.is_event_stream else self.keep_alive_lines

    def _send_body(self, body: bytes, *, more: bool) -> None:
        if self.scope["method"] == "HEAD":
            body, self.expected_content_length = b"", 0
        elif self.chunked_encoding:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            body = chunk if more else chunk + b"0\r\n\r\n"
        elif not self._ends_with_connection:
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0 or (self.expected_content_length and not more):
                raise RuntimeError("the body is longer or shorter than Content-Length")
        self._write(body)
        if not more:
            self.response_complete = True
            self.message_event.set()
            self.on_response()

    def _write(self, body: bytes) -> None:
        if self._head and len(body) <= MAX_JOINED_BYTES:
            body = self._head + body
        elif self._head:
            self.transport.write(self._head)
        self._head = b""
        if body:
            self.transport.write(body)
