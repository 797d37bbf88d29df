"""`/alpaca/v2/stocks/{symbol}/…`: the same of one symbol, which may contain slashes, escaped or not."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from litestar import Request, get
from litestar.exceptions import NotFoundException
from litestar.params import PathParameter
from litestar.response.base import ASGIResponse
from msgspec import Struct

from market_data.api.compat.alpaca.ranges import (
    AdjustmentText,
    AsOf,
    End,
    Feed,
    Given,
    Limit,
    PageToken,
    Sort,
    Start,
    Timeframe,
    read_range,
)
from market_data.api.compat.alpaca.rows import AlpacaBar, AlpacaSnapshot, AlpacaTrade
from market_data.api.compat.alpaca.stocks import (
    AlpacaQuote,
    Token,
    find_bars,
    find_latest_trades,
    find_snapshots,
    find_trades,
)
from market_data.api.compat.alpaca.values import read_timeframe
from market_data.api.compat.parameters import ForeignOperation, foreign_responses, read_parameter
from market_data.api.http.caching import NO_STORE
from market_data.api.http.handlers import json_response
from market_data.api.http.parameter_types import read_symbol
from market_data.errors import NotFound


class AlpacaSymbolBars(Struct, frozen=True):
    """Bars of a symbol."""

    bars: list[AlpacaBar]
    symbol: str
    next_page_token: Token


class AlpacaSymbolTrades(Struct, frozen=True):
    """Trades of a symbol."""

    trades: list[AlpacaTrade]
    symbol: str
    next_page_token: Token


class AlpacaSymbolQuotes(Struct, frozen=True):
    """No quotes."""

    quotes: list[AlpacaQuote]
    symbol: str
    next_page_token: Token = None


class AlpacaSymbolLatestBar(Struct, frozen=True):
    """The newest minute of a symbol."""

    symbol: str
    bar: AlpacaBar


class AlpacaSymbolLatestTrade(Struct, frozen=True):
    """The newest trade of a symbol."""

    symbol: str
    trade: AlpacaTrade


class AlpacaSymbolSnapshot(AlpacaSnapshot, frozen=True, rename="camel", kw_only=True):
    """A symbol at a glance, with its name."""

    symbol: str


Answer = (
    AlpacaSymbolBars
    | AlpacaSymbolTrades
    | AlpacaSymbolQuotes
    | AlpacaSymbolLatestBar
    | AlpacaSymbolLatestTrade
    | AlpacaSymbolSnapshot
)

KINDS: Final = ("bars/latest", "trades/latest", "quotes/latest", "bars", "trades", "quotes", "snapshot")
"""Ends of the paths, the longer ones first."""


@get(
    "/{path:path}",
    summary="One symbol",
    description=(
        "`{symbol}/` and " + ", ".join(f"`{kind}`" for kind in KINDS) + ": the same of one symbol, in the protocol's other "
        "form, with the parameters of the form with `symbols`. A slash of a symbol may be escaped. Without data, 404 for "
        "the latest rows and the snapshot, an empty list for others."
    ),
    operation_class=ForeignOperation,
    responses=foreign_responses(Answer, "Rows of the symbol."),
)
async def alpaca_one_symbol(
    request: Request[Any, Any, Any],
    path: Annotated[str, PathParameter(description="Symbol, a slash, and the kind of rows, as in `AAPL/bars`.")],
    timeframe: Timeframe = None,
    start: Start = None,
    end: End = None,
    limit: Limit = None,
    page_token: PageToken = None,
    sort: Sort = None,
    adjustment: AdjustmentText = None,
    feed: Feed = None,
    asof: AsOf = None,
) -> ASGIResponse:
    symbol, kind = _split(path.removeprefix("/"))
    given = Given(start, end, limit, page_token, sort, asof, adjustment)
    match kind:
        case "bars":
            interval = read_timeframe(timeframe)
            found = await find_bars(request, read_range(interval, (symbol,), given), interval)
            return json_response(AlpacaSymbolBars(found.by_symbol.get(symbol, []), symbol, found.token), found.headers)
        case "trades":
            found = await find_trades(request, read_range("trades", (symbol,), given))
            return json_response(AlpacaSymbolTrades(found.by_symbol.get(symbol, []), symbol, found.token), found.headers)
        case "quotes":
            return json_response(AlpacaSymbolQuotes([], symbol), NO_STORE)
        case _:
            return await _latest(request, symbol, kind)


async def _latest(request: Request[Any, Any, Any], symbol: str, kind: str) -> ASGIResponse:
    if kind == "quotes/latest":
        raise NotFound(f"There is no quote of {symbol}, because there are no quotes.")
    if kind == "trades/latest":
        trade = (await find_latest_trades(request, (symbol,))).get(symbol)
        if trade:
            return json_response(AlpacaSymbolLatestTrade(symbol, trade), NO_STORE)
    else:
        found = (await find_snapshots(request, (symbol,))).get(symbol)
        if found and kind == "snapshot":
            parts: Mapping[str, Any] = {name: getattr(found, name) for name in found.__struct_fields__}
            return json_response(AlpacaSymbolSnapshot(symbol=symbol, **parts), NO_STORE)
        if found and found.minute_bar:
            return json_response(AlpacaSymbolLatestBar(symbol, found.minute_bar), NO_STORE)
    raise NotFound(f"There is no trade of {symbol}.")


def _split(path: str) -> tuple[str, str]:
    """Return the symbol and the kind of a path.

    Raises:
        NotFoundException: The path has neither.
        BadParameters: The symbol has a wrong form.
    """
    for kind in KINDS:
        if path.endswith(f"/{kind}"):
            return read_parameter("symbol", path.removesuffix(f"/{kind}"), read_symbol), kind
    raise NotFoundException
