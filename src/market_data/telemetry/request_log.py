"""Buffered access log and HTTP metrics: writing many lines at once costs half of writing each by itself."""

import asyncio
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from litestar.types import HTTPScope, Scope
from prometheus_client import Counter, Histogram

from market_data.telemetry.logging import REQUEST_ID, TRACE_ID, RequestLine, without_secrets, write
from market_data.telemetry.metrics import REQUEST_SECONDS, REQUESTS, RUNNING_REQUESTS

FLUSH_SECONDS: Final = 0.05
MAX_BUFFERED: Final = 1000

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNKNOWN: Final = "unknown"
"""Label of paths without a route, and of unknown methods there: clients can invent any number of them."""

ASSETS: Final = "/assets/"
"""Prefix of the files of pages, which share one label."""

DEBUG_ROUTES: Final = frozenset({"/health", "/health/live", "/health/ready", "/metrics"})
"""Routes that machines poll: logged at DEBUG."""

MAX_PATH_LENGTH: Final = 200
"""Characters of a path that are logged."""


class RequestLog:
    """Buffer finished requests for at most `FLUSH_SECONDS`, then count them and write their log lines."""

    def __init__(self) -> None:
        self.in_progress = 0
        self._buffer: list[tuple[RequestLine, str, int, float]] = []
        """Line, route, status, seconds."""

    def add(self, scope: HTTPScope, status: int, seconds: float) -> None:
        """Add a request that has ended."""
        self.in_progress -= 1
        if not self._buffer:
            asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)
        self._buffer.append((_line("request", scope, seconds, status), route_of(scope), status, seconds))
        if len(self._buffer) >= MAX_BUFFERED:
            self.flush()

    def flush(self) -> None:
        """Count the buffered requests and write their lines."""
        RUNNING_REQUESTS.set(self.in_progress)
        finished, self._buffer = self._buffer, []
        for line, route, status, seconds in finished:
            requests, durations = _metrics(line.method, route, status)
            requests.inc()
            durations.observe(seconds)
        write([line for line, _, _, _ in finished])

    def add_opened_stream(self, scope: HTTPScope, status: int) -> None:
        """Count and log a stream that opens. It is no longer in progress, and its duration is not a latency."""
        self.in_progress -= 1
        requests, _ = _metrics(scope["method"], route_of(scope), status)
        requests.inc()
        self.write("stream opened", scope)

    def write(self, event: str, scope: Scope, seconds: float | None = None) -> None:
        """Write the line of a stream or WebSocket at once."""
        write([_line(event, scope, seconds)])


def route_of(scope: Scope) -> str:
    """Return the path template of the route, known once the router has run, or `UNKNOWN`."""
    return scope["path_template"] if "path_template" in scope else UNKNOWN  # noqa: SIM401 - `get` is only partly typed


def shown_path(scope: Scope) -> str:
    """Return the path for logs and spans, without an API key that a client has put into it."""
    path = scope["path"][:MAX_PATH_LENGTH]
    return without_secrets(path) if "md_" in path else path


def _line(event: str, scope: Scope, seconds: float | None, status: int | None = None) -> RequestLine:
    client = scope["client"]
    return RequestLine(
        datetime.now(UTC),
        "debug" if status and route_of(scope) in DEBUG_ROUTES else "info",
        event,
        scope["method"] if scope["type"] == "http" else "websocket",
        shown_path(scope),
        status,
        None if seconds is None else int(seconds * 1e6) / 1000,
        REQUEST_ID.get(),
        client[0] if client else None,
        TRACE_ID.get(),
    )


@lru_cache(1024)
def _metrics(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    if route == UNKNOWN and method not in METHODS:
        method = UNKNOWN
    if route.startswith(ASSETS):
        route = f"{ASSETS}{{name}}"
    return REQUESTS.labels(method, route, str(status)), REQUEST_SECONDS.labels(method, route)
