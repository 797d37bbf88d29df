"""Logging to standard error: one JSON object per line, or coloured text on a terminal.

All records of the standard library's `logging` get the request's ID and a UTC time, and lose passwords and API keys. The
frequent lines of requests bypass `logging`, which would add a tenth to the time of a small read.
"""

import logging
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from datetime import datetime
from typing import IO, Final, Literal

import msgspec
import structlog
from msgspec import Struct
from structlog.typing import EventDict, Processor, WrappedLogger

REQUEST_ID: Final[ContextVar[str | None]] = ContextVar("request_id", default=None)
"""Id of the current request."""

TRACE_ID: Final[ContextVar[str | None]] = ContextVar("trace_id", default=None)
"""Id of its trace, if traces are on."""

logger = logging.getLogger("market_data.requests")


class RequestLine(Struct, omit_defaults=True, gc=False):
    """Log line of a request. Without query string and headers, which may hold secrets."""

    timestamp: datetime
    level: Literal["debug", "info"]
    event: str
    method: str
    path: str
    status: int | None = None
    """None for streams."""
    duration_ms: float | None = None
    request_id: str | None = None
    client: str | None = None
    trace_id: str | None = None


LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO}
REQUEST_FIELDS: Final = ("method", "path", "status", "duration_ms", "request_id", "client", "trace_id")


def _masked(found: re.Match[str]) -> str:
    return f"{found[1]}***@" if found[3] else found[0]


SECRETS: Final[Sequence[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]]] = (
    # The end is optional: otherwise the search for it would start again at each URL, in quadratic time.
    (re.compile(r"(\b\w+://[^\s:/@]*:)([^\s@]*)(@?)"), _masked),
    (re.compile(r"(\b(?:password|passwd|pgpassword)\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&]+)", re.IGNORECASE), r"\1***"),
    (re.compile(r"\b(md_[0-9a-f]{8}_)[A-Za-z0-9_-]+"), r"\1***"),
)

_encoder = msgspec.json.Encoder(enc_hook=repr)


class _RequestLog:
    """Destination of request lines: a stream for JSON, or None for `logging`."""

    stream: IO[bytes] | None = None


_requests = _RequestLog()


def configure(level: str) -> None:
    """Log to standard error from this level on: text on a terminal, JSON elsewhere."""
    stream = sys.stderr
    if stream.isatty():
        _requests.stream = None
        # The default, Rich's tracebacks, shows the values of variables.
        rendering: list[Processor] = [
            _printable,
            structlog.dev.ConsoleRenderer(
                colors="NO_COLOR" not in os.environ, exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
            ),
        ]
    else:
        _requests.stream = stream.buffer
        rendering = [_in_order, _json]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(allow=REQUEST_FIELDS),
            structlog.processors.TimeStamper("iso", utc=True),
            _add_context,
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            _without_secrets,
            *rendering,
        ],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logging.basicConfig(level=level, handlers=[handler], force=True)


def write(lines: Sequence[RequestLine]) -> None:
    """Write the lines of requests, at their levels."""
    level = logger.getEffectiveLevel()
    lines = [line for line in lines if LEVELS[line.level] >= level]
    stream = _requests.stream
    if stream is None:
        for line in lines:
            fields = {name: value for name in REQUEST_FIELDS if (value := getattr(line, name)) is not None}
            logger.log(LEVELS[line.level], line.event, extra=fields)
        return
    try:
        stream.write(_encoder.encode_lines(lines))
        stream.flush()
    except (OSError, ValueError):  # as in `logging`: a closed log stops nothing
        pass


def _add_context(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    for name, variable in (("request_id", REQUEST_ID), ("trace_id", TRACE_ID)):
        if (value := variable.get()) is not None:
            event.setdefault(name, value)
    return event


def without_secrets(text: str) -> str:
    """Mask API keys, and the passwords of URLs and connection strings."""
    for pattern, replacement in SECRETS:
        text = pattern.sub(replacement, text)
    return text


def _without_secrets(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = without_secrets(value)
    return event


def _printable(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Escape control characters, so that clients cannot send commands to the terminal."""
    for name, value in event.items():
        if isinstance(value, str) and name != "exception" and not value.isprintable():
            event[name] = ascii(value)
    return event


def _in_order(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    first = {name: event.pop(name) for name in ("timestamp", "level", "event", "logger") if name in event}
    return first | dict(event)


def _json(_: WrappedLogger, __: str, event: EventDict) -> str:
    return _encoder.encode(dict(event)).decode()


WARNING_SECONDS: Final = 10.0
"""Minimum time between two warnings of one `ThrottledWarning`."""


class ThrottledWarning:
    """Log rejected requests: the first at once, later ones as a count once every `WARNING_SECONDS`."""

    def __init__(self, source: logging.Logger) -> None:
        self._logger = source
        self._count = 0
        self._next = 0.0

    def count(self, reason: str) -> None:
        """Count one rejected request."""
        self._count += 1
        if (now := time.monotonic()) >= self._next:
            self._logger.warning("shedding load: rejected %d requests (%s)", self._count, reason)
            self._count, self._next = 0, now + WARNING_SECONDS
