"""python-binance's socket across a restart of the service; it reads the missed trades by id. Prints one JSON document."""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import asyncio
import json
import sys
from typing import Any

from binance import AsyncClient, BinanceSocketManager

SECONDS = 90.0


async def main(base: str, last_price: str) -> None:
    """Follow the trades up to one with a price."""
    AsyncClient.API_URL = f"{base}/binance/api"
    BinanceSocketManager.STREAM_URL = f"{base.replace('http', 'ws', 1)}/binance/"
    client = await AsyncClient.create()
    streamed: list[dict[str, Any]] = []
    errors = 0
    async with asyncio.timeout(SECONDS), BinanceSocketManager(client).trade_socket("AAPL") as stream:
        while not streamed or streamed[-1]["p"] != last_price:
            message = await stream.recv()
            if message and message["e"] == "trade":
                streamed.append(message)
            else:
                errors += 1
    stored = await client.get_historical_trades(symbol="AAPL", fromId=streamed[0]["t"], limit=1000)
    await client.close_connection()
    sys.stdout.write(json.dumps({"streamed": streamed, "stored": stored, "errors": errors}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
