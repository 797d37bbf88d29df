"""Follow the stream with alpaca-py, unmodified: `stream_client.py <WebSocket URL> <secret> <count> <channels>`.

The channels are the names of its methods after `subscribe_`, between commas. The first line of the output is written once
the client is subscribed; the last one has the first events of all channels, as many as wanted, each with its channel.
"""

import asyncio
import json
import sys
from typing import Any

from alpaca.data.live.stock import StockDataStream


async def follow(url: str, secret: str, count: int, channels: list[str]) -> list[Any]:
    stream = StockDataStream("key", secret, url_override=url)
    events: list[Any] = []

    def handler(channel: str) -> Any:
        async def handle(event: Any) -> None:
            events.append([channel, event.model_dump(mode="json")])
            if len(events) == count:
                await stream.stop_ws()

        return handle

    for channel in channels:
        if channel in ("corrections", "cancels"):
            getattr(stream, f"register_trade_{channel}")(handler(channel))
        else:
            getattr(stream, f"subscribe_{channel}")(handler(channel), "*")
    dispatch = stream._dispatch

    async def announce(message: dict[str, Any]) -> None:
        if message.get("T") == "subscription":
            sys.stdout.write(f"{json.dumps(message)}\n")
            sys.stdout.flush()
        await dispatch(message)

    stream._dispatch = announce
    await stream._run_forever()
    return events


if __name__ == "__main__":
    url, secret, count, channels = sys.argv[1:]
    sys.stdout.write(json.dumps(asyncio.run(follow(url, secret, int(count), channels.split(",")))))
