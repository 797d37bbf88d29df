"""The protocol of Massive, formerly Polygon, at `/massive`."""

from typing import Final

from litestar import Router
from litestar.openapi.spec import Tag

from market_data.api.compat.massive.aggregates import aggregates, grouped, open_close
from market_data.api.compat.massive.reference import holidays, market_status, one_ticker, tickers
from market_data.api.compat.massive.snapshots import one_snapshot, snapshots, universal_snapshots
from market_data.api.compat.massive.stream import stocks
from market_data.api.compat.massive.trades import foreign_trades, last_trade
from market_data.api.compat.massive.values import PREFIX, error_body, given_keys
from market_data.api.compat.protocol import Protocol
from market_data.api.http.dialects import Dialect

HANDLERS: Final = (
    aggregates,
    grouped,
    open_close,
    foreign_trades,
    last_trade,
    snapshots,
    one_snapshot,
    universal_snapshots,
    tickers,
    one_ticker,
    market_status,
    holidays,
    stocks,
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
