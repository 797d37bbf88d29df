"""Ids of trades: increasing integers for each symbol, which the stored trades do not have.

An id is the time of a trade in microseconds since 1970, times 1000, plus the rank of the trade within its instant: the
number of trades of the same symbol and microsecond with a lower `trade_id`. All replicas have the same ids, and `fromId`
needs no table of them. Their limits:

* A trade that is cancelled lowers the ranks, and so the ids, of the later trades of its instant by 1. One that is stored
  after trades of its instant with a greater `trade_id` raises theirs.
* Ranks from 1000 on reach into the ids of the following microseconds. Sources with so many trades at one time have times
  in milliseconds or seconds, so no trade is there, and the ids still increase. If one is there, two trades share an id.
* They are greater than 2^53: a program that reads numbers of JSON as floats (JavaScript) rounds them.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from litestar import Request

from market_data.api.compat.names import key_of
from market_data.api.compat.rows import ExactTrade, read_trade_rows, trades_of
from market_data.api.http.consistency import read_source
from market_data.queries.row_pages import UNIX_EPOCH
from market_data.queries.symbol_rows import SymbolKey
from market_data.queries.trades import TradeKey, read_ranks, read_trade_of_rank

IDS_PER_MICROSECOND: Final = 1000

MICROSECOND: Final = timedelta(microseconds=1)

LONGEST_INSTANT: Final = timedelta(seconds=1)
"""Time that the ranks of an instant may reach over: those of a million trades."""


def trade_id_of(microseconds: int, rank: int) -> int:
    """Return the id of the trade with a rank at a time since 1970."""
    return microseconds * IDS_PER_MICROSECOND + rank


def numbered(trades: Sequence[ExactTrade], first_rank: int) -> list[int]:
    """Return the ids of successive trades, oldest first, from the rank of the first one."""
    ids: list[int] = []
    rank, before = first_rank, trades[0].time if trades else 0
    for index, trade in enumerate(trades):
        if index:
            rank = rank + 1 if trade.time == before else 0
        before = trade.time
        ids.append(trade_id_of(trade.time, rank))
    return ids


async def read_first_rank(request: Request[Any, Any, Any], trades: Sequence[ExactTrade]) -> int:
    """Return the rank of the first of some trades."""
    if not trades:
        return 0
    first = trades[0]
    key = TradeKey(first.symbol, time_of(first), first.trade_id)
    return (await read_source(request).read(read_ranks, [key]))[0]


def time_of(trade: ExactTrade) -> datetime:
    """Return the time of a trade."""
    return UNIX_EPOCH + trade.time * MICROSECOND


class Position(NamedTuple):
    """Place of an id between the trades of a symbol."""

    start: datetime
    """Time of the first trade that can follow."""
    after: Sequence[SymbolKey] = ()
    """Key of the trade before it, if that has the same time."""


async def find_position(request: Request[Any, Any, Any], symbol: str, trade_id: int) -> Position:
    """Return the place before the first trade whose id is not lower than this one."""
    microseconds, rank = divmod(trade_id, IDS_PER_MICROSECOND)
    time = UNIX_EPOCH + microseconds * MICROSECOND
    found = await read_trade_rows(
        request, [symbol], time - LONGEST_INSTANT, time + MICROSECOND, 1, order="desc", row_format="arrays"
    )
    newest = trades_of(found.pages[0].page)
    if not newest or (newest[0].time == microseconds and not rank):
        return Position(time)
    instant = time_of(newest[0])
    rank = trade_id - trade_id_of(newest[0].time, 0)
    before = await read_source(request).read(read_trade_of_rank, await key_of(request, symbol), instant, rank - 1)
    if before is None:
        return Position(instant + MICROSECOND)
    return Position(instant, [SymbolKey(symbol, (instant, before))])
