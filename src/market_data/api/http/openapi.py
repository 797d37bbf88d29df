"""What the handlers share: how an operation is documented, how its answer is written, how it reaches the database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import (
    Example,
    OpenAPIHeader,
    OpenAPIMediaType,
    OpenAPIResponse,
    Operation,
    RequestBody,
    Schema,
)
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType
from litestar.response.base import ASGIResponse

from market_data.api.http.parameters import QueryParameter
from market_data.errors import NotFound
from market_data.models import ParameterProblem, Problem
from market_data.queries.row_pages import Page
from market_data.queries.symbols import symbol_exists, unknown_symbols
from market_data.services import services_of

PROBLEM_MEDIA_TYPE = "application/problem+json"

RETRY_SECONDS = 1
"""What `Retry-After` says beside a 503: a lost connection is retried within about a second."""

OPEN: Final[dict[str, Any]] = {"scope": None}
"""The `opt` of a handler that needs no key, ever. One without an `opt` needs one for reading where `AUTH=required`."""

WITH_KEY: Final[Sequence[dict[str, list[str]]]] = ({"key": []}, {"apiKeyHeader": []})
"""What the document says of an operation that needs a key: either header will do."""

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


RATE_LIMITS = {
    name: OpenAPIHeader(description=f"Where there is a rate limit: {meaning}", schema=Schema(type=kind))
    for name, kind, meaning in (
        ("RateLimit-Limit", OpenAPIType.INTEGER, "requests that may be made at once."),
        ("RateLimit-Remaining", OpenAPIType.INTEGER, "how many are left."),
        ("RateLimit-Reset", OpenAPIType.INTEGER, "seconds until all of them are back."),
        ("RateLimit-Policy", OpenAPIType.STRING, "how many seconds it takes from none to all, as in `600;w=60`."),
    )
}
HEADERS = {
    "200": {"Cache-Control": CACHE_CONTROL},
    "201": {"Cache-Control": CACHE_CONTROL},
    "429": {"Retry-After": RETRY_AFTER},
    "503": {"Retry-After": RETRY_AFTER},
}
"""The headers of answers, by their status."""
RATE_LIMITED = {"200", "201", "429"}
"""Those whose description has the headers of the rate limit, which all answers have."""
TOO_MANY = "The rate limit of the key, or of the address, is used up."


def operation(
    *parameters: QueryParameter[Any],
    has_rows: bool = False,
    scope: str | None = "read",
    body: RequestBody | None = None,
    limited: bool = True,
) -> type[Operation]:
    """The `operation_class` of a handler that takes these parameters and this body, with the headers of its answers.

    One that has rows answers them page by page, in several forms, and 304 where they have not changed. `scope` is that of
    the handler's `opt`.
    """

    @dataclass
    class DescribedOperation(Operation):
        def __post_init__(self) -> None:
            self.parameters = [parameter.describe() for parameter in parameters]
            responses = self.responses = self.responses or {}
            _describe_access(self, responses, scope)
            self.request_body = body
            if limited:
                _describe_limit(responses)
            for status, response in responses.items():
                if status in HEADERS and isinstance(response, OpenAPIResponse):
                    response.headers = dict(HEADERS[status])
                    if limited and status in RATE_LIMITED:
                        response.headers.update(RATE_LIMITS)
                    if status == "200" and has_rows:
                        _describe_rows(response)
            if has_rows:
                responses["304"] = OpenAPIResponse(
                    description="Nothing has changed since the answer that `If-None-Match` names.",
                    headers={"Cache-Control": CACHE_CONTROL, "Vary": VARY, "ETag": ETAG},
                )

    return DescribedOperation


def _describe_limit(responses: dict[str, Any]) -> None:
    """Say that there may be too many requests, whatever they ask."""
    responses.setdefault("429", OpenAPIResponse(description=TOO_MANY, content=_problem_of(responses, 429)))


def _describe_access(operation: Operation, responses: dict[str, Any], scope: str | None) -> None:
    """Say which keys an operation takes, and how it refuses others. What reading needs the whole document says."""
    if scope is None:
        operation.security = []
        return
    responses["401"] = OpenAPIResponse(
        description="The key is missing where one is needed, unknown, expired or revoked.",
        headers={"WWW-Authenticate": OpenAPIHeader(description="`Bearer`.", required=True, schema=TEXT)},
        content=_problem_of(responses, 401),
    )
    if scope != "read":
        operation.security = list(WITH_KEY)
        operation.description = f"{operation.description or ''}\n\nNeeds a key with the scope `{scope}`.".strip()
        responses["403"] = OpenAPIResponse(
            description=f"The key lacks the scope `{scope}`.", content=_problem_of(responses, 403)
        )


def _problem_of(responses: dict[str, Any], status: int) -> dict[str, OpenAPIMediaType]:
    """The contents of a problem that a handler need not list, with the schema of one that all of them do."""
    schema = responses["500"].content[PROBLEM_MEDIA_TYPE].schema
    examples = PROBLEMS[status].examples or []
    return {
        PROBLEM_MEDIA_TYPE: OpenAPIMediaType(
            schema=schema, examples={f"example-{n}": example for n, example in enumerate(examples, 1)}
        )
    }


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


WRITING = (400, 413, 415)
"""The problems that every operation with a body has."""


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
    401: _problem(
        "A key is needed, or the one that was given is unknown, expired or revoked.",
        Problem(
            "about:blank",
            "Unauthorized",
            401,
            "This needs a key with the scope write, in `Authorization: Bearer …` or `X-API-Key: …`; "
            "`market-data keys create NAME --scope write` makes one.",
        ),
    ),
    403: _problem(
        "The key has not the scope that is needed.",
        Problem(
            "about:blank",
            "Forbidden",
            403,
            "The key desk lacks the scope write, which this needs; `market-data keys create NAME --scope write` makes one "
            "that has it.",
        ),
    ),
    404: _problem(
        "The symbol is unknown, or has no trade yet where one is needed.",
        Problem("about:blank", "Not Found", 404, "There is no symbol ACME; GET /symbols lists the known ones."),
    ),
    409: _problem(
        "What is stored, or was cancelled, says otherwise.",
        Problem(
            "about:blank",
            "Conflict",
            409,
            "trade_id: this trade was cancelled at 2026-02-08T11:00:00Z",
            [ParameterProblem("trade_id", "this trade was cancelled at 2026-02-08T11:00:00Z")],
        ),
    ),
    413: _problem(
        "The body has more bytes, or more trades, than are taken at once.",
        Problem(
            "about:blank",
            "Request Entity Too Large",
            413,
            "The call has more than 10,000 trades; send them in several calls.",
        ),
    ),
    415: _problem(
        "The body is of a form that is not read here.",
        Problem(
            "about:blank",
            "Unsupported Media Type",
            415,
            "Content-Type must be application/json, not 'text/plain'.",
        ),
    ),
    429: _problem(
        TOO_MANY,
        Problem("about:blank", "Too Many Requests", 429, "The rate limit of 600 requests in 60 s is used up."),
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


def json(body: msgspec.Struct, headers: Mapping[str, str], *, status: int = 200) -> ASGIResponse:
    """A struct as an answer: encoded once, past the framework's own serialisation."""
    return ASGIResponse(body=encode(body), status_code=status, headers=dict(headers))


def encoded_rows(page: Page) -> Any:
    """The rows of a page for a struct to be encoded: the encoder writes them as the JSON that they are already."""
    return page.rows


async def require_symbol(request: Request[Any, Any, Any], symbol: str) -> None:
    """Make sure that a symbol is known. Asked only after an empty answer, so that it costs the others nothing.

    Raises:
        NotFound: It is not.
    """
    if not await services_of(request).database.read(symbol_exists, symbol):
        raise NotFound(f"There is no symbol {symbol}; GET /symbols lists the known ones.")


NAMED_SYMBOLS = 10
"""Unknown symbols that an error names."""


async def require_symbols(request: ASGIConnection[Any, Any, Any, Any], symbols: Sequence[str]) -> None:
    """Make sure that symbols are known. Asked only where one of them is missing from an answer.

    Raises:
        NotFound: Some are not; the message names them, up to ten.
    """
    unknown = await services_of(request).database.read(unknown_symbols, symbols)
    if unknown:
        named, more = ", ".join(unknown[:NAMED_SYMBOLS]), len(unknown) - NAMED_SYMBOLS
        raise NotFound(
            f"There is no symbol {named}{f' and {more:,} more' if more > 0 else ''}; GET /symbols lists the known ones."
        )
