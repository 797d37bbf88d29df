"""ccxt's `binance`, unmodified: each call that users of market data make. Prints one JSON document."""

# pyright: reportMissingImports=false

import json
import sys
from typing import Any

import ccxt


def exchange(base: str, **options: Any) -> ccxt.binance:
    """Return the exchange with a base URL."""
    urls = {"api": {"public": f"{base}/binance/api/v3", "sapi": f"{base}/binance/sapi/v1"}}
    settings = {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False, "fetchMargins": False}
    return ccxt.binance({"urls": urls, "options": settings, "enableRateLimit": False, **options})


def error_of(call: Any, *arguments: Any, **named: Any) -> str:
    """Return the name of the error that a call raises."""
    try:
        call(*arguments, **named)
    except ccxt.BaseError as error:
        return type(error).__name__
    return ""


def main(base: str, key: str) -> None:
    """Call everything."""
    client = exchange(base)
    markets = client.load_markets()
    since = client.parse8601("2026-02-08T10:30:00Z")
    pages: list[list[Any]] = []
    start = since
    while page := client.fetch_ohlcv("AAPL/USD", "1m", since=start, limit=100):
        pages.append(page)
        start = page[-1][0] + 1
    by_id = {"fetchTradesMethod": "publicGetHistoricalTrades"}
    keyed = exchange(base, apiKey="any")  # without one, ccxt does not ask for these trades
    trades = client.fetch_trades("AAPL/USD", since=since, limit=50)
    answer = {
        "markets": {name: market["id"] for name, market in markets.items()},
        "active": {name: market["active"] for name, market in markets.items()},
        "ohlcv": pages,
        "hours": client.fetch_ohlcv("AAPL", "2h", since=since - 3_600_000),
        "newest": client.fetch_ohlcv("AAPL/USD", "1m", limit=3),
        "empty": client.fetch_ohlcv("AAPL/USD", "1m", since=client.milliseconds()),
        "trades": trades,
        "newest_trades": client.fetch_trades("AAPL/USD", limit=5, params={"fetchTradesMethod": "publicGetTrades"}),
        "historical": keyed.fetch_trades("AAPL/USD", limit=5, params={**by_id, "fromId": trades[10]["id"]}),
        "ticker": client.fetch_ticker("AAPL/USD"),
        "tickers": client.fetch_tickers(["AAPL/USD", "MSFT/USD"]),
        "all_tickers": sorted(client.fetch_tickers()),
        "last_prices": {name: each["price"] for name, each in client.fetch_last_prices().items()},
        "bids_asks": client.fetch_bids_asks(["AAPL/USD"])["AAPL/USD"],
        "order_book": client.fetch_order_book("AAPL/USD"),
        "status": client.fetch_status()["status"],
        "time": client.fetch_time(),
        "price": client.price_to_precision("AAPL/USD", 1.23456789),
        "unknown": error_of(client.publicGetKlines, {"symbol": "NOPE", "interval": "1m"}),
        "interval": error_of(client.publicGetKlines, {"symbol": "AAPL", "interval": "7m"}),
    }
    if key:
        answer["with_key"] = exchange(base, headers={"Authorization": f"Bearer {key}"}).fetch_time()
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "")
