"""`/binance/api/v3/trades`, `historicalTrades` and `aggTrades`."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, NamedTuple

from litestar import Request, get
from litestar.response.base import ASGIResponse
from msgspec import Struct

from market_data.api.compat.binance.trade_ids import find_position, numbered, read_first_rank
from market_data.api.compat.binance.values import (
    BAD_COMBINATION,
    DIGITS,
    FAR_FUTURE,
    BinanceError,
    illegal,
    product,
    read_bounds,
    read_limit,
    read_symbol,
    require_known,
)
from market_data.api.compat.parameters import ForeignOperation, foreign_responses, query
from market_data.api.compat.rows import ExactTrade, read_trade_rows, trades_of
from market_data.api.http.caching import NO_STORE
from market_data.api.http.complete_response import CompleteResponse
from market_data.api.http.handlers import encode
from market_data.api.http.past import version_headers
from market_data.models import doc
from market_data.queries.row_pages import BEGINNING

NEWEST: Final = timedelta(days=1)
"""Time after now up to which the newest trades are looked for."""

Id = Annotated[
    int,
    doc("Time in microseconds, times 1000, plus the rank within that microsecond. Greater than 2^53.", 1770546600123456000),
]
IDS: Final = (
    "The id of a trade is its time in microseconds, times 1000, plus its rank within that microsecond. A trade that is "
    "cancelled lowers the ranks of the later ones of its microsecond."
)


class BinanceTrade(Struct, frozen=True, rename="camel"):
    """A trade. The side of the maker is unknown."""

    id: Id
    price: Annotated[str, doc("Every stored digit.", "189.44")]
    qty: str
    quote_qty: Annotated[str, doc("Price times quantity, exact.")]
    time: Annotated[int, doc("Unix time in milliseconds.", 1770546600123)]
    is_buyer_maker: Annotated[bool, doc("Always false: the side is unknown.")] = False
    is_best_match: bool = True


class AggregateTrade(Struct, frozen=True):
    """A trade in the form of an aggregate."""

    a: Id
    p: Annotated[str, doc("Price with every stored digit.", "189.44")]
    q: Annotated[str, doc("Quantity.")]
    f: Annotated[int, doc("First id, the same.")]
    l: Annotated[int, doc("Last id, the same.")]  # noqa: E741 - the name of the protocol
    T: Annotated[int, doc("Unix time in milliseconds.", 1770546600123)]
    m: Annotated[bool, doc("Always false: the side is unknown.")] = False
    M: bool = True


Kind = Callable[[ExactTrade, int], BinanceTrade | AggregateTrade]
"""Returns a trade with its id in one of the forms."""


class Found(NamedTuple):
    """Successive trades, oldest first."""

    trades: Sequence[ExactTrade]
    first_rank: int
    """Rank of the first one within its instant."""
    version: int | None


SymbolQuery = Annotated[str | None, query("symbol", "Symbol; required.", "AAPL")]
LimitQuery = Annotated[str | None, query("limit", "Number of trades, 1 to 1000; 500 by default.", "500")]
FromIdQuery = Annotated[str | None, query("fromId", "Id of the first trade; trades of greater ids follow.")]


@get(
    "/trades",
    summary="Newest trades",
    description=f"The newest trades, oldest first. {IDS}",
    operation_class=ForeignOperation,
    responses=foreign_responses(list[BinanceTrade], "The trades."),
)
async def binance_trades(
    request: Request[Any, Any, Any], symbol: SymbolQuery = None, limit: LimitQuery = None
) -> ASGIResponse:
    name = read_symbol(symbol)
    return await _respond(request, name, await _read_range(request, name, None, None, read_limit(limit)), _plain)


@get(
    "/historicalTrades",
    summary="Trades from an id on",
    description=f"The trades from `fromId` on, or the newest ones. {IDS}",
    operation_class=ForeignOperation,
    responses=foreign_responses(list[BinanceTrade], "The trades."),
)
async def binance_historical_trades(
    request: Request[Any, Any, Any],
    symbol: SymbolQuery = None,
    limit: LimitQuery = None,
    from_id: FromIdQuery = None,
) -> ASGIResponse:
    name, count = read_symbol(symbol), read_limit(limit)
    found = (
        await _read_from_id(request, name, from_id, count)
        if from_id
        else await _read_range(request, name, None, None, count)
    )
    return await _respond(request, name, found, _plain)


@get(
    "/aggTrades",
    summary="Trades of a range",
    description=f"Trades, oldest first: each is an aggregate of its own, so `a`, `f` and `l` are equal. {IDS}",
    operation_class=ForeignOperation,
    responses=foreign_responses(list[AggregateTrade], "The trades."),
)
async def binance_aggregate_trades(
    request: Request[Any, Any, Any],
    symbol: SymbolQuery = None,
    from_id: FromIdQuery = None,
    start_time: Annotated[str | None, query("startTime", "First time, in milliseconds.")] = None,
    end_time: Annotated[str | None, query("endTime", "Last time, in milliseconds, inclusive.")] = None,
    limit: LimitQuery = None,
) -> ASGIResponse:
    name, count = read_symbol(symbol), read_limit(limit)
    start, end = read_bounds(start_time, end_time)
    if from_id and (start or end):
        raise BinanceError(BAD_COMBINATION, "fromId", "Combination of optional parameters invalid: fromId with a time.")
    found = (
        await _read_from_id(request, name, from_id, count)
        if from_id
        else await _read_range(request, name, start, end, count)
    )
    return await _respond(request, name, found, _aggregate)


async def _read_range(
    request: Request[Any, Any, Any], symbol: str, start: datetime | None, end: datetime | None, limit: int
) -> Found:
    """Return the first trades of a range, or the newest ones if it has no start."""
    found = await read_trade_rows(
        request,
        [symbol],
        start or BEGINNING,
        end or (FAR_FUTURE if start else datetime.now(UTC) + NEWEST),
        limit,
        order="asc",
        from_end=start is None,
    )
    rows = trades_of(found.pages[0].page)
    return Found(rows, 0 if start else await read_first_rank(request, rows), found.version)


async def _read_from_id(request: Request[Any, Any, Any], symbol: str, from_id: str, limit: int) -> Found:
    if not DIGITS.fullmatch(from_id):
        raise illegal("fromId", from_id, "the id of a trade")
    start, after = await find_position(request, symbol, int(from_id))
    found = await read_trade_rows(request, [symbol], start, FAR_FUTURE, limit, order="asc", after=after)
    rows = trades_of(found.pages[0].page)
    return Found(rows, await read_first_rank(request, rows) if after else 0, found.version)


async def _respond(request: Request[Any, Any, Any], symbol: str, found: Found, kind: Kind) -> ASGIResponse:
    if not found.trades:
        await require_known(request, [symbol])
    body = [
        kind(trade, number) for trade, number in zip(found.trades, numbered(found.trades, found.first_rank), strict=True)
    ]
    return CompleteResponse(encode(body), {**NO_STORE, **version_headers(found.version)})


def _plain(trade: ExactTrade, trade_id: int) -> BinanceTrade:
    quote = product(trade.price, trade.volume)
    return BinanceTrade(trade_id, trade.price, trade.volume, quote, trade.time // 1000)


def _aggregate(trade: ExactTrade, trade_id: int) -> AggregateTrade:
    return AggregateTrade(trade_id, trade.price, trade.volume, trade_id, trade_id, trade.time // 1000)
