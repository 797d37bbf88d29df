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
"""Id of the current trace, if traces are on."""

logger = logging.getLogger("market_data.requests")


class RequestLine(Struct, omit_defaults=True, gc=False):
    """Log line of a request. It omits the query string and the headers, which may contain secrets."""

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


def _mask_password(found: re.Match[str]) -> str:
    return f"{found[1]}***@" if found[3] else found[0]


SECRETS: Final[Sequence[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]]] = (
    # The "@" is optional: otherwise the search for it would start again at each URL, in quadratic time.
    (re.compile(r"(\b\w+://[^\s:/@]*:)([^\s@]*)(@?)"), _mask_password),
    (re.compile(r"(\b(?:password|passwd|pgpassword)\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&]+)", re.IGNORECASE), r"\1***"),
    (re.compile(r"\b(md_[0-9a-f]{8}_)[A-Za-z0-9_-]+"), r"\1***"),
)

_encoder = msgspec.json.Encoder(enc_hook=repr)


class _Destination:
    """Stream for the request lines as JSON, or None to pass them to `logging`."""

    stream: IO[bytes] | None = None


def configure(level: str) -> None:
    """Log to standard error from this level on: text on a terminal, JSON elsewhere."""
    stream = sys.stderr
    if stream.isatty():
        _Destination.stream = None
        # structlog's default, Rich's tracebacks, shows the values of variables, which may be secrets.
        rendering: list[Processor] = [
            _escape_control_characters,
            structlog.dev.ConsoleRenderer(
                colors="NO_COLOR" not in os.environ, exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
            ),
        ]
    else:
        _Destination.stream = stream.buffer
        rendering = [_to_json]
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
            _mask_secrets,
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
    stream = _Destination.stream
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


def _mask_secrets(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = without_secrets(value)
    return event


def _escape_control_characters(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Escape control characters, so that clients cannot send commands to the terminal."""
    for name, value in event.items():
        if isinstance(value, str) and name != "exception" and not value.isprintable():
            event[name] = ascii(value)
    return event


def _to_json(_: WrappedLogger, __: str, event: EventDict) -> str:
    first = {name: event.pop(name) for name in ("timestamp", "level", "event", "logger") if name in event}
    return _encoder.encode(first | dict(event)).decode()


WARNING_SECONDS: Final = 10.0
"""Minimum time between two warnings of one `ThrottledWarning`."""


class ThrottledWarning:
    """Log rejected requests: the first at once, later ones as a count at most once every `WARNING_SECONDS`."""

    def __init__(self, source: logging.Logger) -> None:
        self._logger = source
        self._count = 0
        self._warned_at: float | None = None

    def count(self, reason: str) -> None:
        """Count one rejected request."""
        self._count += 1
        now = time.monotonic()
        if self._warned_at is None:
            self._logger.warning("shedding load: rejected a request (%s)", reason)
        elif (seconds := now - self._warned_at) >= WARNING_SECONDS:
            self._logger.warning("shedding load: rejected %d requests in %.0f s (%s)", self._count, seconds, reason)
        else:
            return
        self._count, self._warned_at = 0, now
