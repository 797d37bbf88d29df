"""Follow the stream with alpaca-py, unmodified: `stream_client.py <WebSocket URL> <secret> <channels>`.

The channels are the names of its methods after `subscribe_`, between commas, with `=` and a symbol for a single one. The
output has a line for each subscription, once it is confirmed, and at last a line with all events, each with its channel: up
to a trade of the symbol LAST, or with the channel `errors` up to the second error that the client logs.
"""

# pyright: reportMissingImports=false
# Only the environment of the client has its package.

import asyncio
import json
import logging
import sys
from typing import Any

from alpaca.data.live.stock import StockDataStream


def write(line: Any) -> None:
    sys.stdout.write(f"{json.dumps(line)}\n")
    sys.stdout.flush()


class Follower(StockDataStream):
    """The stream, whose events are collected. Only `_dispatch` is replaced: the client has no callback for subscriptions."""

    def __init__(self, url: str, secret: str, channels: list[str]) -> None:
        super().__init__("key", secret, url_override=url)
        self.events: list[Any] = []
        self.ends_after_errors = "errors" in channels
        for name in channels:
            channel, _, symbol = name.partition("=")
            if channel in ("corrections", "cancels"):
                getattr(self, f"register_trade_{channel}")(self._handler(channel))
            elif channel != "errors":
                getattr(self, f"subscribe_{channel}")(self._handler(channel), symbol or "*")

    def _handler(self, channel: str) -> Any:
        async def handle(event: Any) -> None:
            self.events.append([channel, event.model_dump(mode="json")])
            if event.symbol == "LAST":
                await self.stop_ws()

        return handle

    async def _dispatch(self, msg: dict[str, Any]) -> None:
        if msg.get("T") == "subscription":
            write(msg)
        await super()._dispatch(msg)


class Errors(logging.Handler):
    """Errors that the client logs before it connects again, as events of the channel `errors`."""

    def __init__(self, follower: Follower) -> None:
        super().__init__(logging.WARNING)
        self._follower = follower

    def emit(self, record: logging.LogRecord) -> None:
        events = self._follower.events
        events.append(["errors", record.getMessage()])
        if self._follower.ends_after_errors and len(events) == 2:
            asyncio.get_running_loop().create_task(self._follower.stop_ws())


if __name__ == "__main__":
    url, secret, channels = sys.argv[1:]
    follower = Follower(url, secret, channels.split(","))
    logging.getLogger("alpaca").addHandler(Errors(follower))
    follower.run()
    write(follower.events)
