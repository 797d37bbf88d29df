"""Alpaca's market data at `/alpaca`: stocks, assets, calendar and clock, corporate actions, and the stream."""

from typing import Final

from litestar import Router
from litestar.openapi.spec import Tag

from market_data.api.compat.alpaca.assets import alpaca_asset, alpaca_assets
from market_data.api.compat.alpaca.calendar import alpaca_calendar, alpaca_clock
from market_data.api.compat.alpaca.corporate_actions import (
    alpaca_announcement,
    alpaca_announcements,
    alpaca_corporate_actions,
)
from market_data.api.compat.alpaca.one_symbol import alpaca_one_symbol
from market_data.api.compat.alpaca.stocks import (
    alpaca_bars,
    alpaca_latest_bars,
    alpaca_latest_quotes,
    alpaca_latest_trades,
    alpaca_quotes,
    alpaca_snapshots,
    alpaca_trades,
)
from market_data.api.compat.alpaca.stream import alpaca_stream
from market_data.api.compat.alpaca.values import error_body, given_keys
from market_data.api.compat.protocol import Protocol
from market_data.api.http.dialects import Dialect

STOCKS: Final = (
    alpaca_bars,
    alpaca_trades,
    alpaca_quotes,
    alpaca_latest_bars,
    alpaca_latest_trades,
    alpaca_latest_quotes,
    alpaca_snapshots,
    alpaca_one_symbol,
)

TRADING: Final = (
    alpaca_assets,
    alpaca_asset,
    alpaca_calendar,
    alpaca_clock,
    alpaca_announcements,
    alpaca_announcement,
)

ALPACA: Final = Protocol(
    "alpaca",
    Tag(
        "Alpaca",
        'Market data for clients of Alpaca. Errors are `{"code": …, "message": …}`, where the code begins with the status. '
        "A key is the secret: `APCA-API-SECRET-KEY`, beside any `APCA-API-KEY-ID`, or the password of Basic. The stream is "
        "a WebSocket at `/alpaca/stream`: JSON text, or msgpack after a handshake with `Content-Type: application/msgpack`; "
        "with trades, corrections and cancelErrors, bars, updatedBars (minutes that changed after their end) and dailyBars.",
    ),
    Dialect(("/alpaca",), error_body, given_keys),
    {"alpaca": "/alpaca", "alpaca_stream": "ws:/alpaca/stream"},
    (
        Router(
            "/alpaca",
            route_handlers=[
                Router("/v2/stocks", route_handlers=STOCKS),
                Router("/v2", route_handlers=TRADING),
                Router("/v1", route_handlers=[alpaca_corporate_actions]),
                alpaca_stream,
            ],
        ),
    ),
)
