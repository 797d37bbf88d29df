"""Follow the stream with alpaca-py, unmodified: `stream_client.py <WebSocket URL> <secret> <channels>`.

The channels are the names of its methods after `subscribe_`, between commas, with `=` and a symbol for a single one. The
output has a line for each subscription, once it is confirmed, and at last a line with all events, each with its channel: up
to a trade of the symbol LAST, or with the channel `errors` up to the second error that the client logs.
"""

import asyncio
import json
import logging
import sys
from typing import Any

from alpaca.data.live.stock import StockDataStream


def write(line: Any) -> None:
    sys.stdout.write(f"{json.dumps(line)}\n")
    sys.stdout.flush()


async def follow(url: str, secret: str, channels: list[str]) -> list[Any]:
    stream = StockDataStream("key", secret, url_override=url)
    events: list[Any] = []

    def handler(channel: str) -> Any:
        async def handle(event: Any) -> None:
            events.append([channel, event.model_dump(mode="json")])
            if event.symbol == "LAST":
                await stream.stop_ws()

        return handle

    class Errors(logging.Handler):
        """Errors that the client logs before it connects again, as events of the channel `errors`."""

        def emit(self, record: logging.LogRecord) -> None:
            events.append(["errors", record.getMessage()])
            if "errors" in channels and len(events) == 2:
                asyncio.get_running_loop().create_task(stream.stop_ws())

    logging.getLogger("alpaca").addHandler(Errors(logging.WARNING))
    for name in channels:
        channel, _, symbol = name.partition("=")
        if channel in ("corrections", "cancels"):
            getattr(stream, f"register_trade_{channel}")(handler(channel))
        elif channel != "errors":
            getattr(stream, f"subscribe_{channel}")(handler(channel), symbol or "*")
    dispatch = stream._dispatch  # noqa: SLF001 - tells that the subscription has begun, which has no callback

    async def announce(message: dict[str, Any]) -> None:
        if message.get("T") == "subscription":
            write(message)
        await dispatch(message)

    stream._dispatch = announce  # noqa: SLF001
    await stream._run_forever()  # noqa: SLF001 - `run` in the loop of this script
    return events


if __name__ == "__main__":
    url, secret, channels = sys.argv[1:]
    write(asyncio.run(follow(url, secret, channels.split(","))))
