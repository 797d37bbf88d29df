"""Trades that are sent: stored, cancelled, corrected, and the trail of what was changed."""

from collections.abc import Mapping
from typing import Any

from litestar import Request, get, post
from litestar.response.base import ASGIResponse

from market_data.api.http.bodies import TradeReader, read_object, read_trades
from market_data.api.http.caching import LIVE
from market_data.api.http.consistency import written
from market_data.api.http.fields import Fields
from market_data.api.http.openapi import WRITING, answers, encode, json, operation, require_symbol
from market_data.api.http.paging import next_link, page_token, read_page_token
from market_data.api.http.parameters import CHANGES_LIMIT, CHANGES_SYMBOL, PAGE_TOKEN, PARTIAL, Query
from market_data.api.http.schemas import CANCEL_BODY, CORRECT_BODY, TRADES_BODY
from market_data.errors import BadParameters, Conflict, NotFound
from market_data.models_written import ChangeList, MadeChange, Rejection, StoredTrades
from market_data.queries.row_pages import PACKED_EPOCH
from market_data.queries.trade_changes import (
    ChangeResult,
    TradeIdentity,
    delete_trade,
    is_beyond_retention,
    read_trade_changes,
    read_unchanged_trade,
    update_trade,
)
from market_data.queries.trade_writes import ConflictingTrade, Outcome, write_trades
from market_data.services import services_of
from market_data.trade_validation import InvalidTrade


@post(
    "/trades",
    status_code=200,
    opt={"scope": "write"},
    summary="Store trades",
    description=(
        "Store a trade, a list of them, or one a line (NDJSON), up to 10,000 a call. All are stored, or none where one is "
        "rejected, unless `partial=true`. A trade is known by `symbol`, `timestamp` and `trade_id`: one that is there "
        "already with the same price and volume counts as `existing`, so that a call may be repeated; with others it is a "
        "conflict (409), as is one that was cancelled. Once this answers 200, what it counts is committed."
    ),
    tags=["Trades"],
    operation_class=operation(PARTIAL, body=TRADES_BODY, scope="write"),
    responses=answers(StoredTrades, *WRITING, 409),
)
async def store_trades(request: Request[Any, Any, Any]) -> ASGIResponse:
    with Query(request) as query:
        partial = query.take(PARTIAL) == "true"
    reader = await read_trades(request)
    if reader.rejected and not partial:
        raise _refusal(reader, reader.rejected)
    tolerance = services_of(request).settings.future_tolerance_seconds
    outcome = Outcome(0, 0, {})
    if reader.trades:
        outcome = await services_of(request).database.write(write_trades, reader.trades, tolerance, partial=partial)
    if outcome.rejected and not partial:
        raise _refusal(reader, outcome.rejected)
    rejected = reader.rejected | dict(outcome.rejected)
    listed = [Rejection(index, str(why), isinstance(why, ConflictingTrade)) for index, why in sorted(rejected.items())]
    return json(StoredTrades(reader.count, outcome.stored, outcome.existing, listed), written(request))


def _refusal(reader: TradeReader, rejected: Mapping[int, InvalidTrade]) -> BadParameters | Conflict:
    """Why none of the trades of a call was stored."""
    problems = list(reader.problems(rejected))
    first = f"{problems[0].name}: {problems[0].detail}"
    if not reader.alone:
        first = f"{len(rejected):,} of {reader.count:,} trades can't be stored, and so none was. The first: {first}"
    if all(isinstance(why, ConflictingTrade) for why in rejected.values()):
        return Conflict(first, problems)
    return BadParameters(problems, first)


@post(
    "/trades/cancel",
    status_code=200,
    opt={"scope": "write"},
    summary="Cancel a trade",
    description=(
        "Take a trade away, and note who did it, when and why. Candles of every interval and the latest price follow: those "
        "that are materialized within some ten seconds. Repeated, it changes nothing more."
    ),
    tags=["Trades"],
    operation_class=operation(body=CANCEL_BODY, scope="write"),
    responses=answers(MadeChange, *WRITING, 404),
)
async def cancel_trade(request: Request[Any, Any, Any]) -> ASGIResponse:
    fields = Fields(await read_object(request, ("symbol", "timestamp", "trade_id", "reason")))
    trade, reason = fields.identity(), fields.reason()
    fields.end()
    changed = await services_of(request).database.write(delete_trade, trade, actor(request), reason)
    if changed.change is None or changed.change.action != "cancel":
        raise await _not_found(request, trade, changed)
    return _answer(request, changed.change.json, changed=changed.by_this)


@post(
    "/trades/correct",
    status_code=200,
    opt={"scope": "write"},
    summary="Correct a trade",
    description=(
        "Give a trade another price, volume or both, and note who did it, when and why. Candles and the latest price follow "
        "as they do when it is cancelled. Repeated, it changes nothing more."
    ),
    tags=["Trades"],
    operation_class=operation(body=CORRECT_BODY, scope="write"),
    responses=answers(MadeChange, *WRITING, 404),
)
async def correct_trade(request: Request[Any, Any, Any]) -> ASGIResponse:
    fields = Fields(await read_object(request, ("symbol", "timestamp", "trade_id", "price", "volume", "reason")))
    trade, reason = fields.identity(), fields.reason()
    price, volume = fields.values()
    fields.end()
    changed = await services_of(request).database.write(update_trade, trade, price, volume, actor(request), reason)
    if changed.by_this and changed.change:
        return _answer(request, changed.change.json, changed=True)
    unchanged = await services_of(request).database.write(read_unchanged_trade, trade)
    if unchanged is None:
        raise await _not_found(request, trade, changed)
    return _answer(request, changed.change.json if changed.change else unchanged, changed=False)


@get(
    "/trades/changes",
    opt={"scope": "admin"},
    summary="Changes of trades",
    description="Which trades were cancelled and corrected, by whom and why, also in other ways than here: newest first.",
    tags=["Trades"],
    operation_class=operation(CHANGES_SYMBOL, CHANGES_LIMIT, PAGE_TOKEN, scope="admin"),
    responses=answers(ChangeList, 400, 404),
)
async def trade_changes(request: Request[Any, Any, Any]) -> ASGIResponse:
    with Query(request) as query:
        symbol = query.take(CHANGES_SYMBOL)
        limit = query.take(CHANGES_LIMIT)
        token = query.take(PAGE_TOKEN)
        before = None
        if token is not None:
            try:
                _, before = read_page_token(token, ("/trades/changes", symbol))
            except ValueError as error:
                query.refuse(PAGE_TOKEN.name, str(error))
    page = await services_of(request).database.read(read_trade_changes, symbol, before, limit)
    if not page.count and symbol is not None:
        await require_symbol(request, symbol)
    following = None
    if page.last is not None:
        following = page_token(("/trades/changes", symbol), (PACKED_EPOCH, page.last))
    rows: Any = page.rows
    headers = LIVE | next_link("/trades/changes", query.known(), following)
    return json(ChangeList(rows, page.count, following), headers)


def actor(request: Request[Any, Any, Any]) -> str:
    """Who asks: the name of the key."""
    key = request.scope["state"].get("key")
    return "unknown" if key is None else key.name


def _answer(request: Request[Any, Any, Any], change: str, *, changed: bool) -> ASGIResponse:
    body = f'{change},"changed":{encode(changed).decode()}}}'
    return ASGIResponse(body=body.encode(), headers=written(request))


async def _not_found(request: Request[Any, Any, Any], trade: TradeIdentity, changed: ChangeResult) -> NotFound:
    """Why there is no trade to be changed."""
    await require_symbol(request, trade.symbol)
    named = f"of {trade.symbol} at {trade.time.replace('+00:00', 'Z')} with trade_id {trade.trade_id}"
    if changed.change and changed.change.action == "cancel":
        at = changed.change.changed_at.isoformat().replace("+00:00", "Z")
        return NotFound(f"The trade {named} was cancelled at {at}.")
    if await services_of(request).database.read(is_beyond_retention, trade.time):
        return NotFound(
            f"There is no trade {named}: it is beyond the retention horizon, from where trades have been dropped."
        )
    return NotFound(f"There is no trade {named}.")
