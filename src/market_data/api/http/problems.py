"""Exceptions as problem details (RFC 9457): one shape on every path."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple, cast

import msgspec
from litestar import Request
from litestar.exceptions import HTTPException
from litestar.response import Response
from litestar.types import Message, Scope, Send

from market_data.api.http.caching import LIVE
from market_data.api.http.openapi import PROBLEM_MEDIA_TYPE, RETRY_SECONDS
from market_data.errors import (
    BadParameters,
    Conflict,
    DatabaseUnavailable,
    Forbidden,
    NotFound,
    Overloaded,
    TookTooLong,
    TooLarge,
    TooManyRequests,
    Unauthorized,
    UnsupportedMedia,
)
from market_data.models import ParameterProblem, Problem
from market_data.telemetry.logging import REQUEST_ID

logger = logging.getLogger(__name__)

STATUSES: Final[Mapping[type[Exception], HTTPStatus]] = {
    BadParameters: HTTPStatus.BAD_REQUEST,
    Unauthorized: HTTPStatus.UNAUTHORIZED,
    Forbidden: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UnsupportedMedia: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    TooManyRequests: HTTPStatus.TOO_MANY_REQUESTS,
    Overloaded: HTTPStatus.SERVICE_UNAVAILABLE,
    TookTooLong: HTTPStatus.SERVICE_UNAVAILABLE,
    DatabaseUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}
"""Of the errors that this service raises while it answers."""

CHALLENGE: Final = 'Bearer realm="market-data"'
"""What `WWW-Authenticate` says beside a 401."""

POLICY_VIOLATION: Final = 1008
"""The code with which a WebSocket is closed whose server can't refuse it with a status (RFC 6455)."""


class Written(NamedTuple):
    """A problem as it is answered."""

    status: int
    headers: dict[str, str]
    body: bytes


def answer(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The exception handler of the whole application."""
    written = write(error, request.method, request.url.path)
    return Response(written.body, status_code=written.status, headers=written.headers, media_type=PROBLEM_MEDIA_TYPE)


def write(error: Exception, method: str, path: str) -> Written:
    """What a request is answered that an error has ended. One that nobody foresaw is logged."""
    headers = dict(LIVE)
    problems: list[ParameterProblem] | None = None
    status, detail = STATUSES.get(type(error)), str(error)
    match error:
        case BadParameters():
            problems = error.problems
        case Conflict():
            problems = error.problems or None
        case Unauthorized():
            headers["WWW-Authenticate"] = CHALLENGE
        case TooManyRequests():
            headers["Retry-After"] = str(error.retry_seconds)
        case DatabaseUnavailable() | Overloaded() | TookTooLong():
            headers["Retry-After"] = str(RETRY_SECONDS)
        case HTTPException() if error.status_code < 500:
            status, detail = HTTPStatus(error.status_code), _explain(error, method, path)
            headers.update(error.headers or {})
        case _:
            pass
    if status is None:
        logger.error("%s %s failed", method, path, exc_info=error)
        status, detail = HTTPStatus.INTERNAL_SERVER_ERROR, "The service failed in a way that its log explains."
    problem = Problem("about:blank", status.phrase, status.value, detail, problems, REQUEST_ID.get())
    return Written(status.value, headers, msgspec.json.encode(problem))


async def refuse(scope: Scope, send: Send, error: Exception) -> None:
    """Answer in place of the application, be it a request or a WebSocket that asks to be opened."""
    written = write(error, scope["method"] if scope["type"] == "http" else "GET", scope["path"])
    if scope["type"] == "websocket" and "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": str(error)})
        return
    kind = "http" if scope["type"] == "http" else "websocket.http"
    given = {**written.headers, "Content-Type": PROBLEM_MEDIA_TYPE, "Content-Length": str(len(written.body))}
    headers = [(name.lower().encode(), value.encode()) for name, value in given.items()]
    # The framework has no types for the answers to a WebSocket.
    await send(cast("Message", {"type": f"{kind}.response.start", "status": written.status, "headers": headers}))
    await send(cast("Message", {"type": f"{kind}.response.body", "body": written.body, "more_body": False}))


def _explain(error: HTTPException, method: str, path: str) -> str:
    """The detail of an error that the framework raised."""
    match error.status_code:
        case HTTPStatus.NOT_FOUND:
            return f"There is nothing at {path}; GET / lists the paths."
        case HTTPStatus.METHOD_NOT_ALLOWED:
            return f"{method} is not possible at {path}; the Allow header lists what is."
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return "The body is larger than MAX_BODY_BYTES allows; send it in parts."
        case _:
            return error.detail
