"""The symbols."""

from typing import Any

from litestar import Request, get
from litestar.response.base import ASGIResponse

from market_data import queries
from market_data.api.caching import ASK_AGAIN
from market_data.api.operation import answers, database, json, operation
from market_data.models import SymbolList


@get(
    "/symbols",
    summary="Symbols",
    description="Every symbol that can be asked for, in alphabetical order.",
    tags=["Prices"],
    operation_class=operation(),
    responses=answers(SymbolList),
)
async def symbols(request: Request[Any, Any, Any]) -> ASGIResponse:
    found = await database(request).read(queries.symbols)
    return json(SymbolList(found, len(found)), ASK_AGAIN)
