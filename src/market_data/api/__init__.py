"""The HTTP API: one file a resource."""

from pathlib import Path
from typing import Any

from litestar import Router

from market_data.api import dashboard, docs
from market_data.api.candles import candles
from market_data.api.docs import openapi_config
from market_data.api.health import health, liveness, readiness
from market_data.api.http.allow_header import options_handler
from market_data.api.http.parameter_types import TYPE_DECODERS
from market_data.api.http.parameters import reject_repeated
from market_data.api.metrics import metrics
from market_data.api.prices import latest_price, latest_prices
from market_data.api.root import root
from market_data.api.status import ingestion_status
from market_data.api.stream import stream
from market_data.api.symbols import add_symbol, change_symbol, symbols
from market_data.api.trade_writes import cancel_trade, correct_trade, store_trades, trade_changes
from market_data.api.trades import trades
from market_data.api.websocket import messages, no_websocket

__all__ = ["HANDLERS", "openapi_config", "pages"]

_HANDLERS: list[Any] = [
    root,
    health,
    liveness,
    readiness,
    ingestion_status,
    metrics,
    options_handler("/symbols", "GET", "POST"),
    symbols,
    add_symbol,
    change_symbol,
    latest_price,
    latest_prices,
    options_handler("/trades", "GET", "POST"),
    trades,
    store_trades,
    cancel_trade,
    correct_trade,
    trade_changes,
    candles,
    stream,
    messages,
    no_websocket,
]
HANDLERS = [Router("/", route_handlers=_HANDLERS, before_request=reject_repeated, type_decoders=TYPE_DECODERS)]


def pages(assets: Path | None) -> list[Any]:
    """Return the handlers of the pages for people; `assets` is the `node_modules` folder with their scripts."""
    return [*docs.pages(assets), *dashboard.pages(assets)]
