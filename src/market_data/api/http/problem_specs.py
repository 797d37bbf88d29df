"""Problems as the OpenAPI document describes them, each with an example."""

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example

from market_data.models import ParameterProblem, Problem

PROBLEM_MEDIA_TYPE = "application/problem+json"


def _problem(status: HTTPStatus, description: str, detail: str, field: str | None = None) -> tuple[int, ResponseSpec]:
    errors = [ParameterProblem(field, detail.removeprefix(f"{field}: "))] if field else None
    problem = Problem("about:blank", status.phrase, status.value, detail, errors)
    return status.value, ResponseSpec(
        Problem,
        generate_examples=False,
        description=description,
        media_type=PROBLEM_MEDIA_TYPE,
        examples=[Example(value=msgspec.to_builtins(problem))],
    )


PROBLEMS: Mapping[int, ResponseSpec] = dict(
    (
        _problem(
            HTTPStatus.BAD_REQUEST,
            "A parameter is missing, malformed, out of range or repeated.",
            "limit: must be a whole number from 1 to 1000, not '0'",
            "limit",
        ),
        _problem(
            HTTPStatus.UNAUTHORIZED,
            "The key is missing but required, unknown, expired or revoked.",
            "This needs a key with the scope write, in `Authorization: Bearer …` or `X-API-Key: …`; "
            "`market-data keys create NAME --scope write` creates one.",
        ),
        _problem(
            HTTPStatus.FORBIDDEN,
            "The key lacks the required scope.",
            "The key desk lacks the scope write; `market-data keys create NAME --scope write` creates a key with this "
            "scope.",
        ),
        _problem(
            HTTPStatus.NOT_FOUND,
            "The symbol is unknown, or has no trade yet.",
            "There is no symbol ACME; GET /symbols lists the known ones.",
        ),
        _problem(
            HTTPStatus.CONFLICT,
            "The request contradicts a stored or cancelled trade, or a stored symbol.",
            "trade_id: this trade was cancelled at 2026-02-08T11:00:00Z",
            "trade_id",
        ),
        _problem(
            HTTPStatus.GONE,
            "The response would need trades that retention has dropped.",
            "The trades before 2026-02-08T00:00:00Z were dropped; start there, or choose an interval from 1m on.",
        ),
        _problem(
            HTTPStatus.PRECONDITION_FAILED,
            "The content may have changed since the first range was read.",
            "The content may have changed since this read began, so the range is not available. Read it again from its "
            "first byte, or without a range.",
        ),
        _problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "The body has too many bytes or too many trades.",
            "The request has more than 10,000 trades; send them in several requests.",
        ),
        _problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "The body has an unsupported media type or encoding.",
            "Content-Type must be application/json, not 'text/plain'.",
        ),
        _problem(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            "The range begins behind the end of the body.",
            "The body has 1,371 bytes; the range begins behind its end.",
        ),
        _problem(
            HTTPStatus.MISDIRECTED_REQUEST,
            "The `Host` is not a name of the service.",
            "The service is not known as example.com; its operator can add the name to ALLOWED_HOSTS.",
        ),
        _problem(
            HTTPStatus.TOO_MANY_REQUESTS,
            "The rate limit of the key, or of the address, is exceeded.",
            "The rate limit of 600 requests in 60 s is used up.",
        ),
        _problem(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            "Unexpected failure; the service's log has its cause.",
            "The service failed unexpectedly; its log has the cause.",
        ),
        _problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "The database can't be reached, or too many requests wait for it.",
            "The database can't be reached or is too busy; try again in a moment.",
        ),
    )
)
