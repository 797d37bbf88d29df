"""Binance's spot API at `/binance/api/v3`, and its streams at `/binance/ws` and `/binance/stream`: market data only.

`trade_ids` has the rule of the ids of trades and their limits.
"""

from typing import Final

from litestar import Router
from litestar.openapi.spec import Tag

from market_data.api.compat.binance.general import (
    binance_exchange_info,
    binance_ping,
    binance_server_time,
    binance_system_status,
)
from market_data.api.compat.binance.klines import binance_klines, binance_ui_klines
from market_data.api.compat.binance.streams import combined_streams, named_streams, raw_streams
from market_data.api.compat.binance.tickers import (
    binance_average_price,
    binance_book_ticker,
    binance_day_ticker,
    binance_depth,
    binance_price_ticker,
)
from market_data.api.compat.binance.trades import binance_aggregate_trades, binance_historical_trades, binance_trades
from market_data.api.compat.binance.values import error_body, given_keys
from market_data.api.compat.protocol import Protocol
from market_data.api.http.dialects import Dialect

DESCRIPTION: Final = """
Market data in the form of Binance's spot API, for python-binance, ccxt and freqtrade. Times are in milliseconds, prices and
quantities are texts with every stored digit, errors are `{"code": …, "msg": …}` with negative codes. A key goes into
`X-MBX-APIKEY`, or for sockets into the path, as in `/binance/<key>/ws`.

The id of a trade is its time in microseconds, times 1000, plus its rank within that microsecond, so ids increase for each
symbol. A trade that is cancelled lowers the ids of the later trades of its microsecond. Ranks from 1000 on reach into the
ids of the following microseconds, where no other trades are unless the source has so many at one microsecond. Ids are
greater than 2^53.

Streams are at `/binance/ws`, `/binance/ws/<name>` and `/binance/stream?streams=<name>/<name>`: `<symbol>@trade`,
`@aggTrade`, `@kline_<interval>` for the stored intervals (1m, 5m, 15m, 30m, 1h, 4h, 1d, 1w), `@ticker`, `@miniTicker`,
`!ticker@arr` and `!miniTicker@arr`, with SUBSCRIBE, UNSUBSCRIBE and LIST_SUBSCRIPTIONS. A late, corrected or cancelled
trade sends the candles that it changed again. The protocol has no message for a trade that was corrected or cancelled, and
none for a candle that has no trade left: they are left out.
"""

BINANCE: Final = Protocol(
    "binance",
    Tag("Binance", DESCRIPTION.strip()),
    Dialect(("/binance",), error_body, given_keys, has_key_in_path=True),
    {"binance": "/binance/api/v3", "binance_stream": "ws:/binance/ws"},
    (
        Router(
            "/binance/api/v3",
            route_handlers=[
                *(binance_ping, binance_server_time, binance_exchange_info),
                *(binance_klines, binance_ui_klines),
                *(binance_trades, binance_historical_trades, binance_aggregate_trades),
                *(binance_average_price, binance_price_ticker, binance_day_ticker, binance_book_ticker, binance_depth),
            ],
        ),
        Router("/binance", route_handlers=[raw_streams, named_streams, combined_streams]),
        Router("/binance/sapi/v1", route_handlers=[binance_system_status]),
    ),
)
