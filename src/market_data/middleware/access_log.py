"""Access log and HTTP metrics.

Litestar's Prometheus middleware alone costs several times as much: `tests/benchmarks/observability.py` compares both.
"""

import time
from collections.abc import Awaitable
from typing import Final, cast

from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send, WebSocketScope

from market_data.telemetry.request_log import RequestLog, route_of

STREAM_ROUTES: Final = frozenset({"/stream"})
"""Routes whose responses end when the client leaves: logged and counted when they open."""

CLIENT_CLOSED_REQUEST: Final = 499
"""Status of a request whose client left before the response began, as in nginx."""


class AccessLog:
    """Add each request to the request log once it has ended, a stream or WebSocket also when it opens."""

    def __init__(self, app: ASGIApp, request_log: RequestLog) -> None:
        self.app = app
        self._log = request_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._record_websocket(scope, receive, send)
            return
        scope = cast("HTTPScope", scope)
        started = time.monotonic()
        status = 0
        is_stream = False

        def observed_send(message: Message) -> Awaitable[None]:
            nonlocal status, is_stream
            if message["type"] == "http.response.start":
                status = message["status"]
                if status == 200 and route_of(scope) in STREAM_ROUTES and scope["method"] != "HEAD":
                    is_stream = True
                    self._log.add_opened_stream(scope, status)
            return send(message)

        self._log.in_progress += 1
        try:
            await self.app(scope, receive, observed_send)
        except Exception:
            status = status or 500  # uvicorn's response
            raise
        finally:
            seconds = time.monotonic() - started
            if is_stream:
                self._log.write("stream closed", scope, seconds)
            else:
                self._log.add(scope, status or CLIENT_CLOSED_REQUEST, seconds)

    async def _record_websocket(self, scope: WebSocketScope, receive: Receive, send: Send) -> None:
        started = time.monotonic()
        accepted = False

        def observed_send(message: Message) -> Awaitable[None]:
            nonlocal accepted
            if message["type"] == "websocket.accept":
                accepted = True
                self._log.write("stream opened", scope)
            return send(message)

        try:
            await self.app(scope, receive, observed_send)
        finally:
            self._log.write("stream closed" if accepted else "stream refused", scope, time.monotonic() - started)
