"""`/binance/api/v3/ping`, `time` and `exchangeInfo`, and `/binance/sapi/v1/system/status`."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Final

from litestar import Request, get
from litestar.response.base import ASGIResponse
from msgspec import Raw, Struct

from market_data.api.compat.binance.values import invalid_symbol, milliseconds, read_selection
from market_data.api.compat.names import read_known_symbols
from market_data.api.compat.parameters import ForeignOperation, foreign_responses, query
from market_data.api.http.caching import NO_STORE
from market_data.api.http.complete_response import CompleteResponse
from market_data.api.http.handlers import encode, json_response
from market_data.models import Symbol, doc
from market_data.queries.row_pages import digits_of

PRECISION: Final = 8
"""Decimal places of prices and quantities that clients are told: those of all symbols of Binance."""

STEP: Final = f"0.{'1':0>{PRECISION}}"
LARGEST: Final = "1000000000000"


class Empty(Struct, frozen=True):
    """An object without members."""


class ServerTime(Struct, frozen=True, rename="camel"):
    """The time of the service."""

    server_time: Annotated[int, doc("Unix time in milliseconds.", 1770546600123)]


class SystemStatus(Struct, frozen=True):
    """The state of the service."""

    status: Annotated[int, doc("0: it works.")] = 0
    msg: str = "normal"


class Market(Struct, frozen=True, kw_only=True, rename="camel"):
    """A symbol as clients need it for their lists of markets."""

    symbol: str
    status: Annotated[str, doc("`TRADING`, or `BREAK` if new trades are refused.", "TRADING")]
    base_asset: Annotated[str, doc("The symbol, or its first part if the second one is the quote currency.", "AAPL")]
    quote_asset: Annotated[str, doc("Currency of the prices.", "USD")]
    base_asset_precision: int = PRECISION
    quote_precision: int = PRECISION
    quote_asset_precision: int = PRECISION
    order_types: tuple[str, ...] = ()
    iceberg_allowed: bool = False
    oco_allowed: bool = False
    is_spot_trading_allowed: bool = True
    is_margin_trading_allowed: bool = False
    filters: Annotated[
        list[dict[str, str]],
        doc(f"`tick_size` of the symbol, or {PRECISION} decimal places, although trades may have more."),
    ]
    permissions: tuple[str, ...] = ()
    permission_sets: tuple[tuple[str, ...], ...] = (("SPOT",),)


class ExchangeInformation(Struct, frozen=True, rename="camel"):
    """The symbols."""

    timezone: str
    server_time: int
    rate_limits: Annotated[list[str], doc("Empty: RATE_LIMIT is not described.")]
    exchange_filters: list[str]
    symbols: list[Market]


PRICE_FILTER: Final = {"filterType": "PRICE_FILTER", "minPrice": STEP, "maxPrice": LARGEST, "tickSize": STEP}
LOT_SIZE: Final = {"filterType": "LOT_SIZE", "minQty": STEP, "maxQty": LARGEST, "stepSize": STEP}


@get(
    "/ping",
    summary="Ping",
    description="Answers with an empty object.",
    operation_class=ForeignOperation,
    responses=foreign_responses(Empty, "An empty object."),
)
async def binance_ping() -> ASGIResponse:
    return json_response(Empty(), NO_STORE)


@get(
    "/time",
    summary="Time of the service",
    description="The time of the service.",
    operation_class=ForeignOperation,
    responses=foreign_responses(ServerTime, "The time."),
)
async def binance_server_time() -> ASGIResponse:
    return json_response(ServerTime(milliseconds(datetime.now(UTC))), NO_STORE)


@get(
    "/system/status",
    summary="Status of the service",
    description="Always normal: an unavailable service does not answer.",
    operation_class=ForeignOperation,
    responses=foreign_responses(SystemStatus, "The status."),
)
async def binance_system_status() -> ASGIResponse:
    return json_response(SystemStatus(), NO_STORE)


@get(
    "/exchangeInfo",
    summary="Symbols",
    description="A symbol, some or all, with the currency of their prices.",
    operation_class=ForeignOperation,
    responses=foreign_responses(ExchangeInformation, "The symbols."),
)
async def binance_exchange_info(
    request: Request[Any, Any, Any],
    symbol: Annotated[str | None, query("symbol", "One symbol.", "AAPL")] = None,
    symbols: Annotated[str | None, query("symbols", "Some symbols as a JSON array.", '["AAPL","MSFT"]')] = None,
) -> ASGIResponse:
    chosen = read_selection(symbol, symbols).symbols
    known = await read_known_symbols(request)
    if chosen is not None:
        by_name = {each.symbol: each for each in known}
        if unknown := [name for name in chosen if name not in by_name]:
            raise invalid_symbol(unknown[0])
        known = [by_name[name] for name in chosen]
    body = {
        "timezone": "UTC",
        "serverTime": milliseconds(datetime.now(UTC)),
        "rateLimits": [],
        "exchangeFilters": [],
        "symbols": [_market(each.symbol, each.currency, _tick_size(each), active=each.active) for each in known],
    }
    return CompleteResponse(encode(body), NO_STORE)


def _tick_size(symbol: Symbol) -> str:
    return STEP if symbol.tick_size is None else digits_of(symbol.tick_size)


@lru_cache(20_000)
def _market(symbol: str, currency: str, tick_size: str, *, active: bool) -> Raw:
    market = Market(
        symbol=symbol,
        status="TRADING" if active else "BREAK",
        base_asset=base_asset(symbol, currency),
        quote_asset=currency,
        filters=[{**PRICE_FILTER, "minPrice": tick_size, "tickSize": tick_size}, LOT_SIZE],
    )
    return Raw(encode(market))


def base_asset(symbol: str, currency: str) -> str:
    """Return the part of a symbol such as BTC/USD before its currency; the symbol if it has no such form."""
    for separator in "/-":
        base = symbol.removesuffix(f"{separator}{currency}")
        if base and base != symbol:
            return base
    return symbol
