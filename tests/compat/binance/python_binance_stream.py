"""python-binance's sockets, unmodified, while trades are stored, corrected and cancelled. Prints one JSON document."""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import asyncio
import json
import sys
from typing import Any
from urllib.request import Request, urlopen

from binance import AsyncClient, BinanceSocketManager

SECONDS = 40.0
TRADES = 6


def post(base: str, path: str, headers: dict[str, str], **body: Any) -> None:
    """Send a write of the service's own API."""
    data = json.dumps({"symbol": "AAPL", "trade_id": 0, **body}).encode()
    request = Request(base + path, data, {"Content-Type": "application/json", **headers}, method="POST")
    with urlopen(request, timeout=30) as answer:
        answer.read()


async def write(base: str, headers: dict[str, str]) -> None:
    """Store trades of a minute, correct one and cancel one."""
    stamps = [f"2026-02-08T10:30:{number:02}.000123Z" for number in range(TRADES)]
    for number, stamp in enumerate(stamps):
        values = {"timestamp": stamp, "price": f"{100 + number}.25", "volume": "2.5"}
        await asyncio.to_thread(post, base, "/trades", headers, **values)
    await asyncio.to_thread(
        post, base, "/trades/correct", headers, timestamp=stamps[0], price="99.125", reason="typing error"
    )
    await asyncio.to_thread(post, base, "/trades/cancel", headers, timestamp=stamps[1], reason="reported twice")


async def receive(socket: Any, ready: asyncio.Semaphore, is_last: Any) -> list[Any]:
    """Return the messages of a socket up to the last."""
    found: list[Any] = []
    async with asyncio.timeout(SECONDS), socket as stream:
        ready.release()
        while not (found and is_last(found)):
            found.append(await stream.recv())
    return found


def last_price(messages: list[Any]) -> bool:
    """Return True after the ticker with the last price."""
    return float(messages[-1].get("data", messages[-1])["c"]) == 100 + TRADES - 0.75


def final_candle(messages: list[Any]) -> bool:
    """Return True after the candle with the correction and the cancellation."""
    candle = messages[-1]["k"]
    return candle["l"] == "99.125" and candle["n"] == TRADES - 1


async def main(base: str, key: str) -> None:
    """Follow all sockets."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    path = f"/binance/{key}/" if key else "/binance/"
    AsyncClient.API_URL = f"{base}/binance/api"
    BinanceSocketManager.STREAM_URL = base.replace("http", "ws", 1) + path
    client = await AsyncClient.create(api_key=key or None)
    manager = BinanceSocketManager(client)
    sockets = {
        "trade": (manager.trade_socket("AAPL"), lambda found: len(found) == TRADES),
        "aggTrade": (manager.aggtrade_socket("AAPL"), lambda found: len(found) == TRADES),
        "kline": (manager.kline_socket("AAPL", interval="1m"), final_candle),
        "ticker": (manager.symbol_ticker_socket("AAPL"), last_price),
        "miniTicker": (manager.symbol_miniticker_socket("AAPL"), last_price),
        "multiplex": (manager.multiplex_socket(["aapl@trade", "aapl@kline_5m"]), lambda found: len(found) >= TRADES),
        "refused": (manager.kline_socket("AAPL", interval="3m"), lambda found: len(found) == 1),
    }
    ready = asyncio.Semaphore(0)
    tasks = {name: asyncio.create_task(receive(socket, ready, is_last)) for name, (socket, is_last) in sockets.items()}
    for _ in tasks:
        await ready.acquire()
    await asyncio.sleep(1)
    await write(base, headers)
    sys.stdout.write(json.dumps({name: await task for name, task in tasks.items()}))
    await client.close_connection()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""))
