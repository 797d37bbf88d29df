"""Clients of `/ws` for tests."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

Message = dict[str, Any]


@contextmanager
def open_websocket(address: str, **parameters: str) -> Iterator[ClientConnection]:
    """Connect a client to a service, and skip its first heartbeat."""
    url = httpx.URL(f"{address.replace('http', 'ws')}/ws", params=parameters)
    with connect(str(url)) as client:
        assert json.loads(client.recv(timeout=20))["event"] == "heartbeat"
        yield client


def receive(client: ClientConnection) -> Message:
    """Return the next message, without heartbeats."""
    while (message := json.loads(client.recv(timeout=20)))["event"] == "heartbeat":
        pass
    return message


def command(client: ClientConnection, action: str, **fields: list[str] | str) -> Message:
    """Send a command and return its response, without the events before it."""
    client.send(json.dumps({"action": action, **fields}))
    while (answer := receive(client))["event"] not in ("subscribed", "error"):
        pass
    return answer["data"]
