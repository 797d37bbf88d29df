"""`GET /log/…`: the transparency log, in the formats of C2SP."""

import re
from typing import Any, Final

from litestar import Request, get
from litestar.response.base import ASGIResponse

from market_data.api.http.caching import IMMUTABLE, NO_STORE, PRIVATE_IMMUTABLE, REVALIDATE
from market_data.api.http.complete_response import CompleteResponse
from market_data.api.http.log_parameters import (
    LoggedVersionParameter,
    OptionalIntervalParameter,
    TileParameter,
    TimestampParameter,
    TradeIdParameter,
)
from market_data.api.http.naming import loaded_names
from market_data.api.http.openapi import openapi_operation, problem_responses, response
from market_data.api.http.parameters import SymbolParameter
from market_data.errors import BadParameters, NotFound
from market_data.models import ParameterProblem
from market_data.proof.merkle import TILE_WIDTH, Range
from market_data.queries.log_appends import read_log_keys
from market_data.queries.log_proofs import read_candle_receipt, read_checkpoint, read_trade_receipt
from market_data.queries.log_tree import read_entries, read_hashes
from market_data.queries.trades import TradeKey
from market_data.services import services_of

TILE: Final = re.compile(
    r"/?(entries|0|[1-9][0-9]?)/((?!x000/)(?:x[0-9]{3}/){0,4}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?",
    re.ASCII,
)
"""Level or `entries`, index in groups of three digits, and width of a partial tile (c2sp.org/tlog-tiles)."""

NO_CHECKPOINT = NotFound("There is no checkpoint yet: the log begins within a minute, if this service has its key.")


def _text(body: str, description: str) -> dict[str, Any]:
    """Return the description of a text for OpenAPI."""
    return {
        "operation_class": openapi_operation(),
        "responses": {200: response(str, description, media_type=body), **problem_responses(400, 404, 500, 503)},
    }


@get(
    "/log/key",
    summary="Verifier key",
    description="The public keys that sign checkpoints now, a line each, the newest first (`c2sp.org/signed-note`).",
    tags=["Log"],
    **_text("text/plain", "Verifier keys."),
)
async def log_key(request: Request[Any, Any, Any]) -> ASGIResponse:
    keys = await services_of(request).database.read(read_log_keys, signing=True)
    if not keys:
        raise NO_CHECKPOINT
    return CompleteResponse("".join(f"{key.verifier}\n" for key in keys).encode(), REVALIDATE, media_type="text/plain")


@get(
    "/log/checkpoint",
    summary="Checkpoint",
    description=(
        "The signed size and root of the log (`c2sp.org/tlog-checkpoint`), with the cosignatures of witnesses: at most a "
        "minute after a commit."
    ),
    tags=["Log"],
    **_text("text/plain", "The newest checkpoint, a signed note."),
)
async def log_checkpoint(request: Request[Any, Any, Any]) -> ASGIResponse:
    checkpoint = await services_of(request).database.read_coalesced(read_checkpoint)
    if checkpoint is None:
        raise NO_CHECKPOINT
    return CompleteResponse(checkpoint.note.encode(), REVALIDATE, media_type="text/plain")


@get(
    "/log/tile/{tile:path}",
    summary="Tile",
    description=(
        "256 hashes of a level of the tree, `/log/tile/0/x001/234`, or 256 entries, each after its length in two bytes, "
        "`/log/tile/entries/x001/234`; with `.p/<width>` the first of them (`c2sp.org/tlog-tiles`). A tile never changes."
    ),
    tags=["Log"],
    **_text("application/octet-stream", "Hashes of 32 bytes, or entries."),
)
async def log_tile(request: Request[Any, Any, Any], tile: TileParameter) -> ASGIResponse:
    found = TILE.fullmatch(tile)
    if found is None or int(found[3] or 1) >= TILE_WIDTH or (found[1] != "entries" and int(found[1]) > 63):
        raise NotFound("There is no such tile. Their paths are as in /log/tile/0/x001/234 and /log/tile/entries/000.p/7.")
    database = services_of(request).database
    level = 0 if found[1] == "entries" else int(found[1])
    start = int(found[2].replace("x", "").replace("/", "")) * TILE_WIDTH
    width = int(found[3] or TILE_WIDTH)
    leaves = Range(start, start + width)
    checkpoint = await database.read_coalesced(read_checkpoint)
    if checkpoint is None or leaves.end > checkpoint.size >> (8 * level):
        raise NotFound("The log has not that many entries in its newest checkpoint.")
    if found[1] == "entries":
        entries = await database.read(read_entries, leaves)
        body = b"".join(len(entry).to_bytes(2) + entry for entry in entries)
    else:
        body = b"".join(await database.read(read_hashes, level, leaves))
    caching = PRIVATE_IMMUTABLE if services_of(request).settings.auth == "required" else IMMUTABLE
    return CompleteResponse(body, caching, media_type="application/octet-stream")


@get(
    "/log/proof",
    summary="Receipt",
    description=(
        "Proof that a trade, or a candle as it stood at the end of a minute in which it changed, is in the log: a "
        "`c2sp.org/tlog-proof@v1`, whose extra data are the leaf and its path within the entry. `market-data "
        "verify-receipt` verifies it offline. With `interval`, of the candle that begins at `timestamp`; otherwise of the "
        "trade as it is stored, or of its cancellation."
    ),
    tags=["Log"],
    operation_class=openapi_operation(),
    responses={
        200: response(str, "The receipt.", media_type="text/plain"),
        **problem_responses(400, 404, 409, 410, 500, 503),
    },
)
async def log_proof(
    request: Request[Any, Any, Any],
    symbol: SymbolParameter,
    timestamp: TimestampParameter,
    trade_id: TradeIdParameter = None,
    interval: OptionalIntervalParameter = None,
    version: LoggedVersionParameter = None,
) -> ASGIResponse:
    for name, value, other in (("trade_id", trade_id, interval), ("version", version, interval is None)):
        if value is not None and other:
            which = "of trades; leave out interval" if name == "trade_id" else "of candles; give interval as well"
            raise BadParameters([ParameterProblem(name, f"is a parameter of receipts {which}")])
    database = services_of(request).database
    key = (await loaded_names(request)).key_at(symbol, timestamp.time)
    if interval:
        text = await database.read(read_candle_receipt, key, interval, timestamp.time, version)
    else:
        text = await database.read(read_trade_receipt, TradeKey(key, timestamp.time, trade_id or 0))
    return CompleteResponse(text.encode(), NO_STORE, media_type="text/plain")
