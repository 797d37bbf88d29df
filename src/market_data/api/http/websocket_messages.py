"""Messages and close codes of WebSockets, beside the events of the streams."""

from http import HTTPStatus
from typing import Any, Final

import msgspec
from litestar.types import Send

from market_data.api.http.problems import POLICY_VIOLATION, status_of
from market_data.errors import MarketDataError

TRY_AGAIN_LATER: Final = 1013
"""Close code after which clients may reconnect (IANA's registry)."""

RETRYABLE: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
"""Statuses of errors after which the same request may succeed."""

BEARER: Final = "bearer"
"""Subprotocol of a page that sends its API key as the next one: `new WebSocket(url, ["bearer", key])`."""


def encode_reply(name: str, data: dict[str, Any]) -> bytes:
    """Return a message without an id, because it is outside the order of events."""
    return msgspec.json.encode({"event": name, "data": data})


async def close_with_error(send: Send, error: MarketDataError) -> None:
    """Send an error to a client whose WebSocket is open, and close it."""
    code = TRY_AGAIN_LATER if status_of(error) in RETRYABLE else POLICY_VIOLATION
    await send({"type": "websocket.send", "text": encode_reply("error", {"detail": str(error)}).decode(), "bytes": None})
    await send({"type": "websocket.close", "code": code, "reason": ""})
