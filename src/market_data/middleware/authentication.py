"""Authentication by API key."""

from collections.abc import Collection, Iterable, Sequence

from litestar.datastructures import State
from litestar.types import ASGIApp, Receive, Scope, Send

from market_data.api.http.dialects import dialect_of
from market_data.api.http.websocket_messages import BEARER
from market_data.auth.api_keys import parse_prefix
from market_data.errors import Unauthorized
from market_data.services import Services


class Authentication:
    """Store the API key of a request in its `state` as `key`, or the reason why it is invalid as `authentication_error`.

    `RequireValidKey` rejects the request later, so that the rate limit counts a failed authentication against the client's
    address. Keys are ignored on open paths, which need none.
    """

    def __init__(self, app: ASGIApp, state: State, open_paths: Collection[str], *, required: bool) -> None:
        self.app = app
        self._state = state
        self._open_paths = frozenset(open_paths)
        self._required = required

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] not in self._open_paths:
            state = scope["state"]
            state["key"] = None
            try:
                if secret := self._given_key(scope):
                    services: Services = self._state.services  # set by the lifespan, before any request
                    state["key"] = await services.api_keys.authenticate(secret)
            except Exception as error:  # also unexpected ones: `RequireValidKey` sends and logs them like any other
                state["authentication_error"] = error
        await self.app(scope, receive, send)

    def _given_key(self, scope: Scope) -> str | None:
        subprotocols = scope["subprotocols"] if scope["type"] == "websocket" else ()
        dialect = dialect_of(scope)
        if dialect is None:
            return given_key(scope["headers"], subprotocols)
        in_path = scope["state"].get("key_in_path")
        others = {*dialect.given_keys(scope, self._required), *([in_path] if in_path else [])}
        # Foreign clients insist on a key, so without AUTH=required any text will do that is none of this service.
        try:
            secret = given_key(scope["headers"], subprotocols, others)
        except Unauthorized:
            if self._required:
                raise
            return None
        return secret if self._required or (secret and parse_prefix(secret)) else None


def given_key(
    headers: Iterable[tuple[bytes, bytes]], subprotocols: Sequence[str] = (), others: Collection[str] = ()
) -> str | None:
    """Return the API key in `Authorization: Bearer` or `X-API-Key`, after the subprotocol `bearer`, or in `others`.

    Other schemes of `Authorization` are ignored: they are those of a proxy in front of the service.

    Raises:
        Unauthorized: An empty key, or two different keys.
    """
    found = set(others)
    for name, value in headers:
        if name == b"authorization":
            scheme, _, credentials = value.decode("latin-1").strip().partition(" ")
            if scheme.lower() == "bearer":
                found.add(credentials.strip())
        elif name == b"x-api-key":
            found.add(value.decode("latin-1").strip())
    if BEARER in subprotocols[:-1]:
        found.add(subprotocols[subprotocols.index(BEARER) + 1])
    if len(found) > 1:
        raise Unauthorized("The request has two different keys; send one, in Authorization or in X-API-Key.")
    if "" in found:
        raise Unauthorized("The key is empty.")
    return found.pop() if found else None
