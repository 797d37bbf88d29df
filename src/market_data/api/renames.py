"""`POST /symbols/{symbol}/rename`."""

from datetime import UTC, datetime
from typing import Any

from litestar import Request, post
from litestar.response.base import ASGIResponse
from msgspec import UNSET

from market_data.api.http.bodies import read_object
from market_data.api.http.consistency import write_headers
from market_data.api.http.handlers import json_response, unknown_symbol
from market_data.api.http.naming import reload_names, resolve
from market_data.api.http.openapi import BODY_PROBLEMS, openapi_operation, request_body, responses
from market_data.api.http.parameters import PathSymbolParameter
from market_data.api.symbols import actor_of, named_symbol
from market_data.errors import BadParameters
from market_data.models import ParameterProblem, Symbol
from market_data.models_writes import RenameIn
from market_data.queries.names import Renaming, give_name
from market_data.queries.symbols import read_symbol
from market_data.services import services_of
from market_data.trade_validation import rfc3339


@post(
    "/symbols/{symbol:str}/rename",
    status_code=200,
    opt={"scope": "write"},
    summary="Rename a symbol",
    description=(
        "Give a symbol another name from a time on. Its trades stay where they are: the new name returns the whole history, "
        "and so does the old one, with `renamed_to`, until another symbol gets it. Answers show the new name. Repeated, it "
        "changes nothing. 409 if another symbol has the name then, or later."
    ),
    tags=["Prices"],
    operation_class=openapi_operation(
        body=request_body(RenameIn, {"to": "META", "at": "2022-06-09T00:00:00Z"}), scope="write"
    ),
    responses=responses(Symbol, *BODY_PROBLEMS, 404, 409),
)
async def rename_symbol(request: Request[Any, Any, Any], symbol: PathSymbolParameter) -> ASGIResponse:
    given = await read_object(request, RenameIn)
    if given.at > (now := datetime.now(UTC)):
        raise BadParameters([ParameterProblem("at", f"is in the future; now is {rfc3339(now)}. Rename the symbol then")])
    database = services_of(request).database
    key = (await resolve(request, [symbol])).key
    if await database.read(read_symbol, key) is None:
        raise unknown_symbol(symbol)
    reason = None if given.reason is UNSET else given.reason
    await database.write(give_name, key, Renaming(given.to, given.at, actor_of(request), reason))
    await reload_names(request)
    found = await database.read(read_symbol, key)
    if found is None:
        raise unknown_symbol(symbol)
    return json_response(named_symbol(services_of(request).names, found), write_headers(request))
