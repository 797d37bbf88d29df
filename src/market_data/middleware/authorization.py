"""Who may do what: the keys of requests, held against what the handlers ask for.

A handler says in its `opt` which scope it needs: `{"scope": "write"}` or "admin" needs such a key always, `None` needs none
and looks at none. One that says nothing reads: a key is needed where `AUTH=required`, so that no path can be forgotten.

A middleware, not a guard of the framework's: for a guard it copies the handler at each request (10 µs), and can't refuse a
WebSocket with a status and a reason.
"""

from typing import Final

from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute
from litestar.types import ASGIApp, Receive, Scope, Send

from market_data.api.http import problems
from market_data.auth.api_keys import ApiKey
from market_data.errors import Forbidden, MarketDataError, Unauthorized

NEEDED: Final = (
    "This needs a key with the scope {scope}, in `Authorization: Bearer …` or `X-API-Key: …`; "
    "`market-data keys create NAME --scope {scope}` makes one."
)
TOO_LITTLE: Final = (
    "The key {name} lacks the scope {scope}, which this needs; `market-data keys create NAME --scope {scope}` makes one "
    "that has it."
)


class RequireScope:
    """What stands before each handler."""

    def __init__(self, app: ASGIApp, *, required: bool) -> None:
        self._app = app
        self._reading = "read" if required else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through to its handler, or refuse it."""
        needed: str | None = scope["route_handler"].opt.get("scope", self._reading)
        if needed is not None:
            try:
                _check(scope["state"].get("key"), needed)  # the gate has looked for it
            except MarketDataError as error:
                if scope["type"] == "http":
                    raise
                await problems.refuse(scope, send, error)
                return
        await self._app(scope, receive, send)


def open_paths(app: Litestar) -> frozenset[str]:
    """The paths that need no key, ever."""
    routes = [route for route in app.routes if isinstance(route, HTTPRoute)]
    return frozenset(route.path for route in routes if all(_is_open(handler) for handler in route.route_handlers))


def _is_open(handler: HTTPRouteHandler) -> bool:
    # The framework adds those of OPTIONS itself.
    return handler.opt.get("scope", "") is None or handler.http_methods == {"OPTIONS"}


def _check(key: ApiKey | None, needed: str) -> None:
    if not needed:
        return
    if key is None:
        raise Unauthorized(NEEDED.format(scope=needed))
    if needed not in key.scopes:
        raise Forbidden(TOO_LITTLE.format(name=key.name, scope=needed))
