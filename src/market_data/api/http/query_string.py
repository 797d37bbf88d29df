"""Checks of parameters that Litestar lacks.

Litestar reads and checks a request. If a parameter is wrong, missing, unknown or repeated, all are read again here, so that
the response names each problem in the service's own words.
"""

from collections.abc import Collection, Mapping, Sequence, Set
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Final, get_args
from urllib.parse import parse_qsl

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.params import HeaderParameter, ParameterKwarg, PathParameter
from litestar.typing import FieldDefinition

from market_data.api.http.parameter_types import ParsedType, read_choice
from market_data.errors import BadParameters
from market_data.models import ParameterProblem
from market_data.trade_validation import shown

MAX_CACHED_BYTES = 200
"""Length of a query string that is cached; with 1,024 of them the cache stays small."""


async def check_names(request: Request[Any, Any, Any]) -> None:
    """Reject unknown and repeated query parameters: Litestar would ignore them, or use the last. A `before_request` hook.

    Raises:
        BadParameters: A parameter is unknown to the handler, or repeated.
    """
    query_string = request.scope["query_string"]
    valid = _names_are_valid_cached if len(query_string) <= MAX_CACHED_BYTES else _names_are_valid
    if query_string and not valid(query_string, request.route_handler):
        read_parameters(request, request.route_handler)


def _names_are_valid(query_string: bytes, handler: BaseRouteHandler) -> bool:
    names = [name for name, _ in _pairs(query_string)]
    return len(set(names)) == len(names) and query_parameters(handler) >= set(names)


_names_are_valid_cached = lru_cache(1024)(_names_are_valid)


def _pairs(query_string: bytes) -> list[tuple[str, str]]:
    return (_parse_cached if len(query_string) <= MAX_CACHED_BYTES else _parse)(query_string)


def _parse(query_string: bytes) -> list[tuple[str, str]]:
    return parse_qsl(query_string.decode("latin-1"), keep_blank_values=True)


_parse_cached = lru_cache(1024)(_parse)


def known_pairs(request: Request[Any, Any, Any]) -> list[tuple[str, str]]:
    """Return the query parameters that the handler knows, as the client sent them."""
    known = query_parameters(request.route_handler)
    return [(name, value) for name, value in _pairs(request.scope["query_string"]) if name in known]


def read_parameters(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> dict[str, Any]:
    """Return the parameters of a handler by their Python names.

    Raises:
        BadParameters: Parameters are wrong, missing or repeated; all of them are named.
    """
    return _read_all(connection.scope["query_string"], handler, connection)


@lru_cache(1024)
def cached_parameters(query_string: bytes, handler: BaseRouteHandler) -> Mapping[str, Any] | None:
    """Return the parameters of a handler that has them in its query only.

    None if they are wrong, or if one is relative to the time of the request.
    """
    try:
        values = _read_all(query_string, handler, None)
    except BadParameters:
        return None
    return None if any(getattr(value, "relative", None) for value in values.values()) else values


def _read_all(
    query_string: bytes, handler: BaseRouteHandler, connection: ASGIConnection[Any, Any, Any, Any] | None
) -> dict[str, Any]:
    query = _pairs(query_string)
    values: dict[str, Any] = {}
    problems: list[ParameterProblem] = []
    for name, field in _parameters(handler).items():
        match field.kwarg_definition:
            case HeaderParameter() if connection:
                texts = connection.headers.getall(name, [])
            case PathParameter() if connection:
                texts = [str(connection.path_params[name])]
            case _:
                texts = [value for key, value in query if key == name]
        try:
            values[field.name] = _read(name, field, texts)
        except ValueError as error:
            problems.append(ParameterProblem(name, str(error)))
    problems += _unknown(query, handler)
    if problems:
        raise BadParameters(problems)
    return values


SYNONYMS: Final = {
    "from": "start",
    "since": "start",
    "to": "end",
    "until": "end",
    "ticker": "symbol",
    "tickers": "symbols",
    "timeframe": "interval",
    "resolution": "interval",
    "timezone": "tz",
    "sort": "order",
    "cursor": "page_token",
    "page_size": "limit",
}
"""Names of parameters at other services, with the name here."""

MAX_UNKNOWN = 20
"""Unknown parameters that an error names."""


def _unknown(query: Sequence[tuple[str, str]], handler: BaseRouteHandler) -> list[ParameterProblem]:
    known = query_parameters(handler)
    unknown = [name for name in dict.fromkeys(name for name, _ in query) if name not in known]
    return [ParameterProblem(shown(name)[1:-1], _explain_unknown(name, known)) for name in unknown[:MAX_UNKNOWN]]


def _explain_unknown(name: str, known: Collection[str]) -> str:
    if not known:
        return "is not a parameter of this path, which has none"
    given = name.lower()[:50]
    near = [SYNONYMS[given]] if SYNONYMS.get(given) in known else get_close_matches(given, sorted(known), 1, 0.5)
    hint = f"; did you mean {near[0]}?" if near else f"; it has {', '.join(sorted(known))}"
    return f"is not a parameter of this path{hint}"


@lru_cache(64)
def query_parameters(handler: BaseRouteHandler) -> Set[str]:
    """Return the names of the query parameters of a handler."""
    return query_fields(handler).keys()


def query_fields(handler: BaseRouteHandler) -> Mapping[str, FieldDefinition]:
    """Return the query parameters of a handler by the names that clients send."""
    return {
        name: field
        for name, field in _parameters(handler).items()
        if not isinstance(field.kwarg_definition, HeaderParameter | PathParameter)
    }


@lru_cache(64)
def _parameters(handler: BaseRouteHandler) -> Mapping[str, FieldDefinition]:
    """Return the parameters of a handler by the names that clients send."""
    fields = handler.parsed_fn_signature.parameters.values()
    return {
        field.kwarg_definition.name or field.name: field
        for field in fields
        if isinstance(field.kwarg_definition, ParameterKwarg)
    }


def _read(name: str, field: FieldDefinition, texts: list[str]) -> Any:
    if len(texts) > 1:
        raise ValueError(f"is given {len(texts)} times; give it once")
    if not texts:
        if not field.is_required:
            return field.default
        examples = field.kwarg_definition.examples if isinstance(field.kwarg_definition, ParameterKwarg) else None
        raise ValueError(f"is required, for example {name}={examples[0].value if examples else ''}")
    kind = field.annotation
    return kind.read(texts[0]) if isinstance(kind, ParsedType) else read_choice(texts[0], get_args(kind))
