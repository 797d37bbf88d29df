"""Names in paths that may contain slashes: symbols and calendars."""

from collections.abc import Mapping
from typing import Final

from litestar.types import ASGIApp, Receive, Scope, Send

COLLECTIONS: Final[Mapping[str, frozenset[str]]] = {
    "/symbols/": frozenset({"actions", "actions/correct", "actions/cancel", "actions/changes", "rename"}),
    "/calendars/": frozenset({"sessions"}),
}
"""Beginnings of paths before such a name, with the one or two segments that may follow it."""


class PathNames:
    """Escape the slashes within a name, so that the router finds it in one segment of the path.

    A name may have been sent with slashes that are escaped or not. Last segments follow the name only if the slashes before
    them were sent unescaped: `/symbols/X%2Factions` is a symbol. `unescape` of `parameter_types` returns the name.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        beginning = path[: path.find("/", 1) + 1]
        if beginning in COLLECTIONS and path.count("/") > 2:
            sent = scope["raw_path"].partition(b"?")[0].decode("latin-1").rstrip("/")  # a query is in that of a test client
            name = [segment for segment in path[len(beginning) :].split("/") if segment]
            follows: list[str] = []
            for count in (1, 2):
                last = "/".join(name[-count:])
                if len(name) > count and last in COLLECTIONS[beginning] and sent.endswith(f"/{last}"):
                    follows = name[-count:]
            name = name[: len(name) - len(follows)]
            scope["path"] = beginning + "/".join(["%2F".join(name), *follows])
        await self.app(scope, receive, send)
