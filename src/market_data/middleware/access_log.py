"""What every request leaves behind: an ID on its answer, a line in the log, counts in the metrics.

It stands before the gate, and sees what that refuses as well. Litestar's Prometheus middleware, which counts the same, looks
its metrics up anew for every request and alone costs several times all of this: `tests/benchmarks/observability.py` compares
the two.
"""

import asyncio
import logging
import re
import time
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from itertools import repeat
from secrets import token_hex
from typing import Any, Final, cast

from litestar.types import HTTPScope, Message, Receive, Scope, Send, WebSocketScope

from market_data.middleware.gate import Gate
from market_data.middleware.timeout import Header, Passage, first_headers
from market_data.telemetry.logging import REQUEST_ID, TRACE_ID, RequestLine, write
from market_data.telemetry.metrics import REQUEST_SECONDS, REQUESTS, RUNNING_REQUESTS

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


Id = tuple[str, Header]
"""Of a request, and the header of its answer that has it."""

ENDINGS: Final = [f"{number:02x}" for number in reversed(range(256))]
"""Of the IDs that are made together, the last one first."""


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


class AccessLog:
    """The gate, observed. What is done here while a request runs costs it time: the rest is left to `flush`."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.annotate: Annotate | None = None
        self._kinds: dict[tuple[str, str, int], _Kind] = {}
        self._ids: list[Id] = []
        self._running = 0
        self._seen: list[Seen] = []

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        """Answer a request."""
        if scope["type"] == "websocket":
            return self._listen(scope, receive, send)
        scope = cast("HTTPScope", scope)
        passage = Passage(scope, receive, send)
        passage.id, header = self._identify(passage.given)
        passage.more.append(header)
        passage.ended = self._ended
        if self.annotate or scope["path"].rstrip("/") in STREAMS:
            passage.begun = self._begun
        self._running += 1
        return self.gate.answer(passage)

    def _begun(self, passage: Passage) -> None:
        scope = passage.scope
        if self.annotate:
            self.annotate(f"{scope['method']} {_route(scope)}")
        if _route(scope) in STREAMS and passage.status == 200:
            self._running -= 1
            self._kind(scope["method"], _route(scope), passage.status).answered.inc()
            self._log(scope, "stream opened")
            passage.ended = self._closed

    def _closed(self, passage: Passage) -> None:
        self._log(passage.scope, "stream closed", time.monotonic() - passage.began)

    def _ended(self, passage: Passage) -> None:
        end = time.monotonic()
        self._running -= 1
        scope, seen = passage.scope, self._seen
        if not seen:
            asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)
        trace = TRACE_ID.get() if self.annotate else None
        status, path, client = passage.status or GONE, scope["path"], scope["client"]
        seen.append((scope["method"], _route(scope), status, passage.began, end, path, passage.id, client, trace))
        if len(seen) >= MOST_WAITING:
            self.flush()

    def flush(self) -> None:
        """Count and write what was observed since the last time."""
        RUNNING_REQUESTS.set(self._running)
        answered, self._seen = self._seen, []
        began = time.time() - time.monotonic()
        lines: list[RequestLine] = []
        least = logger.getEffectiveLevel()
        kinds = self._kinds
        moment, timestamp = 0, datetime.fromtimestamp(0, UTC)
        for method, route, status, start, end, path, request_id, client, trace in answered:
            kind = kinds.get((method, route, status)) or self._kind(method, route, status)
            seconds = end - start
            kind.seconds.append(seconds)
            if kind.level >= least:
                if moment != (moment := int((began + end) * 1000)):  # many end in the same millisecond
                    timestamp = datetime.fromtimestamp(moment / 1000, UTC)
                lines.append(
                    RequestLine(
                        timestamp,
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

    async def _listen(self, scope: WebSocketScope, receive: Receive, send: Send) -> None:
        start = time.monotonic()
        _, header = self._identify(first_headers(scope))
        opened = False

        async def observed_send(message: Message) -> None:
            nonlocal opened
            if message["type"] == "websocket.accept" or message["type"] == "websocket.http.response.start":
                message["headers"] = [*message["headers"], header]
            if message["type"] == "websocket.accept":
                opened = True
                if self.annotate:
                    self.annotate(f"websocket {_route(scope)}")
                self._log(scope, "stream opened")
            await send(message)

        try:
            await self.gate.listen(scope, receive, observed_send)
        finally:
            self._log(scope, "stream closed" if opened else "stream refused", time.monotonic() - start)

    def _identify(self, given: Mapping[bytes, bytes]) -> Id:
        """The ID that the client gave, if it is fit; else a new one."""
        if not self._ids:
            self._ids = _new_ids()
        found = self._ids.pop()
        if HEADER in given and GIVEN_ID.fullmatch(given[HEADER]):
            found = given[HEADER].decode(), (HEADER, given[HEADER])
        REQUEST_ID.set(found[0])  # for the task of this request and those that it starts
        return found

    def _kind(self, method: str, path: str, status: int) -> _Kind:
        key = (method, path, status)
        if path == UNKNOWN:  # of whose methods there is no end
            key = (method if method in METHODS else UNKNOWN, path, status)
        return self._kinds.get(key) or self._kinds.setdefault(key, _Kind(*key))

    def _log(self, scope: Scope, event: str, seconds: float | None = None) -> None:
        client = scope["client"]
        line = RequestLine(
            datetime.now(UTC),
            "info",
            event,
            scope["method"] if scope["type"] == "http" else "websocket",
            scope["path"][:SHOWN_PATH],
            None,
            None if seconds is None else round(seconds * 1000, 3),
            REQUEST_ID.get(),
            client[0] if client else None,
            TRACE_ID.get(),
        )
        if logger.isEnabledFor(logging.INFO):
            write([line])


def _route(scope: Scope) -> str:
    """The path of the route that answers, which is found while it does."""
    return scope["path_template"] if "path_template" in scope else UNKNOWN  # noqa: SIM401 - `get` has half a type only


def _new_ids() -> list[Id]:
    """IDs that nobody else has. Many at once: to make one between other things costs several times as much."""
    beginning = token_hex(7)
    texts = beginning + f" {beginning}".join(ENDINGS)
    return list(zip(texts.split(), zip(repeat(HEADER), texts.encode().split(), strict=False), strict=False))
