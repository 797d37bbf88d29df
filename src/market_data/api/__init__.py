"""The HTTP interface: one file a resource, each handler parse → query → struct → bytes."""

from market_data.api.candles import candles
from market_data.api.docs import openapi_config, pages
from market_data.api.health import health
from market_data.api.prices import latest_price, latest_prices
from market_data.api.symbols import symbols
from market_data.api.trades import trades
from market_data.api.welcome import welcome

__all__ = ["HANDLERS", "openapi_config", "pages"]

HANDLERS = [welcome, health, symbols, latest_price, latest_prices, trades, candles]
