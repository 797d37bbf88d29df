"""Protection against cross-site WebSocket hijacking: browsers let each page open a WebSocket to any server."""

from http import HTTPStatus
from typing import Final

from litestar.exceptions import HTTPException
from litestar.types import ASGIApp, Receive, Scope, Send

from market_data.middleware.asgi import first_header, reject
from market_data.middleware.cors import AllowedOrigins

DEFAULT_PORTS: Final = {b"http": b":80", b"https": b":443"}


class WebSocketOrigin:
    """Reject (403) WebSockets from pages of other origins, unless CORS_ORIGINS allows the origin.

    Clients other than browsers send no `Origin`, and pass.
    """

    def __init__(self, app: ASGIApp, origins: AllowedOrigins) -> None:
        self.app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and not self._allows(scope):
            detail = (
                "Pages of this origin may not open a WebSocket here; CORS_ORIGINS lists others that may. For pages of the "
                "service itself, a proxy in front must pass `Host` unchanged, with its port."
            )
            await reject(scope, receive, send, HTTPException(detail, status_code=HTTPStatus.FORBIDDEN))
        else:
            await self.app(scope, receive, send)

    def _allows(self, scope: Scope) -> bool:
        origin = first_header(scope, b"origin")
        return origin is None or origin in self._origins or _is_own(origin, first_header(scope, b"host") or b"")


def _is_own(origin: bytes, host: bytes) -> bool:
    """Return True if a page comes from this host: browsers leave the default port out of `Origin`, some clients add it."""
    scheme, _, page_host = origin.lower().partition(b"://")
    default_port = DEFAULT_PORTS.get(scheme, b"")
    return page_host != b"" and page_host.removesuffix(default_port) == host.lower().removesuffix(default_port)
