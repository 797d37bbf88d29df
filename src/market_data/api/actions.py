"""`/symbols/{symbol}/actions`: corporate actions, to which `adjustment` adjusts prices."""

from typing import Any, Final

from litestar import Request, get, post
from litestar.response.base import ASGIResponse
from msgspec import UNSET
from msgspec.structs import asdict, replace

from market_data.action_validation import (
    check_terms,
    read_action_id,
    read_action_type,
    read_amount,
    read_ex_date,
    read_ratio,
)
from market_data.api.http.bodies import read_object
from market_data.api.http.caching import NO_STORE
from market_data.api.http.consistency import read_source, write_headers
from market_data.api.http.decoding import NUMBER, TEXT, Readers
from market_data.api.http.handlers import json_response, require_symbol
from market_data.api.http.naming import resolve
from market_data.api.http.openapi import BODY_PROBLEMS, openapi_operation, request_body, response, responses
from market_data.api.http.parameters import AsOfParameter, PathSymbolParameter
from market_data.api.http.past import caching_of, find_version, version_headers
from market_data.api.symbols import actor_of
from market_data.errors import BadParameters, Conflict, NotFound
from market_data.models import ParameterProblem
from market_data.models_actions import (
    ActionCancelIn,
    ActionChangeList,
    ActionCorrectIn,
    ActionIn,
    ActionList,
    CorporateAction,
    MadeActionChange,
)
from market_data.queries import actions as queries
from market_data.queries.actions import ActionResult, NewTerms, RecordedAction, read_action_changes, read_actions
from market_data.services import services_of
from market_data.trade_validation import InvalidTrade, rfc3339, symbol_path

READERS: Final[Readers] = {
    "id": (TEXT, read_action_id),
    "type": (TEXT, read_action_type),
    "ex_date": (TEXT, read_ex_date),
    "ratio": (NUMBER, read_ratio),
    "amount": (NUMBER, read_amount),
}

EXAMPLE: Final = {"id": "split-2020", "type": "split", "ex_date": "2020-08-31", "ratio": "4:1"}


@get(
    "/symbols/{symbol:str}/actions",
    summary="Corporate actions",
    description="The splits, dividends and spin-offs of a symbol, by ex-date; with `as_of`, those that were known then.",
    tags=["Corporate actions"],
    operation_class=openapi_operation(has_version=True),
    responses=responses(ActionList, 400, 404, 410),
)
async def symbol_actions(
    request: Request[Any, Any, Any], symbol: PathSymbolParameter, as_of: AsOfParameter = None
) -> ASGIResponse:
    past = await find_version(request, as_of)
    key, symbol = await _resolve(request, symbol)
    found = await read_source(request).read(read_actions, key, past)
    if not found.actions:
        await require_symbol(request, key)
    listed = [action.of(symbol) for action in found.actions]
    headers = {**caching_of(request, as_of), **version_headers(found.version)}
    return json_response(ActionList(symbol, listed, len(listed)), headers)


@post(
    "/symbols/{symbol:str}/actions",
    opt={"scope": "write"},
    summary="Record a corporate action",
    description=(
        "Record a split, stock dividend, cash dividend or spin-off. Stored trades stay; `adjustment` adjusts them when they "
        "are read. Repeated with the same values, it changes nothing and returns 200; an action with the same `id` and "
        "other values, or one that was cancelled, is a conflict (409)."
    ),
    tags=["Corporate actions"],
    operation_class=openapi_operation(body=request_body(ActionIn, EXAMPLE), scope="write"),
    responses={
        **responses(CorporateAction, *BODY_PROBLEMS, 404, 409),
        200: response(CorporateAction, "The action, which was known already."),
        201: response(CorporateAction, "The action, which is new."),
    },
)
async def record_action(request: Request[Any, Any, Any], symbol: PathSymbolParameter) -> ASGIResponse:
    given = await read_object(request, ActionIn, READERS)
    ratio: Any = None if given.ratio is UNSET else given.ratio
    try:
        terms = check_terms(given.type, given.ex_date, ratio, None if given.amount is UNSET else given.amount)
    except InvalidTrade as invalid:
        raise _bad_body(invalid) from None
    key, symbol = await _resolve(request, symbol)
    await require_symbol(request, key)
    database = services_of(request).database
    found = await database.write(queries.insert_action, key, given.id, terms, actor_of(request))
    if not isinstance(found, RecordedAction):
        message = f"{given.id} of {symbol} was cancelled at {rfc3339(found.changed_at)}; record it with another id"
        raise Conflict(f"{message}.", [ParameterProblem("id", message)])
    if name := terms.difference(found.action.terms):
        message = f"{given.id} is known with another {name}; POST {symbol_path(symbol)}/actions/correct changes it"
        raise Conflict(f"{message}.", [ParameterProblem(name, message)])
    return json_response(found.action.of(symbol), write_headers(request), status=201 if found.is_new else 200)


@post(
    "/symbols/{symbol:str}/actions/correct",
    status_code=200,
    opt={"scope": "write"},
    summary="Correct a corporate action",
    description=(
        "Change values of an action, and record actor, time and reason; values that are left out stay. Answers as of an "
        "earlier version keep the values that were known then. Repeated, it changes nothing more."
    ),
    tags=["Corporate actions"],
    operation_class=openapi_operation(
        body=request_body(ActionCorrectIn, {"id": "split-2020", "ratio": "5:1", "reason": "misread"}), scope="write"
    ),
    responses=responses(MadeActionChange, *BODY_PROBLEMS, 404),
)
async def correct_action(request: Request[Any, Any, Any], symbol: PathSymbolParameter) -> ASGIResponse:
    given = await read_object(request, ActionCorrectIn, READERS)
    values: Any = [None if value is UNSET else value for value in (given.type, given.ex_date, given.ratio, given.amount)]
    key, symbol = await _resolve(request, symbol)
    arguments = key, given.id, NewTerms(*values), actor_of(request), given.reason
    try:
        result = await services_of(request).database.write(queries.correct_action, *arguments)
    except InvalidTrade as invalid:
        raise _bad_body(invalid) from None
    if result.change is None or result.change.change == "cancel":
        raise await _not_found(request, symbol, given.id, result)
    return _change_response(request, symbol, result)


@post(
    "/symbols/{symbol:str}/actions/cancel",
    status_code=200,
    opt={"scope": "write"},
    summary="Cancel a corporate action",
    description=(
        "Let an action have no effect any more, and record actor, time and reason. Answers as of an earlier version keep "
        "it. Repeated, it changes nothing more."
    ),
    tags=["Corporate actions"],
    operation_class=openapi_operation(
        body=request_body(ActionCancelIn, {"id": "split-2020", "reason": "withdrawn"}), scope="write"
    ),
    responses=responses(MadeActionChange, *BODY_PROBLEMS, 404),
)
async def cancel_action(request: Request[Any, Any, Any], symbol: PathSymbolParameter) -> ASGIResponse:
    given = await read_object(request, ActionCancelIn, READERS)
    key, symbol = await _resolve(request, symbol)
    arguments = key, given.id, actor_of(request), given.reason
    result = await services_of(request).database.write(queries.cancel_action, *arguments)
    if result.change is None:
        raise await _not_found(request, symbol, given.id, result)
    return _change_response(request, symbol, result)


@get(
    "/symbols/{symbol:str}/actions/changes",
    opt={"scope": "admin"},
    summary="Changes of corporate actions",
    description="Recorded, corrected and cancelled actions of a symbol with actor and reason, newest first.",
    tags=["Corporate actions"],
    operation_class=openapi_operation(scope="admin"),
    responses=responses(ActionChangeList, 400, 404),
)
async def action_changes(request: Request[Any, Any, Any], symbol: PathSymbolParameter) -> ASGIResponse:
    key, symbol = await _resolve(request, symbol)
    changes = await services_of(request).database.read(read_action_changes, key)
    if not changes:
        await require_symbol(request, key)
    named = [replace(change, symbol=symbol) for change in changes]
    return json_response(ActionChangeList(named, len(named)), dict(NO_STORE))


async def _resolve(request: Request[Any, Any, Any], symbol: str) -> tuple[str, str]:
    """Return the key of a symbol, and its present name."""
    key = (await resolve(request, [symbol])).key
    return key, services_of(request).names.name_of(key)


def _bad_body(invalid: InvalidTrade) -> BadParameters:
    return BadParameters([ParameterProblem(invalid.part or "body", invalid.detail)])


def _change_response(request: Request[Any, Any, Any], symbol: str, result: ActionResult) -> ASGIResponse:
    fields: dict[str, Any] = asdict(result.change) if result.change else {}
    fields |= {"symbol": symbol, "changed": result.by_this}
    return json_response(MadeActionChange(**fields), write_headers(request))


async def _not_found(request: Request[Any, Any, Any], symbol: str, identifier: str, result: ActionResult) -> NotFound:
    """Return the error for an action that can't be changed."""
    await require_symbol(request, symbol)
    if result.change:
        return NotFound(f"The action {identifier} of {symbol} was cancelled at {rfc3339(result.change.changed_at)}.")
    return NotFound(f"There is no action {identifier} of {symbol}; GET {symbol_path(symbol)}/actions lists the known ones.")
