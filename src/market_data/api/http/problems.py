"""Exceptions as problem details (RFC 9457): one shape on every path."""

import logging
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple, cast

import msgspec
from litestar import Request
from litestar.exceptions import HTTPException, ValidationException
from litestar.response import Response
from litestar.types import Message, Scope, Send

from market_data.api.http.caching import NO_STORE
from market_data.api.http.dialects import Dialect, dialect_of
from market_data.api.http.problem_specs import PROBLEM_MEDIA_TYPE
from market_data.api.http.query_string import read_parameters
from market_data.errors import (
    BadParameters,
    Conflict,
    ContentChanged,
    DatabaseUnavailable,
    Forbidden,
    ForeignHost,
    Gone,
    NotFound,
    Overloaded,
    Stopping,
    TookTooLong,
    TooLarge,
    TooManyRequests,
    Unauthorized,
    UnsupportedCoding,
    UnsupportedMedia,
)
from market_data.models import ParameterProblem, Problem
from market_data.telemetry.logging import REQUEST_ID
from market_data.telemetry.metrics import REQUESTS_REJECTED

logger = logging.getLogger(__name__)

STATUSES: Final[Mapping[type[Exception], HTTPStatus]] = {
    BadParameters: HTTPStatus.BAD_REQUEST,
    Unauthorized: HTTPStatus.UNAUTHORIZED,
    Forbidden: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    Gone: HTTPStatus.GONE,
    ContentChanged: HTTPStatus.PRECONDITION_FAILED,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UnsupportedMedia: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    UnsupportedCoding: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    ForeignHost: HTTPStatus.MISDIRECTED_REQUEST,
    TooManyRequests: HTTPStatus.TOO_MANY_REQUESTS,
    Overloaded: HTTPStatus.SERVICE_UNAVAILABLE,
    TookTooLong: HTTPStatus.SERVICE_UNAVAILABLE,
    Stopping: HTTPStatus.SERVICE_UNAVAILABLE,
    DatabaseUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}
"""Statuses of the errors that this service raises for requests."""

REASONS: Final[Mapping[type[Exception], str]] = {
    error: re.sub(r"(?<=[a-z])(?=[A-Z])", "_", error.__name__).lower() for error in STATUSES
}
"""Reasons of rejections in the metrics, such as `bad_parameters`."""

HTTP_REASONS: Final[Mapping[int, str]] = {
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.REQUEST_TIMEOUT: "body_timeout",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too_large",
    HTTPStatus.REQUEST_URI_TOO_LONG: "too_large",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "too_large",
}
"""The same for errors that Litestar or a middleware raises; `bad_request` for others."""

CHALLENGE: Final = 'Bearer realm="market-data"'
"""`WWW-Authenticate` of a 401."""

RETRY_SECONDS: Final = 1
"""`Retry-After` of a 503: a lost connection is replaced within about a second."""

POLICY_VIOLATION: Final = 1008
"""Close code of a WebSocket, if the server can't reject it with a status (RFC 6455)."""


class RenderedProblem(NamedTuple):
    """Status, headers and body of a problem."""

    status: int
    headers: dict[str, str]
    body: bytes
    media_type: str = PROBLEM_MEDIA_TYPE


def handle_exception(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Handle an exception of any handler."""
    if isinstance(error, ValidationException):
        try:
            read_parameters(request, request.route_handler)
        except BadParameters as named:
            error = named
    problem = render(error, request.method, request.url.path, dialect_of(request.scope))
    return Response(problem.body, status_code=problem.status, headers=problem.headers, media_type=problem.media_type)


def status_of(error: Exception) -> HTTPStatus | None:
    """Return the status of an error that this service raises for requests; None for others."""
    return next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), None)


def render(error: Exception, method: str, path: str, dialect: Dialect | None = None) -> RenderedProblem:
    """Return the problem for an error, and count the rejection. An unexpected error is logged, and counts as `failure`.

    In a foreign protocol, the body is that of its errors.
    """
    headers = dict(NO_STORE)
    problems: list[ParameterProblem] | None = None
    status, detail = status_of(error), str(error)
    reason = next((REASONS[kind] for kind in type(error).__mro__ if kind in REASONS), "failure")
    match error:
        case BadParameters():
            problems = error.problems
        case Conflict():
            problems = error.problems or None
        case Unauthorized():
            headers["WWW-Authenticate"] = CHALLENGE
        case UnsupportedCoding():
            headers["Accept-Encoding"] = "gzip"
        case TooManyRequests():
            headers["Retry-After"] = str(error.retry_seconds)
        case DatabaseUnavailable() | Overloaded() | Stopping() | TookTooLong():
            headers["Retry-After"] = str(RETRY_SECONDS)
        case HTTPException() if error.status_code < 500:
            status, detail = HTTPStatus(error.status_code), _explain(error, method, path)
            reason = HTTP_REASONS.get(error.status_code, "bad_request")
            headers.update(error.headers or {})
        case _:
            pass
    if status is None:
        logger.error("%s %s failed", method, path, exc_info=error)
        status, detail = HTTPStatus.INTERNAL_SERVER_ERROR, "The service failed unexpectedly; its log has the cause."
    REQUESTS_REJECTED.labels(reason).inc()
    if dialect:
        return RenderedProblem(status.value, headers, dialect.error_body(error, status.value, detail), "application/json")
    problem = Problem("about:blank", status.phrase, status.value, detail, problems, REQUEST_ID.get())
    return RenderedProblem(status.value, headers, msgspec.json.encode(problem))


async def send_problem(scope: Scope, send: Send, error: Exception) -> None:
    """Send a problem in place of the application, to a request or to the handshake of a WebSocket."""
    method = scope["method"] if scope["type"] == "http" else "GET"
    problem = render(error, method, scope["path"], dialect_of(scope))
    if scope["type"] == "websocket" and "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": str(error)})
        return
    kind = "http" if scope["type"] == "http" else "websocket.http"
    fields = {**problem.headers, "Content-Type": problem.media_type, "Content-Length": str(len(problem.body))}
    headers = [(name.lower().encode(), value.encode()) for name, value in fields.items()]
    # Litestar has no types for responses to a WebSocket handshake.
    await send(cast("Message", {"type": f"{kind}.response.start", "status": problem.status, "headers": headers}))
    await send(cast("Message", {"type": f"{kind}.response.body", "body": problem.body, "more_body": False}))


def _explain(error: HTTPException, method: str, path: str) -> str:
    """Return the detail of an error that Litestar raised."""
    match error.status_code:
        case HTTPStatus.NOT_FOUND:
            return f"There is nothing at {path}; GET / lists the paths."
        case HTTPStatus.METHOD_NOT_ALLOWED:
            return f"{method} is not allowed at {path}; the Allow header lists the methods that are."
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return "The body is larger than MAX_BODY_BYTES allows; send it in parts."
        case _:
            return error.detail
