"""Follow the stream with alpaca-py, unmodified: `stream_client.py <WebSocket URL> <secret> <count> <channels>`.

The channels are the names of its methods after `subscribe_`, between commas, with `=` and a symbol for a single one. The
first line of the output is written once the client is subscribed; the last one has the first events of all channels, as many
as wanted, each with its channel.
"""

import asyncio
import json
import logging
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

    for name in channels:
        channel, _, symbol = name.partition("=")
        if channel in ("corrections", "cancels"):
            getattr(stream, f"register_trade_{channel}")(handler(channel))
        else:
            getattr(stream, f"subscribe_{channel}")(handler(channel), symbol or "*")

    class Errors(logging.Handler):
        """Errors that the client logs before it connects again, as events of the channel `error`."""

        def emit(self, record: logging.LogRecord) -> None:
            events.append(["error", record.getMessage()])
            if len(events) == count:
                asyncio.get_running_loop().create_task(stream.stop_ws())

    logging.getLogger("alpaca").addHandler(Errors(logging.WARNING))
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
