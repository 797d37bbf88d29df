"""Writes of trades: storing, cancelling and correcting, and the audit trail of changes."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from litestar import Request, get, post
from litestar.openapi.spec import Example, OpenAPIMediaType, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.response.base import ASGIResponse
from msgspec import UNSET
from msgspec.structs import asdict

from market_data.api.http.bodies import JSON, NDJSON, read_object
from market_data.api.http.caching import NO_STORE
from market_data.api.http.components import reference_to
from market_data.api.http.consistency import write_headers
from market_data.api.http.handlers import json_response, require_symbol, root_path
from market_data.api.http.naming import loaded_names, named_response, resolve
from market_data.api.http.openapi import BODY_PROBLEMS, openapi_operation, request_body, responses
from market_data.api.http.paging import PageStart, make_page_token, next_link, read_page_token
from market_data.api.http.parameters import (
    DEFAULT_TRADES_LIMIT,
    AnySymbolParameter,
    ChangesLimitParameter,
    PageTokenParameter,
    PartialParameter,
)
from market_data.api.http.query_string import known_pairs
from market_data.api.http.trade_bodies import MAX_TRADES, TradeBody, read_trades
from market_data.errors import BadParameters, Conflict, NotFound
from market_data.models import ParameterProblem
from market_data.models_writes import (
    CancelIn,
    ChangeList,
    CorrectIn,
    MadeChange,
    Rejection,
    StoredTrades,
    TradeChange,
    TradeIn,
)
from market_data.queries.trade_changes import (
    ChangeResult,
    delete_trade,
    is_before_horizon,
    read_trade_changes,
    read_unchanged_trade,
    update_trade,
)
from market_data.queries.trade_writes import ConflictingTrade, Outcome, write_trades
from market_data.queries.trades import TradeKey
from market_data.services import services_of
from market_data.telemetry.metrics import TRADES_REJECTED, TRADES_WRITTEN
from market_data.trade_validation import InvalidTrade, rfc3339

TRADE: Final[Mapping[str, Any]] = {
    "symbol": "AAPL",
    "price": 189.44,
    "volume": 3,
    "timestamp": "2026-02-08T10:30:00Z",
    "trade_id": 1,
}
TRADES: Final = [TRADE, {**TRADE, "price": 189.5, "trade_id": 2}]
KEY: Final[Mapping[str, Any]] = {"symbol": "AAPL", "timestamp": "2026-02-08T10:30:00Z", "trade_id": 1}

TRADES_BODY = RequestBody(
    required=True,
    description="Trades. Unknown fields are refused.",
    content={
        JSON[0]: OpenAPIMediaType(
            schema=Schema(
                one_of=[
                    reference_to(TradeIn),
                    Schema(type=OpenAPIType.ARRAY, items=reference_to(TradeIn), min_items=1, max_items=MAX_TRADES),
                ]
            ),
            examples={
                "one": Example(summary="One trade", value=TRADE),
                "list": Example(summary="A list", value=TRADES),
            },
        ),
        NDJSON[0]: OpenAPIMediaType(
            schema=Schema(type=OpenAPIType.STRING, description="A trade a line, each as in JSON."),
            examples={
                "lines": Example(summary="A trade a line", value=msgspec.json.Encoder().encode_lines(TRADES).decode())
            },
        ),
    },
)


@post(
    "/trades",
    status_code=200,
    opt={"scope": "write"},
    summary="Store trades",
    description=(
        "Store a trade, a list, or a trade a line (NDJSON), at most 10,000 a call. Without `partial=true`, all trades are "
        "stored, or none if one is rejected. `symbol`, `timestamp` and `trade_id` identify a trade: one that is stored with "
        "the same price and volume counts as `existing`, so that a call may be repeated; one with other values, or one that "
        "was cancelled, is a conflict (409). Trades that a 200 counts are committed."
    ),
    tags=["Trades"],
    operation_class=openapi_operation(body=TRADES_BODY, scope="write"),
    responses=responses(StoredTrades, *BODY_PROBLEMS, 409),
)
async def store_trades(request: Request[Any, Any, Any], partial: PartialParameter = "false") -> ASGIResponse:
    store_valid = partial == "true"
    given = await read_trades(request)
    if names := await loaded_names(request):
        for trade in given.trades.values():
            trade.symbol = names.key_at(trade.symbol, trade.timestamp)
    _count_rejected(given.rejected)
    if given.rejected and not store_valid:
        raise _rejection_error(given, given.rejected)
    services = services_of(request)
    outcome = Outcome(0, 0, {})
    if given.trades:
        tolerance = services.settings.future_tolerance_seconds
        outcome = await services.database.write(write_trades, given.trades, tolerance, partial=store_valid)
    _count_rejected(outcome.rejected)
    if outcome.rejected and not store_valid:
        raise _rejection_error(given, outcome.rejected)
    TRADES_WRITTEN.labels("stored").inc(outcome.stored)
    rejected = sorted((given.rejected | dict(outcome.rejected)).items())
    rejections = [Rejection(index, str(reason), isinstance(reason, ConflictingTrade)) for index, reason in rejected]
    return json_response(StoredTrades(given.count, outcome.stored, outcome.existing, rejections), write_headers(request))


def _count_rejected(rejected: Mapping[int, InvalidTrade]) -> None:
    for reason, number in Counter(trade.reason for trade in rejected.values()).items():
        TRADES_REJECTED.labels(reason).inc(number)


def _rejection_error(given: TradeBody, rejected: Mapping[int, InvalidTrade]) -> BadParameters | Conflict:
    """Return the error for a call of which no trade was stored."""
    problems = list(given.problems(rejected))
    first = f"{problems[0].name}: {problems[0].detail}"
    if not given.is_single:
        first = f"{len(rejected):,} of {given.count:,} trades can't be stored, and so none was. The first: {first}"
    if all(isinstance(reason, ConflictingTrade) for reason in rejected.values()):
        return Conflict(first, problems)
    return BadParameters(problems, first)


@post(
    "/trades/cancel",
    status_code=200,
    opt={"scope": "write"},
    summary="Cancel a trade",
    description=(
        "Delete a trade, and record actor, time and reason. Candles of every interval and the latest price follow, "
        "materialized candles within ten seconds. Repeated, it changes nothing more."
    ),
    tags=["Trades"],
    operation_class=openapi_operation(body=request_body(CancelIn, {**KEY, "reason": "reported twice"}), scope="write"),
    responses=responses(MadeChange, *BODY_PROBLEMS, 404),
)
async def cancel_trade(request: Request[Any, Any, Any]) -> ASGIResponse:
    cancel = await read_object(request, CancelIn)
    trade = await _key(request, cancel)
    result = await services_of(request).database.write(delete_trade, trade, _actor(request), cancel.reason)
    if result.change is None or result.change.action != "cancel":
        raise await _not_found(request, trade, result)
    TRADES_WRITTEN.labels("cancelled").inc(result.by_this)
    return _change_response(request, result.change, changed=result.by_this)


@post(
    "/trades/correct",
    status_code=200,
    opt={"scope": "write"},
    summary="Correct a trade",
    description=(
        "Change the price, the volume or both of a trade, and record actor, time and reason. Candles and the latest price "
        "follow as after a cancel. Repeated, it changes nothing more."
    ),
    tags=["Trades"],
    operation_class=openapi_operation(
        body=request_body(CorrectIn, {**KEY, "price": 189.5, "reason": "fat finger"}), scope="write"
    ),
    responses=responses(MadeChange, *BODY_PROBLEMS, 404),
)
async def correct_trade(request: Request[Any, Any, Any]) -> ASGIResponse:
    correction = await read_object(request, CorrectIn)
    trade = await _key(request, correction)
    price = None if correction.price is UNSET else correction.price
    volume = None if correction.volume is UNSET else correction.volume
    database = services_of(request).database
    try:
        result = await database.write(update_trade, trade, price, volume, _actor(request), correction.reason)
    except InvalidTrade as invalid:
        raise BadParameters([ParameterProblem(invalid.part or "body", invalid.detail)]) from None
    if result.by_this and result.change:
        TRADES_WRITTEN.labels("corrected").inc()
        return _change_response(request, result.change, changed=True)
    unchanged = await database.write(read_unchanged_trade, trade)
    if unchanged is None:
        raise await _not_found(request, trade, result)
    return _change_response(request, result.change or unchanged, changed=False)


@get(
    "/trades/changes",
    opt={"scope": "admin"},
    summary="Changes of trades",
    description="Cancelled and corrected trades with actor and reason, newest first, also those changed in the database.",
    tags=["Trades"],
    operation_class=openapi_operation(scope="admin"),
    responses=responses(ChangeList, 400, 404),
)
async def trade_changes(
    request: Request[Any, Any, Any],
    symbol: AnySymbolParameter = None,
    limit: ChangesLimitParameter = None,
    page_token: PageTokenParameter = None,
) -> ASGIResponse:
    limit = limit or DEFAULT_TRADES_LIMIT
    if symbol is not None:
        symbol = (await resolve(request, [symbol])).key
    before = None if page_token is None else _page_start(page_token, symbol)
    changes = await services_of(request).database.read(read_trade_changes, symbol, before, limit + 1)
    if not changes and symbol is not None:
        await require_symbol(request, symbol)
    token, headers = None, dict(NO_STORE)
    if len(changes) > limit:
        changes.pop()
        token = make_page_token(("/trades/changes", symbol), PageStart([(0, None, changes[-1].id or 0)]))
        headers |= next_link(f"{root_path(request)}/trades/changes", known_pairs(request), token)
    await loaded_names(request)
    return named_response(request, ChangeList(changes, len(changes), token), headers)


def _page_start(token: str, symbol: str | None) -> int:
    """Return the id of the last change before a page."""
    ((_, _, before),) = read_page_token(token, ("/trades/changes", symbol)).keys
    return before


async def _key(request: Request[Any, Any, Any], given: CancelIn) -> TradeKey:
    """Return the key of a trade, whose symbol had the given name then."""
    names = await loaded_names(request)
    return TradeKey(names.key_at(given.symbol, given.timestamp), given.timestamp, given.trade_id)


def _actor(request: Request[Any, Any, Any]) -> str:
    """Return the name of the API key."""
    key = request.scope["state"].get("key")
    return "unknown" if key is None else key.name


def _change_response(request: Request[Any, Any, Any], change: TradeChange, *, changed: bool) -> ASGIResponse:
    return named_response(request, MadeChange(**asdict(change), changed=changed), write_headers(request))


async def _not_found(request: Request[Any, Any, Any], trade: TradeKey, result: ChangeResult) -> NotFound:
    """Return the error for a trade that can't be changed."""
    await require_symbol(request, trade.symbol)
    named = f"of {trade.symbol} at {rfc3339(trade.time)} with trade_id {trade.trade_id}"
    if result.change and result.change.action == "cancel" and result.change.changed_at:
        return NotFound(f"The trade {named} was cancelled at {rfc3339(result.change.changed_at)}.")
    if await services_of(request).database.read(is_before_horizon, trade.time):
        return NotFound(f"There is no trade {named}: it is before the retention horizon, and older trades were dropped.")
    return NotFound(f"There is no trade {named}.")
