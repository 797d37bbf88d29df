"""ASGI helpers that the middlewares share."""

from collections.abc import Awaitable
from typing import Any, Final

from litestar.types import Receive, Scope, Send

from market_data.api.http import problems

Header = tuple[bytes, bytes]

RESPONSE_STARTS: Final = frozenset({"http.response.start", "websocket.http.response.start"})
"""Types of the messages that carry the headers of an HTTP response; the second one refuses a WebSocket."""

HEADER_MESSAGES: Final = RESPONSE_STARTS | {"websocket.accept"}


def first_header(scope: Scope, name: bytes) -> bytes | None:
    """Return the first header of a request with this name (in lower case)."""
    for key, value in scope["headers"]:
        if key == name:
            return value
    return None


def with_headers(send: Send, headers: list[Header]) -> Send:
    """Return a `send` that adds headers to the response."""

    def send_with_headers(message: Any) -> Awaitable[None]:
        if message["type"] in HEADER_MESSAGES:
            message["headers"] = [*message["headers"], *headers]
        return send(message)

    return send_with_headers


async def reject(scope: Scope, receive: Receive, send: Send, error: Exception) -> None:
    """Send a problem response instead of running the application."""
    if scope["type"] == "websocket":
        await receive()  # the `websocket.connect`, which precedes any response
    await problems.send_problem(scope, send, error)
