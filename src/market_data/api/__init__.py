"""The HTTP API: one file a resource."""

from pathlib import Path
from typing import Any

from litestar import Router

from market_data.api import dashboard, docs, front_page
from market_data.api.actions import (
    action_changes,
    cancel_action,
    correct_action,
    record_action,
    symbol_actions,
)
from market_data.api.calendars import calendars, market_status, sessions
from market_data.api.candles import candles
from market_data.api.docs import openapi_config
from market_data.api.explanation import candle_explanation
from market_data.api.health import health, liveness, readiness
from market_data.api.http.allow_header import options_handler
from market_data.api.http.parameter_types import TYPE_DECODERS
from market_data.api.http.query_string import check_names
from market_data.api.log import log_checkpoint, log_key, log_proof, log_tile
from market_data.api.metrics import metrics
from market_data.api.prices import latest_price, latest_prices, snapshots
from market_data.api.renames import rename_symbol
from market_data.api.revised_buckets import revised_buckets
from market_data.api.revisions import revisions
from market_data.api.root import root
from market_data.api.status import audit_status, ingestion_status
from market_data.api.stream import stream
from market_data.api.symbols import add_symbol, change_symbol, one_symbol, symbols
from market_data.api.trade_writes import cancel_trade, correct_trade, store_trades, trade_changes
from market_data.api.trades import trades
from market_data.api.websocket import messages, no_websocket

__all__ = ["HANDLERS", "openapi_config", "pages"]

_HANDLERS: list[Any] = [
    health,
    liveness,
    readiness,
    ingestion_status,
    audit_status,
    metrics,
    options_handler("/symbols", "GET", "POST"),
    symbols,
    add_symbol,
    options_handler("/symbols/{symbol:str}", "GET", "PATCH"),
    one_symbol,
    change_symbol,
    calendars,
    sessions,
    market_status,
    rename_symbol,
    options_handler("/symbols/{symbol:str}/actions", "GET", "POST"),
    symbol_actions,
    record_action,
    correct_action,
    cancel_action,
    action_changes,
    latest_price,
    latest_prices,
    snapshots,
    options_handler("/trades", "GET", "POST"),
    trades,
    store_trades,
    cancel_trade,
    correct_trade,
    trade_changes,
    candles,
    candle_explanation,
    revised_buckets,
    revisions,
    log_key,
    log_checkpoint,
    log_tile,
    log_proof,
    stream,
    messages,
    no_websocket,
]
HANDLERS: list[Any] = [
    root,  # a page for browsers, whose links may have any parameters
    Router("/", route_handlers=_HANDLERS, before_request=check_names, type_decoders=TYPE_DECODERS),
]


def pages(assets: Path | None) -> list[Any]:
    """Return the handlers of the pages for people; `assets` is the `node_modules` folder with their scripts."""
    return [*docs.pages(assets), *dashboard.pages(assets), front_page.styles]
