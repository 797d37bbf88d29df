"""Follows a stream with `massive.WebSocketClient`, and prints its messages as JSON.

Arguments: feed, key, subscriptions between commas, number of messages after which it ends, path of a file that is written
when the client is subscribed, seconds after which it ends in any case. Log lines of the client go to `log`.
"""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import asyncio
import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path

from massive import WebSocketClient
from massive.exceptions import AuthError

feed, key, topics, count, ready, seconds = sys.argv[1:]
messages = []
lines = []


class Lines(logging.Handler):
    def emit(self, record):
        line = record.getMessage()
        lines.append([record.levelname, line])
        if line.startswith("status: subscribed"):
            with Path(ready).open("a") as file:
                file.write("subscribed\n")


logger = logging.getLogger("WebSocketClient")
logger.handlers = [Lines()]
client = WebSocketClient(key, feed=feed, secure=False, subscriptions=topics.split(","), verbose=True)


async def process(received):
    messages.extend({name: each for name, each in asdict(message).items() if each is not None} for message in received)
    if len(messages) >= int(count):
        await client.close()


async def follow():
    async with asyncio.timeout(float(seconds)):
        await client.connect(process)


try:
    asyncio.run(follow())
except TimeoutError:
    pass
except AuthError as error:
    messages.append({"AuthError": str(error)})
sys.stdout.write(json.dumps({"messages": messages, "log": [line for level, line in lines if level == "WARNING"]}))
