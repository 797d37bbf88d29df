"""Every statement that the service runs on its tables, each above the short function that runs it.

The functions take a psycopg connection in autocommit mode. Ranges are half-open, symbols in upper case, times aware.
Errors are psycopg's.
"""

from market_data.queries.candles import CANDLE_BOUND, CANDLES, PACKED_CANDLE, PACKED_FILLED_CANDLE, candles
from market_data.queries.feed import (
    ADD_SYMBOLS,
    END_LEASE,
    FEED_LEASE,
    LAST_PRICES,
    STORE_FEED_TRADES,
    TAKE_LEASE,
    add_symbols,
    end_lease,
    last_prices,
    store_feed_trades,
    take_lease,
)
from market_data.queries.filled import FILLED_CANDLES, Fill, filled_candles
from market_data.queries.health import NEWEST_TRADE, TRADE_COUNT, stored
from market_data.queries.intervals import INTERVALS, WEEK_START
from market_data.queries.pages import PACKED_EPOCH, Column, Connection, Form, Key, Order, Page
from market_data.queries.prices import LATEST_PRICE, LATEST_PRICES, LATEST_PRICES_OF, latest_price, latest_prices
from market_data.queries.stream import (
    ADVANCE_STREAM,
    LISTEN_TO_STREAM,
    STREAM_CANDLES,
    STREAM_EVENTS,
    STREAM_REACH,
    Reach,
    StreamedCandle,
    Told,
    advance_stream,
    listen_to_stream,
    stream_candles,
    stream_events,
    stream_reach,
)
from market_data.queries.symbols import SYMBOL_EXISTS, SYMBOLS, UNKNOWN_SYMBOLS, symbol_exists, symbols, unknown_symbols
from market_data.queries.trades import PACKED_TRADE, TRADES, trades

__all__ = [
    "ADD_SYMBOLS",
    "ADVANCE_STREAM",
    "CANDLES",
    "CANDLE_BOUND",
    "END_LEASE",
    "FEED_LEASE",
    "FILLED_CANDLES",
    "INTERVALS",
    "LAST_PRICES",
    "LATEST_PRICE",
    "LATEST_PRICES",
    "LATEST_PRICES_OF",
    "LISTEN_TO_STREAM",
    "NEWEST_TRADE",
    "PACKED_CANDLE",
    "PACKED_EPOCH",
    "PACKED_FILLED_CANDLE",
    "PACKED_TRADE",
    "STORE_FEED_TRADES",
    "STREAM_CANDLES",
    "STREAM_EVENTS",
    "STREAM_REACH",
    "SYMBOLS",
    "SYMBOL_EXISTS",
    "TAKE_LEASE",
    "TRADES",
    "TRADE_COUNT",
    "UNKNOWN_SYMBOLS",
    "WEEK_START",
    "Column",
    "Connection",
    "Fill",
    "Form",
    "Key",
    "Order",
    "Page",
    "Reach",
    "StreamedCandle",
    "Told",
    "add_symbols",
    "advance_stream",
    "candles",
    "end_lease",
    "filled_candles",
    "last_prices",
    "latest_price",
    "latest_prices",
    "listen_to_stream",
    "store_feed_trades",
    "stored",
    "stream_candles",
    "stream_events",
    "stream_reach",
    "symbol_exists",
    "symbols",
    "take_lease",
    "trades",
    "unknown_symbols",
]
