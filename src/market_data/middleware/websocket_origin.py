"""Protection against cross-site WebSocket hijacking: browsers let each page open a WebSocket to any server."""

from http import HTTPStatus

from litestar.exceptions import HTTPException
from litestar.types import ASGIApp, Receive, Scope, Send

from market_data.api.http.origins import AllowedOrigins
from market_data.middleware.asgi import reject


class WebSocketOrigin:
    """Reject (403) WebSockets from pages of other origins, unless CORS_ORIGINS allows the origin.

    Clients other than browsers send no `Origin`, and pass.
    """

    def __init__(self, app: ASGIApp, origins: AllowedOrigins) -> None:
        self.app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and not self._origins.allow(scope):
            detail = (
                "Pages of this origin may not open a WebSocket here; CORS_ORIGINS lists others that may. For pages of the "
                "service itself, a proxy in front must pass `Host` unchanged, with its port."
            )
            await reject(scope, receive, send, HTTPException(detail, status_code=HTTPStatus.FORBIDDEN))
        else:
            await self.app(scope, receive, send)
