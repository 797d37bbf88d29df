"""`/alpaca/v2/assets` and `/alpaca/v2/clock`."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Final
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

ASSET_CLASS: Final = "us_equity"
"""Class of every symbol: the one whose data is under `/v2/stocks`."""

NEVER: Final = datetime(2200, 1, 1, tzinfo=UTC)
"""Time of the next opening and closing of a market that never closes, within the range of every client."""


class AlpacaAsset(Struct, frozen=True, rename={"asset_class": "class"}):
    """A symbol. Nothing can be traded here."""

    id: Annotated[UUID, doc("Derived from the symbol.")]
    asset_class: str
    exchange: Annotated[str, doc("Empty: the exchange is unknown.")]
    symbol: str
    name: str
    status: Annotated[str, doc("`active`, or `inactive` if new trades are refused.", "active")]
    tradable: bool = False
    marginable: bool = False
    shortable: bool = False
    easy_to_borrow: bool = False
    fractionable: bool = True


class AlpacaClock(Struct, frozen=True):
    """The time, and a market that is always open."""

    timestamp: datetime
    is_open: bool
    next_open: Annotated[datetime, doc("A time that no client sees.", "2200-01-01T00:00:00Z")]
    next_close: Annotated[datetime, doc("A time that no client sees.", "2200-01-01T00:00:00Z")]


@get(
    "/assets",
    summary="Assets",
    description="The symbols, all of the class `us_equity`, in alphabetical order.",
    operation_class=ForeignOperation,
    responses=foreign_responses(list[AlpacaAsset], "The symbols."),
)
async def alpaca_assets(
    request: Request[Any, Any, Any],
    status: Annotated[str | None, query("status", "`active` or `inactive`; both by default.", "active")] = None,
    asset_class: Annotated[str | None, query("asset_class", "`us_equity`; other classes have no symbol.")] = None,
    exchange: Annotated[str | None, query("exchange", "Name of an exchange; none has a symbol.")] = None,
) -> ASGIResponse:
    known = await read_known_symbols(request)
    if (asset_class or ASSET_CLASS) != ASSET_CLASS or exchange:
        known = []
    found = [_asset(each) for each in known]
    return CompleteResponse(encode([each for each in found if not status or each.status == status]), NO_STORE)


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


@get(
    "/clock",
    summary="Clock",
    description="The time of the service. Its market is always open.",
    operation_class=ForeignOperation,
    responses=foreign_responses(AlpacaClock, "The time."),
)
async def alpaca_clock() -> ASGIResponse:
    return json_response(AlpacaClock(datetime.now(UTC), True, NEVER, NEVER), NO_STORE)


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
    status = "active" if found.active else "inactive"
    return AlpacaAsset(_id_of(found.symbol), ASSET_CLASS, "", found.symbol, found.name, status)
