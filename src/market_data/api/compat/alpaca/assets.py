"""`/alpaca/v2/assets`."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any
from uuid import NAMESPACE_URL, UUID, uuid5

from litestar import Request, get
from litestar.params import PathParameter
from litestar.response.base import ASGIResponse
from msgspec import Struct

from market_data.api.compat.names import read_known_symbol, read_known_symbols
from market_data.api.compat.parameters import ForeignOperation, foreign_responses, known_form, query
from market_data.api.http.caching import NO_STORE
from market_data.api.http.complete_response import CompleteResponse
from market_data.api.http.handlers import encode, json_response
from market_data.errors import NotFound
from market_data.models import Symbol, doc
from market_data.trade_validation import shown

EQUITY, CRYPTO = "us_equity", "crypto"
"""Class of symbols of the type `crypto`, and of all others. The data of both is under `/v2/stocks`."""


class AlpacaAsset(Struct, frozen=True, rename={"asset_class": "class"}):
    """A symbol. Nothing can be traded here."""

    id: Annotated[UUID, doc("Derived from the symbol.")]
    asset_class: Annotated[str, doc("`crypto` for symbols of that type, else `us_equity`.", "us_equity")]
    exchange: Annotated[str, doc("Empty: the exchange is unknown.")]
    symbol: str
    name: str
    status: Annotated[str, doc("`active`, or `inactive` if it is delisted or new trades are refused.", "active")]
    tradable: bool = False
    marginable: bool = False
    shortable: bool = False
    easy_to_borrow: bool = False
    fractionable: bool = True
    price_increment: Annotated[float | None, doc("Smallest step of the price; null if it is unknown.", 0.01)] = None


@get(
    "/assets",
    summary="Assets",
    description="The symbols, in alphabetical order.",
    operation_class=ForeignOperation,
    responses=foreign_responses(list[AlpacaAsset], "The symbols."),
)
async def alpaca_assets(
    request: Request[Any, Any, Any],
    status: Annotated[str | None, query("status", "`active` or `inactive`; both by default.", "active")] = None,
    asset_class: Annotated[str | None, query("asset_class", "`us_equity` or `crypto`; both by default.")] = None,
    exchange: Annotated[str | None, query("exchange", "Name of an exchange; none has a symbol.")] = None,
) -> ASGIResponse:
    known = await read_known_symbols(request)
    found = [] if exchange else [_asset(each) for each in known]
    chosen = [each for each in found if status in (None, "", each.status) and asset_class in (None, "", each.asset_class)]
    return CompleteResponse(encode(chosen), NO_STORE)


@get(
    "/assets/{symbol_or_id:path}",
    summary="Asset",
    description="A symbol, by its name, whose slashes may be escaped, or by its `id`.",
    operation_class=ForeignOperation,
    responses=foreign_responses(AlpacaAsset, "The symbol."),
)
async def alpaca_asset(
    request: Request[Any, Any, Any],
    symbol_or_id: Annotated[str, PathParameter(description="Symbol or `id`.")],
) -> ASGIResponse:
    text = symbol_or_id.removeprefix("/")
    found = await _find(request, text)
    if found is None:
        raise NotFound(f"asset not found for {shown(text)}")
    return json_response(_asset(found), NO_STORE)


async def _find(request: Request[Any, Any, Any], text: str) -> Symbol | None:
    symbol = known_form(text)
    if symbol and (found := await read_known_symbol(request, symbol)):
        return found
    try:
        wanted = UUID(text)
    except ValueError:
        return None
    known = await read_known_symbols(request)
    return next((each for each in known if _id_of(each.symbol) == wanted), None)


@lru_cache(10_000)
def _id_of(symbol: str) -> UUID:
    return uuid5(NAMESPACE_URL, f"symbol:{symbol}")


def _asset(found: Symbol) -> AlpacaAsset:
    is_listed = found.delisted is None or found.delisted >= datetime.now(UTC).date()
    return AlpacaAsset(
        _id_of(found.symbol),
        CRYPTO if found.type == "crypto" else EQUITY,
        "",
        found.symbol,
        found.name,
        "active" if found.active and is_listed else "inactive",
        price_increment=found.tick_size,
    )
