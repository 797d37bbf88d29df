"""Exceptions as problem details (RFC 9457): one shape on every path."""

import logging
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request
from litestar.exceptions import HTTPException
from litestar.response import Response

from market_data.api.caching import LIVE
from market_data.api.operation import PROBLEM_MEDIA_TYPE, RETRY_SECONDS
from market_data.errors import BadParameters, DatabaseUnavailable, NotFound
from market_data.logs import REQUEST_ID
from market_data.models import ParameterProblem, Problem

logger = logging.getLogger(__name__)


def answer(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The exception handler of the whole application."""
    headers = dict(LIVE)
    problems: list[ParameterProblem] | None = None
    match error:
        case BadParameters():
            status, detail, problems = HTTPStatus.BAD_REQUEST, str(error), error.problems
        case NotFound():
            status, detail = HTTPStatus.NOT_FOUND, str(error)
        case DatabaseUnavailable():
            status, detail = HTTPStatus.SERVICE_UNAVAILABLE, str(error)
            headers["Retry-After"] = str(RETRY_SECONDS)
        case HTTPException() if error.status_code < 500:
            status, detail = HTTPStatus(error.status_code), _explain(request, error)
            headers.update(error.headers or {})
        case _:
            logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
            status, detail = HTTPStatus.INTERNAL_SERVER_ERROR, "The service failed in a way that its log explains."
    problem = Problem("about:blank", status.phrase, status.value, detail, problems, REQUEST_ID.get())
    return Response(msgspec.json.encode(problem), status_code=status, headers=headers, media_type=PROBLEM_MEDIA_TYPE)


def _explain(request: Request[Any, Any, Any], error: HTTPException) -> str:
    """The detail of an error that the framework raised."""
    match error.status_code:
        case HTTPStatus.NOT_FOUND:
            return f"There is nothing at {request.url.path}; GET / lists the paths."
        case HTTPStatus.METHOD_NOT_ALLOWED:
            return f"{request.method} is not possible at {request.url.path}; the Allow header lists what is."
        case _:
            return error.detail
