"""ccxt.pro's `binance`, unmodified: streams while trades are stored, corrected and cancelled. Prints one JSON document.

Streams are awaited until their values are the final ones.
"""

# pyright: reportMissingImports=false

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any
from urllib.request import Request, urlopen

import ccxt.pro

SYMBOL = "AAPL/USD"
TRADES = 12
SECONDS = 40.0


def post(base: str, path: str, headers: dict[str, str], **body: Any) -> None:
    """Send a write of the service's own API."""
    data = json.dumps({"symbol": "AAPL", "trade_id": 0, **body}).encode()
    request = Request(base + path, data, {"Content-Type": "application/json", **headers}, method="POST")
    with urlopen(request, timeout=30) as answer:
        answer.read()


async def write(base: str, headers: dict[str, str]) -> None:
    """Store trades of two minutes, correct one and cancel one."""
    for number in range(TRADES):
        stamp = f"2026-02-08T10:{30 + number % 2}:{number:02}.000123Z"
        values = {"timestamp": stamp, "price": f"{100 + number}.25", "volume": "2.5"}
        await asyncio.to_thread(post, base, "/trades", headers, **values)
        await asyncio.sleep(0.1)
    first, second = "2026-02-08T10:30:00.000123Z", "2026-02-08T10:31:01.000123Z"
    await asyncio.to_thread(post, base, "/trades/correct", headers, timestamp=first, price="99.125", reason="typing error")
    await asyncio.to_thread(post, base, "/trades/cancel", headers, timestamp=second, reason="reported twice")


async def until(watch: Callable[[], Any], is_done: Callable[[Any], bool]) -> Any:
    """Await a stream until a value is right; return it."""
    async with asyncio.timeout(SECONDS):
        while True:
            value = await watch()
            if is_done(value):
                return value


async def main(base: str, key: str) -> None:
    """Follow all streams."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    path = f"/binance/{key}" if key else "/binance"
    client = ccxt.pro.binance(
        {
            "urls": {
                "api": {
                    "public": f"{base}/binance/api/v3",
                    "ws": {"spot": base.replace("http", "ws", 1) + path + "/ws"},
                }
            },
            "options": {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False, "fetchMargins": False},
            "enableRateLimit": False,
            "headers": headers,
        }
    )
    collected: dict[str, Any] = {}

    def collect(trades: list[Any]) -> bool:
        collected.update((trade["id"], trade) for trade in trades)
        return len(collected) == TRADES

    candle: dict[float, list[float]] = {}

    def is_final(candles: list[list[float]]) -> bool:
        candle.update({row[0]: row for row in candles})
        # The low of the correction, and the volume and close after the cancellation.
        return sorted(row[3:] for row in candle.values()) == [[99.125, 110.25, 15.0], [103.25, 111.25, 12.5]]

    try:
        await client.load_markets()
        watched = asyncio.gather(
            until(lambda: client.watch_trades(SYMBOL), collect),
            until(lambda: client.watch_ohlcv(SYMBOL, "1m"), is_final),
            until(lambda: client.watch_ticker(SYMBOL), lambda ticker: ticker["last"] == 111.25),
            until(lambda: client.watch_tickers([SYMBOL]), lambda tickers: tickers[SYMBOL]["last"] == 111.25),
        )
        await asyncio.sleep(2)  # the subscriptions
        writing = asyncio.create_task(write(base, headers))
        _, _, ticker, tickers = await watched
        await writing
        try:
            error = ""
            async with asyncio.timeout(10):
                await client.watch_ohlcv(SYMBOL, "3m")
        except ccxt.BaseError as refused:
            error = f"{type(refused).__name__}: {refused}"
        await client.un_watch_trades(SYMBOL)
        answer = {
            "trades": sorted(collected.values(), key=lambda trade: int(trade["id"])),
            "ohlcv": sorted(candle.values()),
            "ticker": ticker,
            "tickers": tickers,
            "refused": error,
        }
        sys.stdout.write(json.dumps(answer))
    finally:
        await client.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""))
