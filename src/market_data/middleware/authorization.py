"""Authorization: the scope that each handler requires.

A handler sets it in its `opt`: `{"scope": "write"}` or "admin" always requires a key with that scope, None never requires a
key. Without the option a handler requires the scope "read" if `AUTH=required`, so that no path can be forgotten. A WebSocket
handler with the option `authenticates` is called without a key too, and requires one from the client's first message.
"""

from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute
from litestar.types import ASGIApp, Receive, Scope, Send

from market_data.api.http import problems
from market_data.api.http.websocket_messages import BEARER, close_with_error
from market_data.auth.api_keys import require_scope
from market_data.errors import MarketDataError
from market_data.middleware.asgi import reject


class RequireValidKey:
    """Reject requests whose key is wrong, on unknown paths too, with the error of `Authentication`.

    A page that gave its key as a subprotocol can't see the status of a handshake, so it gets the error as a message.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        error: Exception | None = scope["state"].get("authentication_error")
        if error is None:
            await self.app(scope, receive, send)
        elif isinstance(error, MarketDataError) and scope["type"] == "websocket" and BEARER in scope["subprotocols"]:
            await receive()
            await send({"type": "websocket.accept", "subprotocol": BEARER, "headers": []})
            await close_with_error(send, error)
        else:
            await reject(scope, receive, send, error)


class RequireScope:
    """Reject requests without a key (401) or whose key lacks the scope of the handler (403).

    Litestar runs it in front of each handler, because the scope is known only after routing. A guard of Litestar would copy
    the handler at each request (10 µs), and can't reject a WebSocket with a status and a reason.
    """

    def __init__(self, app: ASGIApp, *, required: bool) -> None:
        self.app = app
        self._default = "read" if required else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        options = scope["route_handler"].opt
        needed: str | None = options.get("scope", self._default)
        key = scope["state"].get("key")
        if needed and not (key is None and options.get("authenticates")):
            try:
                require_scope(key, needed)
            except MarketDataError as error:
                if scope["type"] == "http":
                    raise
                await problems.send_problem(scope, send, error)
                return
        await self.app(scope, receive, send)


def open_paths(app: Litestar) -> frozenset[str]:
    """Return the paths that never need a key."""
    routes = [route for route in app.routes if isinstance(route, HTTPRoute)]
    return frozenset(route.path for route in routes if all(_is_open(handler) for handler in route.route_handlers))


def _is_open(handler: HTTPRouteHandler) -> bool:
    # Litestar adds the handlers of OPTIONS itself.
    return handler.opt.get("scope", "") is None or handler.http_methods == {"OPTIONS"}
