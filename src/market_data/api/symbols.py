"""`/symbols`: listing, adding and changing symbols."""

from typing import Any

from litestar import Request, get, patch, post
from litestar.response.base import ASGIResponse
from msgspec import UNSET

from market_data.api.http.bodies import read_object
from market_data.api.http.caching import REVALIDATE
from market_data.api.http.consistency import read_source, write_headers
from market_data.api.http.handlers import json_response, unknown_symbol
from market_data.api.http.openapi import BODY_PROBLEMS, openapi_operation, request_body, response, responses
from market_data.api.http.parameters import PathSymbolParameter
from market_data.api.http.range_requests import RangeRequests
from market_data.errors import Conflict
from market_data.models import ParameterProblem, Symbol, SymbolList
from market_data.models_writes import SymbolChangeIn, SymbolIn
from market_data.queries.symbols import insert_symbol, read_symbol, read_symbols, update_symbol
from market_data.services import services_of
from market_data.trade_validation import symbol_path

DEFAULT_CURRENCY = "USD"


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
    found = await read_source(request).read(read_symbol, symbol)
    if found is None:
        raise unknown_symbol(symbol)
    return json_response(found, REVALIDATE)


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
    currency = DEFAULT_CURRENCY if given.currency is UNSET else given.currency
    added = await services_of(request).database.write(insert_symbol, given.symbol, given.name, given.signed, currency)
    known, path = added.symbol, symbol_path(given.symbol)
    if known.name != given.name:
        message = f"{given.symbol} is known as {known.name!r}; PATCH {path} changes its name"
        raise Conflict(f"{message}.", [ParameterProblem("name", message)])
    if given.signed and not known.signed:
        message = f"{given.symbol} is known, and is not signed; PATCH {path} changes that"
        raise Conflict(f"{message}.", [ParameterProblem("signed", message)])
    if given.currency not in (UNSET, known.currency):
        message = f"{given.symbol} is known with prices in {known.currency}; PATCH {path} changes that"
        raise Conflict(f"{message}.", [ParameterProblem("currency", message)])
    return json_response(added.symbol, write_headers(request), status=201 if added.is_new else 200)


@patch(
    "/symbols/{symbol:str}",
    opt={"scope": "write"},
    summary="Change a symbol",
    description=(
        "Change the name of a symbol, whether new trades of it are accepted, whether their prices may be 0 or less, or the "
        "currency of its prices. A symbol with such trades stays `signed` (409). Fields that are left out stay."
    ),
    tags=["Prices"],
    operation_class=openapi_operation(body=request_body(SymbolChangeIn, {"active": False}), scope="write"),
    responses=responses(Symbol, *BODY_PROBLEMS, 404, 409),
)
async def change_symbol(request: Request[Any, Any, Any], symbol: PathSymbolParameter) -> ASGIResponse:
    change = await read_object(request, SymbolChangeIn)
    name = None if change.name is UNSET else change.name
    active = None if change.active is UNSET else change.active
    signed = None if change.signed is UNSET else change.signed
    currency = None if change.currency is UNSET else change.currency
    changed = await services_of(request).database.write(update_symbol, symbol, name, active, signed, currency)
    if changed is None:
        raise unknown_symbol(symbol)
    return json_response(changed, write_headers(request))
