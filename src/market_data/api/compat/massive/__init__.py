"""The protocol of Massive, formerly Polygon, at `/massive`."""

from typing import Final

from litestar import Router
from litestar.openapi.spec import Tag

from market_data.api.compat.massive.actions import (
    massive_dividends,
    massive_splits,
    massive_stocks_dividends,
    massive_stocks_splits,
)
from market_data.api.compat.massive.aggregates import massive_aggregates
from market_data.api.compat.massive.days import massive_grouped, massive_open_close
from market_data.api.compat.massive.market import massive_holidays, massive_market_status
from market_data.api.compat.massive.reference import massive_ticker, massive_tickers
from market_data.api.compat.massive.snapshots import massive_snapshot, massive_snapshots, massive_universal_snapshots
from market_data.api.compat.massive.stream import massive_stream
from market_data.api.compat.massive.trades import massive_last_trade, massive_trades
from market_data.api.compat.massive.values import PREFIX, error_body, given_keys
from market_data.api.compat.protocol import Protocol
from market_data.api.http.dialects import Dialect

HANDLERS: Final = (
    massive_aggregates,
    massive_grouped,
    massive_open_close,
    massive_trades,
    massive_last_trade,
    massive_snapshots,
    massive_snapshot,
    massive_universal_snapshots,
    massive_tickers,
    massive_ticker,
    massive_splits,
    massive_dividends,
    massive_stocks_splits,
    massive_stocks_dividends,
    massive_market_status,
    massive_holidays,
    massive_stream,
)

MASSIVE: Final = Protocol(
    "massive",
    Tag(
        "Massive",
        "The protocol of Massive, formerly Polygon. Errors have `status` (`ERROR`, `NOT_FOUND` or `NOT_AUTHORIZED`), "
        "`request_id`, and `error` or `message`. A key may also be sent as `apiKey=`. `next_url` is without `/massive`, "
        "because the protocol's clients append it to their base; the header `Link` has the whole address. "
        "`/massive/ws/stocks` is its WebSocket: trades (`T`), seconds (`A`) and minutes (`AM`).",
    ),
    Dialect((PREFIX,), error_body, given_keys),
    {"massive": PREFIX, "massive_stream": f"ws:{PREFIX}/ws"},
    (Router(PREFIX, route_handlers=HANDLERS),),
)
