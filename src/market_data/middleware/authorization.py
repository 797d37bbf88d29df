"""Authorization: the scope that each handler requires.

A handler sets it in its `opt`: `{"scope": "write"}` or "admin" always requires a key with that scope, None never requires a
key. Without the option a handler requires the scope "read" if `AUTH=required`, so that no path can be forgotten.
"""

from typing import Final

from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute
from litestar.types import ASGIApp, Receive, Scope, Send

from market_data.api.http import problems
from market_data.auth.api_keys import ApiKey
from market_data.errors import Forbidden, MarketDataError, Unauthorized
from market_data.middleware.asgi import reject

KEY_NEEDED: Final = (
    "This needs a key with the scope {scope}, in `Authorization: Bearer …` or `X-API-Key: …`; "
    "`market-data keys create NAME --scope {scope}` creates one."
)
SCOPE_MISSING: Final = (
    "The key {name} lacks the scope {scope}; `market-data keys create NAME --scope {scope}` creates a key with this scope."
)


class RequireValidKey:
    """Reject requests whose key is wrong, on unknown paths too, with the error of `Authentication`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        error: Exception | None = scope["state"].get("authentication_error")
        if error is None:
            await self.app(scope, receive, send)
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
        needed: str | None = scope["route_handler"].opt.get("scope", self._default)
        if needed:
            try:
                _check(scope["state"].get("key"), needed)
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


def _check(key: ApiKey | None, needed: str) -> None:
    if key is None:
        raise Unauthorized(KEY_NEEDED.format(scope=needed))
    if needed not in key.scopes:
        raise Forbidden(SCOPE_MISSING.format(name=key.name, scope=needed))
