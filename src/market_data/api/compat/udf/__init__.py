"""TradingView's Universal Data Feed at `/udf`, and OpenBB Workspace at `/openbb`, whose charts read it.

The adapter of TradingView's Advanced Charts reads each body as text, whatever the status, and sends no header.
"""

from typing import Final

from litestar import Router
from litestar.openapi.spec import Tag

from market_data.api.compat.protocol import Protocol
from market_data.api.compat.udf.configuration import config, time
from market_data.api.compat.udf.history import history
from market_data.api.compat.udf.marks import marks, timescale_marks
from market_data.api.compat.udf.openbb import apps, candle_table, status_table, trade_table, watch_list, widgets
from market_data.api.compat.udf.quotes import quotes
from market_data.api.compat.udf.symbols import search, symbol_info, udf_symbol
from market_data.api.compat.udf.values import error_body
from market_data.api.http.dialects import Dialect

FEED: Final = (config, time, udf_symbol, symbol_info, search, history, quotes, marks, timescale_marks)

UDF: Final = Protocol(
    "udf",
    Tag(
        "TradingView",
        'The data feed of TradingView\'s Advanced Charts. Errors are `{"s": "error", "errmsg": …}` with the status that the '
        "service's own API has. A key goes into the path, as in `/udf/<key>/config`.",
    ),
    Dialect(("/udf", "/openbb"), error_body, has_key_in_path=True),
    {"tradingview": "/udf", "openbb": "/openbb"},
    (
        Router("/udf", route_handlers=FEED),
        Router("/openbb", route_handlers=[widgets, apps, watch_list, candle_table, trade_table, status_table]),
        Router("/openbb/udf", route_handlers=FEED, include_in_schema=False),
    ),
)
