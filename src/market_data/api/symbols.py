"""The symbols."""

from typing import Any

from litestar import Request, get, patch, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.response.base import ASGIResponse

from market_data.api.http.bodies import read_object
from market_data.api.http.caching import ASK_AGAIN
from market_data.api.http.consistency import reads, written
from market_data.api.http.fields import Fields
from market_data.api.http.openapi import WRITING, answers, json, operation
from market_data.api.http.parameters import SYMBOL_OF_PATH
from market_data.api.http.schemas import NEW_SYMBOL_BODY, SYMBOL_BODY
from market_data.errors import BadParameters, Conflict, NotFound
from market_data.models import ParameterProblem, Symbol, SymbolList
from market_data.queries.symbols import insert_symbol, read_symbols, update_symbol
from market_data.services import services_of


@get(
    "/symbols",
    summary="Symbols",
    description="Every symbol that can be asked for, in alphabetical order.",
    tags=["Prices"],
    operation_class=operation(),
    responses=answers(SymbolList),
)
async def symbols(request: Request[Any, Any, Any]) -> ASGIResponse:
    found = await reads(request).read(read_symbols)
    return json(SymbolList(found, len(found)), ASK_AGAIN)


@post(
    "/symbols",
    opt={"scope": "write"},
    summary="Add a symbol",
    description="Make a symbol known. Repeated with the same name, it changes nothing and answers 200.",
    tags=["Prices"],
    operation_class=operation(body=NEW_SYMBOL_BODY, scope="write"),
    responses={
        **answers(Symbol, *WRITING, 409),
        200: ResponseSpec(Symbol, generate_examples=False, description="The symbol, which was there already."),
        201: ResponseSpec(Symbol, generate_examples=False, description="The symbol, which is new."),
    },
)
async def add_symbol(request: Request[Any, Any, Any]) -> ASGIResponse:
    fields = Fields(await read_object(request, ("symbol", "name")))
    symbol, name = fields.symbol(), fields.name()
    fields.end()
    added = await services_of(request).database.write(insert_symbol, symbol, name)
    if added.symbol.name != name:
        message = f"{symbol} is known as {added.symbol.name!r}; PATCH /symbols/{symbol} changes its name"
        raise Conflict(f"{message}.", [ParameterProblem("name", message)])
    return json(added.symbol, written(request), status=201 if added.is_new else 200)


# A path, for symbols may have slashes in them.
@patch(
    "/symbols/{symbol:path}",
    opt={"scope": "write"},
    summary="Change a symbol",
    description="Give a symbol another name, or say whether new trades of it are taken. What is left out stays.",
    tags=["Prices"],
    operation_class=operation(SYMBOL_OF_PATH, body=SYMBOL_BODY, scope="write"),
    responses=answers(Symbol, *WRITING, 404),
)
async def change_symbol(request: Request[Any, Any, Any]) -> ASGIResponse:
    given: str = request.path_params["symbol"]
    try:
        symbol = SYMBOL_OF_PATH.read(given.removeprefix("/"))
    except ValueError as error:
        raise BadParameters([ParameterProblem("symbol", str(error))]) from None
    fields = Fields(await read_object(request, ("name", "active")))
    name = fields.name() if fields.has("name") else None
    active = fields.active() if fields.has("active") else None
    if not fields.has("name") and not fields.has("active"):
        fields.refuse("body", "is empty; give name, active or both")
    fields.end()
    changed = await services_of(request).database.write(update_symbol, symbol, name, active)
    if changed is None:
        raise NotFound(f"There is no symbol {symbol}; GET /symbols lists the known ones.")
    return json(changed, written(request))
