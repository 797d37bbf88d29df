"""python-binance, unmodified: each call that users of market data make. Prints one JSON document."""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import asyncio
import json
import sys
from typing import Any

from binance import AsyncClient, Client
from binance.exceptions import BinanceAPIException

START = "2026-02-08 10:30:00"


def error_of(call: Any, **named: Any) -> list[Any]:
    """Return the status, code and message of the error that a call raises."""
    try:
        call(**named)
    except BinanceAPIException as error:
        return [error.status_code, error.code, error.message]
    return []


async def asynchronous() -> dict[str, Any]:
    """Call with the asynchronous client."""
    client = await AsyncClient.create()
    try:
        return {
            "klines": await client.get_klines(symbol="AAPL", interval="1m", limit=3),
            "historical": await client.get_historical_klines("AAPL", "1m", START),
            "trades": await client.get_recent_trades(symbol="AAPL", limit=3),
        }
    finally:
        await client.close_connection()


def main(base: str, key: str) -> None:
    """Call everything."""
    Client.API_URL = AsyncClient.API_URL = f"{base}/binance/api"
    client = Client(api_key=key or None)
    answer = {
        "time": client.get_server_time(),
        "info": client.get_symbol_info("AAPL"),
        "historical": client.get_historical_klines("AAPL", "1m", START),
        "hours": client.get_historical_klines("AAPL", "2h", START),
        "seconds": client.get_historical_klines("AAPL", "1s", START),
        "until": client.get_historical_klines("AAPL", "1m", START, "2026-02-08 10:40:00"),
        "earliest": client._get_earliest_valid_timestamp("AAPL", "3m"),  # the first request of get_historical_klines
        "aggregates": list(client.aggregate_trade_iter("AAPL", start_str=START)),
        "all_aggregates": list(client.aggregate_trade_iter("AAPL", last_id=1)),
        "trades": client.get_recent_trades(symbol="AAPL", limit=5),
        "historical_trades": client.get_historical_trades(symbol="AAPL", limit=5),
        "average": client.get_avg_price(symbol="AAPL"),
        "ticker": client.get_ticker(symbol="AAPL"),
        "prices": client.get_all_tickers(),
        "price": client.get_symbol_ticker(symbol="AAPL"),
        "book": client.get_orderbook_ticker(symbol="AAPL"),
        "depth": client.get_order_book(symbol="AAPL"),
        "unknown": error_of(client.get_klines, symbol="NOPE", interval="1m"),
        "interval": error_of(client.get_klines, symbol="AAPL", interval="7m"),
        "asynchronous": asyncio.run(asynchronous()),
    }
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "")
