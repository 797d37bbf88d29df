"""Protection against cross-site WebSocket hijacking: browsers let each page open a WebSocket to any server."""

from http import HTTPStatus

from litestar.exceptions import HTTPException
from litestar.types import ASGIApp, Receive, Scope, Send

from market_data.middleware.asgi import first_header, reject
from market_data.settings import Settings


class WebSocketOrigin:
    """Reject (403) WebSockets from pages of other origins, unless CORS_ORIGINS allows the origin.

    Clients other than browsers send no `Origin`, and pass.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self._any = settings.cors_origins == "*"
        self._origins = frozenset(origin.encode() for origin in settings.origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and not self._allows(scope):
            error = HTTPException("Pages of this origin may not open a WebSocket here.", status_code=HTTPStatus.FORBIDDEN)
            await reject(scope, receive, send, error)
        else:
            await self.app(scope, receive, send)

    def _allows(self, scope: Scope) -> bool:
        origin = first_header(scope, b"origin")
        if origin is None or self._any or origin in self._origins:
            return True
        return origin.partition(b"://")[2].lower() == (first_header(scope, b"host") or b"").lower()
