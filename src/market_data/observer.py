"""What every request leaves behind: an ID on its answer, a line in the log, counts in the metrics.

It is wrapped around the whole application, for the framework's own middleware does not see what its router refuses (404,
405). Litestar's Prometheus middleware, which counts the same, looks its metrics up anew for every request and alone costs
several times all of this: `tests/benchmarks/observability.py` compares the two.
"""

import asyncio
import itertools
import logging
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from secrets import token_hex
from typing import Final

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from market_data import logs
from market_data.logs import RequestLine, write
from market_data.metrics import REQUEST_SECONDS, REQUESTS, RUNNING_REQUESTS

logger = logging.getLogger("market_data.requests")

GIVEN_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")
"""The request IDs that are taken over; in place of others the service makes one."""

HEADER: Final = b"x-request-id"

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNKNOWN: Final = "unknown"
"""Stands for all the paths and methods that nothing here answers to: clients make up any number of them."""

STREAMS: Final = frozenset({"/stream"})
"""Paths whose answers end when their client leaves."""

QUIET: Final = frozenset({"/health", "/health/live", "/health/ready", "/metrics"})
"""Paths that machines ask for all the time."""

SHOWN_PATH: Final = 200
"""Characters of a path that the log has."""

Annotate = Callable[[str], None]
"""Names the span of a request, while traces are on, after the route that answers it."""

GONE: Final = 499
"""The status of a request whose client left before it was answered, as nginx has it."""


FLUSH_SECONDS: Final = 0.05
"""How long what was observed may wait, to be counted and written together with more of the same: that costs half."""

MOST_WAITING: Final = 1000
"""How much of it may wait."""


Id = tuple[str, tuple[bytes, bytes]]
"""Of a request, and the header of its answer that has it."""

MOST_IDS: Final = 250


class _Kind:
    """Requests of one method, route and status: where they are counted, and what is to be counted."""

    def __init__(self, method: str, path: str, status: int) -> None:
        self.method = method
        self.status = status
        self.level = logging.DEBUG if path in QUIET else logging.INFO
        self.level_name = "debug" if path in QUIET else "info"
        self.answered = REQUESTS.labels(method, path, str(status))
        self.histogram = REQUEST_SECONDS.labels(method, path)
        self.seconds: list[float] = []

    def count(self) -> None:
        """Count what has come since the last time."""
        seconds, self.seconds = self.seconds, []
        if seconds:
            self.answered.inc(len(seconds))
            self.histogram.observe_all(seconds)


Seen = tuple[str, str, int, float, float, str, str, tuple[str, int] | None, str | None]
"""An answered request: method, route, status, start, end, path, ID, client and trace. Bare, for one is made for each."""


class Observer:
    """An application, observed. What is done here while a request runs costs it time: the rest is left to `flush`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.annotate: Annotate | None = None
        self._kinds: dict[tuple[str, str, int], _Kind] = {}
        self._prefix = token_hex(4)
        self._numbers = itertools.count()
        self._ids: list[Id] = []
        self._running = 0
        self._seen: list[Seen] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._listen(scope, receive, send)
            return
        start = time.perf_counter()
        request_id, header = self._identify(scope)
        status = 0
        streams = False

        async def observed_send(message: Message) -> None:
            nonlocal status, streams
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], header]
                if self.annotate:
                    self.annotate(f"{scope['method']} {_route(scope)}")
                if status == 200 and _route(scope) in STREAMS:
                    streams = True
                    self._running -= 1
                    self._kind(scope["method"], _route(scope), status).answered.inc()
                    self._log(scope, "stream opened", request_id)
            await send(message)

        self._running += 1
        try:
            await self.app(scope, receive, observed_send)
        except Exception:
            status = status or 500
            raise
        finally:
            end = time.perf_counter()
            if streams:
                self._log(scope, "stream closed", request_id, end - start)
            else:
                self._running -= 1
                method, path, client = scope["method"], scope["path"], scope["client"]
                trace = logs.TRACE_ID.get() if self.annotate else None
                self._see((method, _route(scope), status or GONE, start, end, path, request_id, client, trace))

    def _see(self, seen: Seen) -> None:
        self._seen.append(seen)
        waiting = len(self._seen)
        if waiting == 1:
            asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)
        elif waiting >= MOST_WAITING:
            self.flush()

    def flush(self) -> None:
        """Count and write what was observed since the last time."""
        RUNNING_REQUESTS.set(self._running)
        answered, self._seen = self._seen, []
        began = datetime.now(UTC) - timedelta(seconds=time.perf_counter())
        lines: list[RequestLine] = []
        least = logger.getEffectiveLevel()
        for method, route, status, start, end, path, request_id, client, trace in answered:
            kind = self._kind(method, route, status)
            seconds = end - start
            kind.seconds.append(seconds)
            if kind.level >= least:
                lines.append(
                    RequestLine(
                        began + timedelta(0, end),
                        kind.level_name,
                        "request",
                        kind.method,
                        path[:SHOWN_PATH],
                        status,
                        int(seconds * 1e6) / 1000,
                        request_id,
                        client[0] if client else None,
                        trace,
                    )
                )
        for kind in self._kinds.values():
            kind.count()
        write(lines)

    async def _listen(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = time.perf_counter()
        request_id, header = self._identify(scope)
        opened = False

        async def observed_send(message: Message) -> None:
            nonlocal opened
            if message["type"] == "websocket.accept" or message["type"] == "websocket.http.response.start":
                message["headers"] = [*message["headers"], header]
            if message["type"] == "websocket.accept":
                opened = True
                if self.annotate:
                    self.annotate(f"websocket {_route(scope)}")
                self._log(scope, "stream opened", request_id)
            await send(message)

        try:
            await self.app(scope, receive, observed_send)
        finally:
            self._log(scope, "stream closed" if opened else "stream refused", request_id, time.perf_counter() - start)

    def _identify(self, scope: Scope) -> Id:
        """The ID that the client gave, if it is fit; else a new one, all of which have the same length."""
        if not self._ids:
            self._make_ids()
        found = self._ids.pop()
        for name, given in scope["headers"]:
            if name == HEADER and GIVEN_ID.fullmatch(given):
                found = given.decode(), (HEADER, given)
        logs.REQUEST_ID.set(found[0])  # for the task of this request and those that it starts
        return found

    def _make_ids(self) -> None:
        """Make many at once: to write a number costs several times as much between other things."""
        texts = [f"{self._prefix}{number:08x}" for number in itertools.islice(self._numbers, MOST_IDS)]
        self._ids = [(text, (HEADER, text.encode())) for text in reversed(texts)]

    def _kind(self, method: str, path: str, status: int) -> _Kind:
        key = (method, path, status)
        if kind := self._kinds.get(key):
            return kind
        if path == UNKNOWN:  # of whose methods there is no end
            key = (method if method in METHODS else UNKNOWN, path, status)
            if kind := self._kinds.get(key):
                return kind
        return self._kinds.setdefault(key, _Kind(*key))

    def _log(self, scope: Scope, event: str, request_id: str, seconds: float | None = None) -> None:
        client = scope["client"]
        line = RequestLine(
            datetime.now(UTC),
            "info",
            event,
            scope["method"] if scope["type"] == "http" else "websocket",
            scope["path"][:SHOWN_PATH],
            None,
            None if seconds is None else round(seconds * 1000, 3),
            request_id,
            client[0] if client else None,
            logs.TRACE_ID.get(),
        )
        if logger.isEnabledFor(logging.INFO):
            write([line])


def _route(scope: Scope) -> str:
    """The path of the route that answers, which is found while it does."""
    return scope["path_template"] if "path_template" in scope else UNKNOWN  # noqa: SIM401 - `get` has half a type only
