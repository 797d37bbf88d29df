"""What the handlers share: how an operation is documented, how its answer is written, how it reaches the database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example, OpenAPIHeader, OpenAPIMediaType, OpenAPIResponse, Operation, Schema
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType
from litestar.response.base import ASGIResponse

from market_data import queries
from market_data.api.parameters import QueryParameter
from market_data.database import Database
from market_data.errors import NotFound
from market_data.models import ParameterProblem, Problem

PROBLEM_MEDIA_TYPE = "application/problem+json"

RETRY_SECONDS = 1
"""What `Retry-After` says beside a 503: a lost connection is retried within about a second."""

encode = msgspec.json.Encoder().encode

TEXT = Schema(type=OpenAPIType.STRING)
LINK = OpenAPIHeader(description='`<…>; rel="next"`: the address of the next page, where there is one.', schema=TEXT)
RETRY_AFTER = OpenAPIHeader(
    description="Seconds to wait before trying again.", required=True, schema=Schema(type=OpenAPIType.INTEGER)
)
CACHE_CONTROL = OpenAPIHeader(
    description="`no-cache`: may be kept, and asked about before it is used again. `no-store`: changes all the time.",
    required=True,
    schema=TEXT,
)
VARY = OpenAPIHeader(description="`Accept`, which may ask for another form.", required=True, schema=TEXT)
ETAG = OpenAPIHeader(
    description=(
        "Stands for the contents, where the range lies wholly in the past and the answer was not streamed in pieces. "
        "Give it as `If-None-Match` to ask whether they have changed."
    ),
    schema=TEXT,
)


def operation(*parameters: QueryParameter[Any], has_rows: bool = False) -> type[Operation]:
    """The `operation_class` of a handler that takes these parameters, with the headers of its answers.

    One that has rows answers them page by page, in several forms, and 304 where they have not changed.
    """

    @dataclass
    class DescribedOperation(Operation):
        def __post_init__(self) -> None:
            self.parameters = [parameter.describe() for parameter in parameters]
            responses = self.responses or {}
            for status, response in responses.items():
                if status == "503" and isinstance(response, OpenAPIResponse):
                    response.headers = {"Retry-After": RETRY_AFTER}
                if status == "200" and isinstance(response, OpenAPIResponse):
                    response.headers = {"Cache-Control": CACHE_CONTROL}
                    if has_rows:
                        _describe_rows(response)
            if has_rows:
                responses["304"] = OpenAPIResponse(
                    description="Nothing has changed since the answer that `If-None-Match` names.",
                    headers={"Cache-Control": CACHE_CONTROL, "Vary": VARY, "ETag": ETAG},
                )

    return DescribedOperation


def _describe_rows(response: OpenAPIResponse) -> None:
    response.headers = {**(response.headers or {}), "Vary": VARY, "Link": LINK, "ETag": ETAG}
    content = response.content or {}
    for media_type in content.values():
        if isinstance(media_type.schema, Schema) and media_type.schema.one_of:
            media_type.schema = Schema(any_of=media_type.schema.one_of)  # an empty list may be either
    content["text/csv"] = OpenAPIMediaType(
        schema=Schema(
            type=OpenAPIType.STRING,
            description="The fields as columns, `symbol` first, below a line with their names; empty for null.",
        )
    )
    content["application/vnd.apache.arrow.stream"] = OpenAPIMediaType(
        schema=Schema(
            type=OpenAPIType.STRING,
            format=OpenAPIFormat.BINARY,
            description="The fields as columns of record batches; times with microseconds, numbers as 64-bit floats.",
        )
    )


def answers(body: Any, *statuses: int) -> dict[int, ResponseSpec]:
    """The `responses` of a handler: its 200, a struct or a union of some, and its problems."""
    (first, *_) = get_args(body) or (body,)
    success = ResponseSpec(body, generate_examples=False, description=(first.__doc__ or "").partition("\n")[0])
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


def database(request: ASGIConnection[Any, Any, Any, Any]) -> Database:
    """The database of the application that a request came to."""
    return request.app.state.database


def json(body: msgspec.Struct, headers: Mapping[str, str], *, status: int = 200) -> ASGIResponse:
    """A struct as an answer: encoded once, past the framework's own serialisation."""
    return ASGIResponse(body=encode(body), status_code=status, headers=dict(headers))


def encoded_rows(page: queries.Page) -> Any:
    """The rows of a page for a struct to be encoded: the encoder writes them as the JSON that they are already."""
    return page.rows


async def require_symbol(request: Request[Any, Any, Any], symbol: str) -> None:
    """Make sure that a symbol is known. Asked only after an empty answer, so that it costs the others nothing.

    Raises:
        NotFound: It is not.
    """
    if not await database(request).read(queries.symbol_exists, symbol):
        raise NotFound(f"There is no symbol {symbol}; GET /symbols lists the known ones.")


NAMED_SYMBOLS = 10
"""Unknown symbols that an error names."""


async def require_symbols(request: ASGIConnection[Any, Any, Any, Any], symbols: Sequence[str]) -> None:
    """Make sure that symbols are known. Asked only where one of them is missing from an answer.

    Raises:
        NotFound: Some are not; the message names them, up to ten.
    """
    unknown = await database(request).read(queries.unknown_symbols, symbols)
    if unknown:
        named, more = ", ".join(unknown[:NAMED_SYMBOLS]), len(unknown) - NAMED_SYMBOLS
        raise NotFound(
            f"There is no symbol {named}{f' and {more:,} more' if more > 0 else ''}; GET /symbols lists the known ones."
        )
