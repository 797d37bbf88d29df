"""The clients that are connected to one worker: of the live stream and of replays."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

from market_data.auth.api_keys import ApiKeyCache
from market_data.streaming.clients import Client
from market_data.streaming.disconnections import STOPPING, disconnect_ended_keys
from market_data.telemetry.metrics import STREAM_CLIENTS

KEY_CHECK_SECONDS = 0.3
"""Seconds between two checks of the clients' keys; their cache may be half a second old."""


class ConnectedClients:
    """Ends the streams of clients when the service stops or their keys end."""

    def __init__(self) -> None:
        self._clients: dict[Client, None] = {}
        self._stopping = False

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def stopping(self) -> bool:
        """True if the service stops, so that streams end as soon as they begin."""
        return self._stopping

    @contextmanager
    def connected(self, client: Client) -> Generator[None]:
        """Count a client as connected in the block, and close it at the end."""
        self._clients[client] = None
        STREAM_CLIENTS.labels(client.transport).inc()
        try:
            if self._stopping:
                client.end(STOPPING)
            yield
        finally:
            client.close()
            del self._clients[client]
            STREAM_CLIENTS.labels(client.transport).dec()

    def end(self, reason: str) -> None:
        """End all streams."""
        for client in self._clients:
            client.end(reason)

    def stop(self) -> None:
        """End all streams, also of clients that connect later, because a stopping service waits for its requests."""
        self._stopping = True
        self.end(STOPPING)

    async def disconnect_revoked_keys(self, keys: ApiKeyCache) -> None:
        """Disconnect clients whose keys are revoked or expire, until the service stops."""
        while not self._stopping:
            await asyncio.sleep(KEY_CHECK_SECONDS)
            await disconnect_ended_keys(self._clients, keys)
