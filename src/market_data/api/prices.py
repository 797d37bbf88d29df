"""The newest price of a symbol."""

from typing import Any

from litestar import Request, get
from litestar.response.base import ASGIResponse

from market_data import queries
from market_data.api.operation import answers, database, operation, require_symbol
from market_data.api.parameters import SYMBOL, Query
from market_data.errors import NotFound
from market_data.models import LatestPrice


@get(
    ["/price/latest", "/price"],
    summary="Latest price",
    description="The newest trade of a symbol. `/price` is the same as `/price/latest`.",
    tags=["Prices"],
    operation_class=operation(SYMBOL),
    responses=answers(LatestPrice, 400, 404),
)
async def latest_price(request: Request[Any, Any, Any]) -> ASGIResponse:
    with Query(request) as query:
        symbol = query.take(SYMBOL)
    latest = await database(request).share(queries.latest_price, symbol)
    if latest is None:
        await require_symbol(request, symbol)
        raise NotFound(f"{symbol} has no trade yet; try again once one has arrived.")
    return ASGIResponse(body=bytes(latest))
