"""Security headers of every response, including those of rejected requests."""

from collections.abc import Awaitable
from typing import Any, Final

from litestar.types import ASGIApp, Receive, Scope, Send

from market_data.middleware.asgi import RESPONSE_STARTS, Header

CONTENT_SECURITY_POLICY: Final = b"content-security-policy"
FORBID_CONTENT: Final = (CONTENT_SECURITY_POLICY, b"default-src 'none'; frame-ancestors 'none'")
"""Policy of responses without one of their own. The pages have their own."""


class SecurityHeaders:
    """Add headers that forbid browsers to sniff, frame, embed or run a response."""

    def __init__(self, app: ASGIApp, *, cross_origin: bool) -> None:
        self.app = app
        self._headers: list[Header] = [
            (b"x-content-type-options", b"nosniff"),
            (b"x-frame-options", b"DENY"),
            (b"referrer-policy", b"no-referrer"),
            (b"cross-origin-opener-policy", b"same-origin"),
            (b"cross-origin-resource-policy", b"cross-origin" if cross_origin else b"same-origin"),
        ]
        self._headers_and_policy = [*self._headers, FORBID_CONTENT]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        def secured_send(message: Any) -> Awaitable[None]:
            if message["type"] in RESPONSE_STARTS:
                headers: list[Header] = message["headers"]
                has_policy = CONTENT_SECURITY_POLICY in dict(headers)
                message["headers"] = [*headers, *(self._headers if has_policy else self._headers_and_policy)]
            return send(message)

        await self.app(scope, receive, secured_send)
