"""`/symbols`: listing, adding and changing symbols."""

from decimal import Decimal
from typing import Any

from litestar import Request, get, patch, post
from litestar.response.base import ASGIResponse
from msgspec import UNSET, Raw
from msgspec.structs import replace

from market_data.api.http.bodies import read_object
from market_data.api.http.caching import REVALIDATE
from market_data.api.http.consistency import read_source, write_headers
from market_data.api.http.handlers import json_response, root_path, unknown_symbol
from market_data.api.http.naming import loaded_names, reload_names, resolve, with_renamed
from market_data.api.http.openapi import BODY_PROBLEMS, openapi_operation, request_body, response, responses
from market_data.api.http.parameters import PathSymbolParameter
from market_data.api.http.range_requests import RangeRequests
from market_data.errors import Conflict
from market_data.models import ParameterProblem, PastName, Symbol, SymbolList
from market_data.models_writes import SymbolChangeIn, SymbolIn
from market_data.names import Names
from market_data.queries.names import add_symbol_named
from market_data.queries.row_pages import digits_of
from market_data.queries.symbols import read_symbol, read_symbols, update_symbol
from market_data.services import services_of
from market_data.trade_validation import symbol_path


@get(
    "/symbols",
    summary="Symbols",
    description="Every known symbol, in alphabetical order.",
    tags=["Prices"],
    operation_class=openapi_operation(has_ranges=True),
    middleware=[RangeRequests],
    responses=responses(SymbolList),
)
async def symbols(request: Request[Any, Any, Any]) -> ASGIResponse:
    found = await read_source(request).read(read_symbols)
    if names := await loaded_names(request):
        found = sorted((_shown(names, each) for each in found), key=lambda each: each.symbol)
    return json_response(SymbolList(found, len(found)), REVALIDATE)


@get(
    "/symbols/{symbol:str}",
    summary="One symbol",
    description="A known symbol, as in `/symbols`. Slashes in it may be escaped (`EUR%2FUSD`) or not (`EUR/USD`).",
    tags=["Prices"],
    operation_class=openapi_operation(),
    responses=responses(Symbol, 400, 404),
)
async def one_symbol(request: Request[Any, Any, Any], symbol: PathSymbolParameter) -> ASGIResponse:
    resolved = await resolve(request, [symbol])
    found = await read_source(request).read(read_symbol, resolved.key)
    if found is None:
        raise unknown_symbol(symbol)
    body = with_renamed(named_symbol(services_of(request).names, found), resolved, is_list=False)
    headers = dict(REVALIDATE)
    if resolved.renamed:
        headers["Link"] = f'<{root_path(request)}{symbol_path(resolved.renamed_to)}>; rel="canonical"'
    return json_response(body, headers)


def _shown(names: Names, symbol: Symbol) -> Symbol:
    """Return a symbol with its present name."""
    return replace(symbol, symbol=names.name_of(symbol.symbol))


def named_symbol(names: Names, symbol: Symbol) -> Symbol:
    """Return a symbol, by its key, with its names."""
    past = [PastName(each.name, each.since, each.until) for each in names.names_of(symbol.symbol)]
    return replace(_shown(names, symbol), names=past)


def actor_of(request: Request[Any, Any, Any]) -> str:
    """Return the name of the API key."""
    key = request.scope["state"].get("key")
    return "unknown" if key is None else key.name


@post(
    "/symbols",
    opt={"scope": "write"},
    summary="Add a symbol",
    description="Add a symbol. Repeated with the same values, it changes nothing and returns 200.",
    tags=["Prices"],
    operation_class=openapi_operation(
        body=request_body(SymbolIn, {"symbol": "NVDA", "name": "NVIDIA Corporation"}), scope="write"
    ),
    responses={
        **responses(Symbol, *BODY_PROBLEMS, 409),
        200: response(Symbol, "The symbol, which was known already."),
        201: response(Symbol, "The symbol, which is new."),
    },
)
async def add_symbol(request: Request[Any, Any, Any]) -> ASGIResponse:
    given = await read_object(request, SymbolIn)
    added = await services_of(request).database.write(add_symbol_named, given, actor_of(request))
    if added.symbol.symbol != given.symbol or await loaded_names(request):
        await reload_names(request)
    added = added._replace(symbol=_shown(services_of(request).names, added.symbol))
    if not added.is_new and (problems := _differences(added.symbol, given)):
        raise Conflict(f"{problems[0].detail}.", problems)
    return json_response(added.symbol, write_headers(request), status=201 if added.is_new else 200)


def _differences(known: Symbol, given: SymbolIn) -> list[ParameterProblem]:
    """Return the values of a known symbol that are not those of the body."""
    remedy = f"PATCH {symbol_path(known.symbol)} changes"
    problems: list[ParameterProblem] = []
    for name in (name for name in given.__struct_fields__ if name not in ("symbol", "signed")):
        stored, wanted = getattr(known, name), getattr(given, name)
        if wanted is UNSET or (Decimal(digits_of(stored)) if isinstance(wanted, Decimal) and stored else stored) == wanted:
            continue
        shown = digits_of(stored) if isinstance(stored, Raw) else stored
        if name == "name":
            detail = f"{known.symbol} is known as {stored!r}; {remedy} its name"
        elif name == "currency":
            detail = f"{known.symbol} is known with prices in {stored}; {remedy} that"
        else:
            detail = f"{known.symbol} is known with the {name} {shown or 'null'}; {remedy} that"
        problems.append(ParameterProblem(name, detail))
    if given.signed and not known.signed:
        problems.append(ParameterProblem("signed", f"{known.symbol} is known, and is not signed; {remedy} that"))
    return problems


@patch(
    "/symbols/{symbol:str}",
    opt={"scope": "write"},
    summary="Change a symbol",
    description=(
        "Change the name of a symbol, whether new trades of it are accepted, whether their prices may be 0 or less, the "
        "currency of its prices, or its other attributes. A symbol with such prices stays `signed` (409). Fields that are "
        "left out stay; null removes a tick size or a date."
    ),
    tags=["Prices"],
    operation_class=openapi_operation(body=request_body(SymbolChangeIn, {"active": False}), scope="write"),
    responses=responses(Symbol, *BODY_PROBLEMS, 404, 409),
)
async def change_symbol(request: Request[Any, Any, Any], symbol: PathSymbolParameter) -> ASGIResponse:
    change = await read_object(request, SymbolChangeIn)
    key = (await resolve(request, [symbol])).key
    changed = await services_of(request).database.write(update_symbol, key, change)
    if changed is None:
        raise unknown_symbol(symbol)
    return json_response(_shown(services_of(request).names, changed), write_headers(request))
