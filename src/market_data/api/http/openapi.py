"""The parts of the OpenAPI document that Litestar does not generate: bodies, headers, problems and access."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

import msgspec
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

from market_data.api.http.bodies import JSON
from market_data.api.http.components import reference_to
from market_data.api.http.problem_specs import PROBLEM_MEDIA_TYPE, PROBLEMS

OPEN: Final[dict[str, Any]] = {"scope": None}
"""`opt` of a handler that never needs a key. A handler without `opt` needs a key to read if `AUTH=required`."""

WITH_KEY: Final[Sequence[dict[str, list[str]]]] = ({"key": []}, {"apiKeyHeader": []})
"""Security of an operation that needs a key, in either header."""

BODY_PROBLEMS = (400, 413, 415)
"""Problems of every operation with a body."""

TEXT = Schema(type=OpenAPIType.STRING)
LINK = OpenAPIHeader(
    description=(
        '`<…>; rel="next"`: the URL of the next page, if there is one; `<…>; rel="canonical"`: that of the same request by '
        "present names of symbols, if it has former ones."
    ),
    schema=TEXT,
)
RETRY_AFTER = OpenAPIHeader(
    description="Seconds to wait before a retry.", required=True, schema=Schema(type=OpenAPIType.INTEGER)
)
CACHE_CONTROL = OpenAPIHeader(
    description=(
        "`no-cache`: may be stored, and must be revalidated before use. `no-store`: must not be stored. `max-age` and "
        "`stale-while-revalidate`: seconds for which candles and trades of the past may be used without a late trade."
    ),
    required=True,
    schema=TEXT,
)
VARY = OpenAPIHeader(
    description="`Accept`, which may choose another format, and of more than a kilobyte `Accept-Encoding`.",
    required=True,
    schema=TEXT,
)
ACCEPT_ENCODING = OpenAPIHeader(description="`gzip`, if the `Content-Encoding` is unsupported.", schema=TEXT)
ETAG = OpenAPIHeader(
    description=(
        "Version of the content, if the range lies wholly in the past and the response was not streamed. Send it as "
        "`If-None-Match` to revalidate. It is weak if the response is compressed."
    ),
    schema=TEXT,
)
LAST_MODIFIED = OpenAPIHeader(
    description="With an `ETag`: time at which a trade of the content was stored, corrected or cancelled last.", schema=TEXT
)
ACCEPT_RANGES = OpenAPIHeader(description="`bytes`.", required=True, schema=TEXT)
CONTENT_RANGE = OpenAPIHeader(
    description="Positions of the bytes in the body and its length, as in `bytes 0-65535/1048576`.",
    required=True,
    schema=TEXT,
)
VALIDATORS = {"ETag": ETAG, "Last-Modified": LAST_MODIFIED}
DATA_VERSION = OpenAPIHeader(
    description=(
        "Version of the data: the answer has all trades that were committed up to it. With `as_of=<version>`, the same "
        "request returns the same rows again. Absent while a candle that the answer depends on is not settled."
    ),
    schema=Schema(type=OpenAPIType.INTEGER),
)
RATE_LIMITS = {
    name: OpenAPIHeader(description=f"If there is a rate limit: {meaning}", schema=Schema(type=kind))
    for name, kind, meaning in (
        ("RateLimit-Limit", OpenAPIType.INTEGER, "maximum number of requests at once."),
        ("RateLimit-Remaining", OpenAPIType.INTEGER, "number of requests that are left."),
        ("RateLimit-Reset", OpenAPIType.INTEGER, "seconds until the full number is available again."),
        ("RateLimit-Policy", OpenAPIType.STRING, "seconds in which it is refilled from none, as in `600;w=60`."),
    )
}
HEADERS = {
    "200": {"Cache-Control": CACHE_CONTROL},
    "201": {"Cache-Control": CACHE_CONTROL},
    "415": {"Accept-Encoding": ACCEPT_ENCODING},
    "429": {"Retry-After": RETRY_AFTER},
    "503": {"Retry-After": RETRY_AFTER},
}
RATE_LIMITED = {"200", "201", "429"}
"""Statuses whose description has the rate limit headers, which all responses have."""


def openapi_operation(
    *,
    has_rows: bool = False,
    has_pages: bool = False,
    has_ranges: bool = False,
    has_version: bool = False,
    scope: str | None = "read",
    body: RequestBody | None = None,
    rate_limited: bool = True,
) -> type[Operation]:
    """Return the `operation_class` of a handler, which adds the body and the headers of the responses.

    An operation with pages has several formats, one with rows 304 as well, one with ranges 206, one with a version
    `Data-Version`. `scope` is that of the handler's `opt`.
    """

    @dataclass
    class DescribedOperation(Operation):
        def __post_init__(self) -> None:
            self.parameters = self.parameters or []
            responses = self.responses = self.responses or {}
            self.request_body = body
            _describe_access(self, responses, scope)
            for status in (400, 421, 429) if rate_limited else (400,):
                responses.setdefault(str(status), _problem(responses, status))
            for status, response in responses.items():
                if status in HEADERS and isinstance(response, OpenAPIResponse):
                    response.headers = dict(HEADERS[status])
                    if rate_limited and status in RATE_LIMITED:
                        response.headers.update(RATE_LIMITS)
                    if status == "200" and has_version:
                        response.headers["Data-Version"] = DATA_VERSION
                    if status == "200" and (has_rows or has_pages):
                        _describe_pages(response, VALIDATORS if has_rows else {})
            if has_ranges:
                _describe_ranges(responses)
            if has_rows:
                responses["304"] = OpenAPIResponse(
                    description="The content has not changed since the response that `If-None-Match` names.",
                    headers={"Cache-Control": CACHE_CONTROL, "Data-Version": DATA_VERSION, "Vary": VARY, **VALIDATORS},
                )

    return DescribedOperation


def _describe_access(operation: Operation, responses: dict[str, Any], scope: str | None) -> None:
    """Describe the required key. The document as a whole describes that of reads."""
    if scope is None:
        operation.security = []
        return
    responses["401"] = _problem(responses, 401)
    responses["401"].headers = {"WWW-Authenticate": OpenAPIHeader(description="`Bearer`.", required=True, schema=TEXT)}
    if scope != "read":
        operation.security = list(WITH_KEY)
        operation.description = f"{operation.description or ''}\n\nNeeds a key with the scope `{scope}`.".strip()
        responses["403"] = _problem(responses, 403)
        responses["403"].description = f"The key lacks the scope `{scope}`."


def _problem(responses: dict[str, Any], status: int) -> OpenAPIResponse:
    """Return a problem that a handler need not list, with the schema of one that all of them list."""
    spec = PROBLEMS[status]
    schema = responses["500"].content[PROBLEM_MEDIA_TYPE].schema
    examples = {f"example-{n}": example for n, example in enumerate(spec.examples or (), 1)}
    media_type = OpenAPIMediaType(schema=schema, examples={**examples})
    return OpenAPIResponse(description=spec.description, content={PROBLEM_MEDIA_TYPE: media_type})


def _describe_ranges(responses: dict[str, Any]) -> None:
    """Describe byte ranges. A 206 has no media types: generated clients would take a part for a whole list."""
    responses["206"] = OpenAPIResponse(
        description=(
            "The bytes that `Range` asks for, such as `bytes=0-65535`: one range, never compressed. HEAD has the length of "
            "the whole body and its `ETag`, which may be sent as `If-Range`."
        ),
        headers={
            "Accept-Ranges": ACCEPT_RANGES,
            "Cache-Control": CACHE_CONTROL,
            "Content-Range": CONTENT_RANGE,
            "ETag": ETAG,
        },
    )
    responses["412"] = _problem(responses, 412)
    responses["416"] = _problem(responses, 416)
    responses["416"].headers = {"Content-Range": CONTENT_RANGE}


def _describe_pages(response: OpenAPIResponse, more: Mapping[str, OpenAPIHeader]) -> None:
    response.headers = {**(response.headers or {}), "Vary": VARY, "Link": LINK, **more}
    content = response.content or {}
    for media_type in content.values():
        if isinstance(media_type.schema, Schema) and media_type.schema.one_of:
            media_type.schema = Schema(any_of=media_type.schema.one_of)  # a list with `fill` is valid without it, too
    content["text/csv"] = OpenAPIMediaType(
        schema=Schema(
            type=OpenAPIType.STRING,
            description="The fields as columns, `symbol` first, below a line with their names; empty for null.",
        )
    )
    content["application/x-ndjson"] = OpenAPIMediaType(
        schema=Schema(type=OpenAPIType.STRING, description="A JSON object per line, with the fields of JSON and `symbol`.")
    )
    content["application/vnd.apache.parquet"] = OpenAPIMediaType(
        schema=Schema(
            type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY, description="The columns of Arrow as a Parquet file."
        )
    )
    content["application/vnd.apache.arrow.stream"] = OpenAPIMediaType(
        schema=Schema(
            type=OpenAPIType.STRING,
            format=OpenAPIFormat.BINARY,
            description="The fields as columns of record batches; times with microseconds, numbers as 64-bit floats.",
        )
    )


def response(body: Any, description: str, **more: Any) -> ResponseSpec:
    """Return a response with a body, for the `responses` of a handler."""
    return ResponseSpec(body, generate_examples=False, description=description, **more)


def problem_responses(*statuses: int) -> dict[int, ResponseSpec]:
    """Return problems, for the `responses` of a handler."""
    return {status: PROBLEMS[status] for status in statuses}


def responses(body: Any, *statuses: int) -> dict[int, ResponseSpec]:
    """Return the `responses` of a handler: its 200, a struct or a union of structs whose last is usual, and its problems."""
    (*_, usual) = get_args(body) or (body,)
    success = response(body, (usual.__doc__ or "").partition("\n")[0])
    return {200: success, **problem_responses(*statuses, 500, 503)}


def request_body(kind: type[msgspec.Struct], example: Mapping[str, Any]) -> RequestBody:
    """Return the description of a JSON body, one of `components.BODIES`."""
    media_type = OpenAPIMediaType(schema=reference_to(kind), examples={"example": Example(value=example)})
    return RequestBody(required=True, content={JSON[0]: media_type})
