"""CORS: the pages of other origins that may read responses.

Litestar's CORS replaces the `Vary` of a response, which lets caches confuse its formats.
"""

from typing import Final

from litestar.types import ASGIApp, Receive, Scope, Send

from market_data.api.http.origins import AllowedOrigins
from market_data.middleware.asgi import Header, first_header, with_headers

EXPOSED: Final[Header] = (
    b"access-control-expose-headers",
    b"Accept-Encoding, Accept-Ranges, Content-Range, Data-Version, ETag, Link, RateLimit-Limit, RateLimit-Policy, "
    b"RateLimit-Remaining, RateLimit-Reset, Retry-After, WWW-Authenticate, X-Read-After, X-Request-ID, X-Write-Position",
)

PREFLIGHT: Final[list[Header]] = [
    (b"access-control-allow-methods", b"DELETE, GET, HEAD, PATCH, POST, PUT"),
    (
        b"access-control-allow-headers",
        b"Authorization, Content-Encoding, Content-Type, If-None-Match, If-Range, Last-Event-ID, MCP-Protocol-Version, "
        b"Mcp-Method, Mcp-Name, Range, X-API-Key, X-Read-After, X-Request-ID",
    ),
    (b"access-control-max-age", b"600"),
]
VARY: Final[Header] = (b"vary", b"Origin")


def is_preflight(scope: Scope) -> bool:
    """Return True if a browser asks whether a page of another origin may send a request."""
    headers = (b"origin", b"access-control-request-method")
    return scope["type"] == "http" and scope["method"] == "OPTIONS" and all(first_header(scope, name) for name in headers)


class CorsPolicy:
    """Add the CORS headers to each HTTP response, and answer preflight requests. For WebSockets see `WebSocketOrigin`."""

    def __init__(self, app: ASGIApp, origins: AllowedOrigins) -> None:
        self.app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        origin = first_header(scope, b"origin")
        send = with_headers(send, self._headers(origin))
        if is_preflight(scope) and origin in self._origins:
            await send({"type": "http.response.start", "status": 204, "headers": PREFLIGHT})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await self.app(scope, receive, send)

    def _headers(self, origin: bytes | None) -> list[Header]:
        if self._origins.any:
            return [(b"access-control-allow-origin", b"*"), EXPOSED]
        if origin is None or origin not in self._origins:
            return [VARY]
        return [VARY, (b"access-control-allow-origin", origin), EXPOSED]
