"""Stop of the server while clients do not read: uvicorn waits for them, then logs their responses as errors."""

from typing import Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

REQUESTS_STOP_SECONDS: Final = 4
"""Time at shutdown for requests in flight. With the feed (1 s), uses of keys, pools and traces (0.5 s each) and the embedded
engine (2.5 s), a stop takes less than 10 s."""

UNREAD_STOP_SECONDS: Final = 3.5
"""Time at shutdown for clients to read responses and messages."""


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Uvicorn's WebSocket protocol, which ends even if the client does not read."""

    def shutdown(self) -> None:
        """Close the connection, and abort it if the client still has not read everything after a while."""
        super().shutdown()
        self.loop.call_later(UNREAD_STOP_SECONDS, self.transport.abort)
