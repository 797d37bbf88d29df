"""HTTP/1.1 on a connection: uvicorn's protocol on httptools, with corrections.

Alternatives were no better. Uvicorn's h11 protocol has half of the faults and takes 1.3 times the processor time of a latest
price; Hypercorn is built on h11 too. Granian handles connections in Rust, where the rest could not be corrected. Uvicorn's
zttp protocol depends on an alpha version.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextvars import Context
from functools import partial
from http import HTTPStatus
from typing import Any, Final, cast
from urllib.parse import unquote

import httptools
from litestar.exceptions import HTTPException
from litestar.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from market_data.api.http import problems
from market_data.middleware.proxies import normalize_address
from market_data.server.http_cycle import RequestCycle
from market_data.server.stop import LINGER_STOP_SECONDS, UNREAD_STOP_SECONDS

logger = logging.getLogger(__name__)

HEADER_TIMEOUT_SECONDS = 10.0
"""Time for the headers of a request, from the connection or from their first byte."""

LINGER_SECONDS = 2.0
"""Time for a client to stop sending after a response with `Connection: close`."""

MAX_HEADER_BYTES: Final = 131_072
"""Maximum size of incomplete headers or trailers, within a packet. Complete ones have a lower limit, in `RequestLimits`."""

MAX_REASON_LENGTH: Final = 200
"""Characters of a parser's error, which may repeat a part of the request."""

BODY_HEADERS: Final = frozenset({b"content-length", b"transfer-encoding"})


class HttpProtocol(HttpToolsProtocol):
    """Protocol of one connection. Differences from uvicorn's:

    - Headers have a time-out and a size limit (slow-loris protection).
    - An `Upgrade` to another protocol than WebSocket is ignored. Uvicorn drops the body of such a request, and reads its
      bytes as the next request (request smuggling).
    - Trailers of a chunked body are ignored. Uvicorn appends them to the headers.
    - A client may close its side of the connection after its request: the response is sent, and an event stream ends.
    - A connection is closed only when the client has stopped sending, or after `LINGER_SECONDS`: the kernel answers unread
      bytes with a reset, which can delete a response that the client has not read yet.
    - An invalid request is answered after the requests before it, and logged at INFO.
    - At shutdown, requests that take too long are ended before uvicorn cancels them, which it logs as an error.
    """

    _keep_alive_lines: Sequence[bytes] = ()
    _header_timer: asyncio.TimerHandle | None = None
    _header_bytes = 0
    """Size of the packets since the last one in which `_has_progress` was true."""
    _has_progress = False
    """True if the current packet has a part of a body or the end of a request."""
    _task: asyncio.Task[None] | None = None
    """Task of the latest request that was given to the application. `cycle` is the latest that was received."""
    _ignores_input = False
    """True after an invalid request, and after the last response."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Start the time-out of the first request."""
        super().connection_made(transport)
        self._unanswered: deque[RequestCycle] = deque()  # the first one is running; replaces uvicorn's `pipeline`
        self._keep_alive_lines = b"connection: keep-alive\r\n", b"keep-alive: timeout=%d\r\n" % self.timeout_keep_alive
        self._header_timer = self.loop.call_later(HEADER_TIMEOUT_SECONDS, transport.close)

    def data_received(self, data: bytes) -> None:
        """Parse bytes, then start or stop the time-out of the headers."""
        if self._ignores_input:
            return
        self._unset_keepalive_if_required()
        self._has_progress = False
        self._parse(data)
        # Uvicorn's type does not say that the scope is None at first.
        incomplete = self.scope is not None and "method" not in self.scope  # pyright: ignore[reportUnnecessaryComparison]
        is_over = self._ignores_input or self.transport.is_closing() or self.transport.get_protocol() is not self
        if is_over or (self._unanswered and not incomplete) or self.timeout_keep_alive_task:
            self._stop_header_timer()
        elif self._header_timer is None:
            self._header_timer = self.loop.call_later(HEADER_TIMEOUT_SECONDS, self.transport.close)
        self._header_bytes = 0 if is_over or self._has_progress else self._header_bytes + len(data)
        if self._header_bytes > MAX_HEADER_BYTES:
            self._refuse(f"There are more than {MAX_HEADER_BYTES:,} bytes of headers or trailers.")

    def _parse(self, data: bytes) -> None:
        unread = memoryview(data)
        try:
            while unread:
                try:
                    self.parser.feed_data(unread)
                    return
                except httptools.HttpParserUpgrade as upgrade:
                    unread = unread[upgrade.args[0] :]
                if self._opens_websocket():
                    self._switch_to_websocket(bytes(unread))
                    return
                self._parse_without_upgrade()
        except httptools.HttpParserError as error:
            cause = error.__context__ if isinstance(error, httptools.HttpParserCallbackError) else error
            if not isinstance(cause, httptools.HttpParserError):
                raise  # a bug
            self._refuse(f"The request is not valid HTTP/1.1: {str(cause)[:MAX_REASON_LENGTH]}.")

    def _opens_websocket(self) -> bool:
        """Return True if the client may and wants to open a WebSocket."""
        return (
            self.parser.get_method() == b"GET"
            and self.parser.get_http_version() == "1.1"
            and [value.lower() for name, value in self.headers if name == b"upgrade"] == [b"websocket"]
            and not any(name in BODY_HEADERS and value != b"0" for name, value in self.headers)
            and not self._unanswered
        )

    def _switch_to_websocket(self, unread: bytes) -> None:
        self.scope["method"] = "GET"
        self.handle_websocket_upgrade()
        if unread:
            cast("asyncio.Protocol", self.transport.get_protocol()).data_received(unread)

    def _parse_without_upgrade(self) -> None:
        """Parse the headers of a request once more, without those that made the parser stop."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            raise httptools.HttpParserError("CONNECT is for proxies")
        lines = [b"%s %s HTTP/%s" % (method, self.url, self.parser.get_http_version().encode())]
        lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as in uvicorn
        self.parser.feed_data(b"\r\n".join([*lines, b"", b""]))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a header. The trailers of a chunked body are ignored: the checks of headers have not seen them."""
        if "method" not in self.scope:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start a request, or queue it behind those that are not answered yet."""
        if self.parser.should_upgrade():
            return  # `_parse` decides
        version, scope = self.parser.get_http_version(), self.scope
        if version not in ("1.0", "1.1"):
            raise httptools.HttpParserError(f"the version is {version}")
        url = httptools.parse_url(self.url)
        raw_path = url.path or b"/"  # `http://host` has no path
        path = raw_path.decode("ascii")
        scope["method"] = self.parser.get_method().decode("ascii")
        scope["http_version"] = version
        scope["path"] = self.root_path + (unquote(path) if "%" in path else path)
        scope["raw_path"] = self.root_path.encode("ascii") + raw_path
        scope["query_string"] = url.query or b""
        keep_alive = version == "1.1" and self.parser.should_keep_alive()
        self._add(self.app, scope, keep_alive=keep_alive)  # pyright: ignore[reportUnknownMemberType] - uvicorn's type is incomplete

    def on_message_begin(self) -> None:
        """Begin the headers of a request."""
        self._unset_keepalive_if_required()
        super().on_message_begin()

    def on_body(self, body: bytes) -> None:
        """Store a part of the body of a request."""
        self._has_progress = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the body of a request. If its response is complete already, the connection stays open for the next one."""
        if self.parser.should_upgrade():
            return
        self._has_progress = True
        super().on_message_complete()
        if self.cycle.response_complete:
            self.cycle.more_body = False
            self._start_keep_alive_timer()

    def _add(self, app: Any, scope: Any, *, keep_alive: bool) -> None:
        self.cycle = cycle = RequestCycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue and scope["http_version"] == "1.1",
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )
        cycle.app = app
        cycle.keep_alive_lines = self._keep_alive_lines
        cycle.more_body = not self._ignores_input  # a refusal has no body to wait for
        self._unanswered.append(cycle)
        if len(self._unanswered) == 1:
            self._run_first()
        else:
            self.flow.pause_reading()

    def _run_first(self) -> None:
        first = self._unanswered[0]
        # A queued request is started by the one before it, whose context (request id, trace) it must not inherit.
        self._task = self.loop.create_task(first.run_asgi(first.app), context=Context())
        self._task.add_done_callback(self.tasks.discard)
        self.tasks.add(self._task)

    def _refuse(self, detail: str) -> None:
        """Answer 400 after the requests before this one, and close the connection."""
        logger.info("invalid request from %s: %s", normalize_address(self.client[0]) if self.client else "?", detail)
        self._ignores_input = True
        invalid = cast("RequestCycle | None", self.cycle)
        if invalid and invalid.more_body:  # its body is invalid; otherwise the headers of the next request are
            if invalid.response_started:
                self._close(is_sending=invalid.response_complete)
                return
            self._unanswered.pop().disconnect()
        scope = {"type": "http", "http_version": "1.1", "method": "GET", "path": "/", "query_string": b""}
        self._add(partial(_send_bad_request, detail), scope, keep_alive=False)

    def on_response_complete(self) -> None:
        """Start the next request, or close the connection."""
        self.server_state.total_requests += 1
        answered = self._unanswered.popleft()
        if not answered.keep_alive:
            self._close(is_sending=answered.more_body or bool(self._unanswered) or self._ignores_input)
        elif not self.transport.is_closing():
            self.flow.resume_reading()
            if self._unanswered:
                self._run_first()
            else:
                self._start_keep_alive_timer()

    def _close(self, *, is_sending: bool) -> None:
        self._ignores_input = True
        self._stop_header_timer()
        if is_sending and not self.transport.is_closing():
            self._unanswered.clear()
            self.flow.resume_reading()
            self.transport.write_eof()
            self.loop.call_later(LINGER_SECONDS, self.transport.close)
        else:
            self.transport.close()

    def eof_received(self) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride] - asyncio's type, not uvicorn's
        """Answer the requests that have arrived, but end an event stream. Return True if the transport must stay open."""
        unanswered = self._unanswered
        if len(unanswered) > 1 and unanswered[-1].more_body:
            unanswered.pop()
        if not unanswered or unanswered[0].more_body or unanswered[0].is_event_stream:
            return False
        for cycle in unanswered:
            cycle.half_closed = True
        unanswered[-1].keep_alive = False
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the time-out, and tell the application that the client has gone."""
        self._stop_header_timer()
        for cycle in self._unanswered:
            cycle.disconnect()
        self._unanswered.clear()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Close the connection once its requests are answered; after a while, end those that are not."""
        self.loop.call_later(UNREAD_STOP_SECONDS, self._end)
        if self._ignores_input:
            return
        if self.cycle and self.cycle.response_complete and self.cycle.more_body:
            self._close(is_sending=True)
        else:
            super().shutdown()

    def _end(self) -> None:
        if self._task:
            self._task.cancel()  # before its response begins, `RequestTimeout` answers 503
        if self._unanswered:
            self._unanswered[0].keep_alive = False
            if self._unanswered[0].response_started:
                self.transport.abort()
                return
        self.loop.call_later(LINGER_STOP_SECONDS, self.transport.abort)

    def _start_keep_alive_timer(self) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None


async def _send_bad_request(detail: str, scope: Scope, _receive: Receive, send: Send) -> None:
    await problems.send_problem(scope, send, HTTPException(detail, status_code=HTTPStatus.BAD_REQUEST))
