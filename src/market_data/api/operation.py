"""What the handlers share: how an operation is documented, how its answer is written, how it reaches the database."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import msgspec
from litestar import Request
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example, OpenAPIHeader, OpenAPIResponse, Operation, Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.response.base import ASGIResponse

from market_data import queries
from market_data.api.parameters import QueryParameter
from market_data.database import Database
from market_data.errors import NotFound
from market_data.models import ParameterProblem, Problem

PROBLEM_MEDIA_TYPE = "application/problem+json"

RETRY_SECONDS = 1
"""What `Retry-After` says beside a 503: a lost connection is retried within about a second."""

Row = TypeVar("Row")

encode = msgspec.json.Encoder().encode

LINK = OpenAPIHeader(
    description='`<…>; rel="next"`: the address of the next page, where there is one.',
    schema=Schema(type=OpenAPIType.STRING),
)
RETRY_AFTER = OpenAPIHeader(
    description="Seconds to wait before trying again.", required=True, schema=Schema(type=OpenAPIType.INTEGER)
)


def operation(*parameters: QueryParameter[Any]) -> type[Operation]:
    """The `operation_class` of a handler that takes these parameters, with the headers of its answers."""

    @dataclass
    class DescribedOperation(Operation):
        def __post_init__(self) -> None:
            self.parameters = [parameter.describe() for parameter in parameters]
            for status, response in (self.responses or {}).items():
                if status == "503" and isinstance(response, OpenAPIResponse):
                    response.headers = {"Retry-After": RETRY_AFTER}
                if status == "200" and isinstance(response, OpenAPIResponse) and _is_paged(parameters):
                    response.headers = {"Link": LINK}

    return DescribedOperation


def _is_paged(parameters: tuple[QueryParameter[Any], ...]) -> bool:
    return any(parameter.name == "page_token" for parameter in parameters)


def answers(body: type[msgspec.Struct], *statuses: int) -> dict[int, ResponseSpec]:
    """The `responses` of a handler: its 200, and its problems."""
    success = ResponseSpec(body, generate_examples=False, description=(body.__doc__ or "").partition("\n")[0])
    return {200: success, **{status: PROBLEMS[status] for status in (*statuses, 500, 503)}}


def _problem(description: str, problem: Problem) -> ResponseSpec:
    return ResponseSpec(
        Problem,
        generate_examples=False,
        description=description,
        media_type=PROBLEM_MEDIA_TYPE,
        examples=[Example(value=msgspec.to_builtins(problem))],
    )


PROBLEMS: Mapping[int, ResponseSpec] = {
    400: _problem(
        "A parameter is missing, malformed, out of range or repeated.",
        Problem(
            "about:blank",
            "Bad Request",
            400,
            "limit: must be a whole number from 1 to 1000, not '0'",
            [ParameterProblem("limit", "must be a whole number from 1 to 1000, not '0'")],
        ),
    ),
    404: _problem(
        "The symbol is unknown, or has no trade yet where one is needed.",
        Problem("about:blank", "Not Found", 404, "There is no symbol ACME; GET /symbols lists the known ones."),
    ),
    500: _problem(
        "A failure that nobody foresaw; the service's log explains it.",
        Problem("about:blank", "Internal Server Error", 500, "The service failed in a way that its log explains."),
    ),
    503: _problem(
        "The database can't be reached, or too many requests wait for it.",
        Problem(
            "about:blank",
            "Service Unavailable",
            503,
            "The database can't be reached or is too busy; try again in a moment.",
        ),
    ),
}


def database(request: Request[Any, Any, Any]) -> Database:
    """The database of the application that a request came to."""
    return request.app.state.database


def json(body: msgspec.Struct, *, status: int = 200, headers: Mapping[str, str] | None = None) -> ASGIResponse:
    """A struct as an answer: encoded once, past the framework's own serialisation."""
    return ASGIResponse(body=encode(body), status_code=status, headers=dict(headers or {}))


def encoded_rows(page: queries.Page[Row]) -> list[Row]:
    """The rows of a page for a struct to be encoded: the encoder writes them as the JSON that they are already."""
    return cast(list[Row], page.json)


async def require_symbol(request: Request[Any, Any, Any], symbol: str) -> None:
    """Make sure that a symbol is known. Asked only after an empty answer, so that it costs the others nothing.

    Raises:
        NotFound: It is not.
    """
    if not await database(request).read(queries.symbol_exists, symbol):
        raise NotFound(f"There is no symbol {symbol}; GET /symbols lists the known ones.")
