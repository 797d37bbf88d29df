"""Names in paths that may contain slashes: symbols and calendars."""

from collections.abc import Mapping
from typing import Final

from litestar.types import ASGIApp, Receive, Scope, Send

COLLECTIONS: Final[Mapping[str, frozenset[str]]] = {
    "/symbols/": frozenset({"actions", "rename"}),
    "/calendars/": frozenset({"sessions"}),
}
"""Beginnings of paths before such a name, with the segments that may follow it."""


class PathNames:
    """Escape the slashes within a name, so that the router finds it in one segment of the path.

    A name may have been sent with slashes that are escaped or not. A last segment follows the name only if the slash before
    it was sent unescaped: `/symbols/X%2Factions` is a symbol. `unescape` of `parameter_types` returns the name.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        beginning = path[: path.find("/", 1) + 1]
        if beginning in COLLECTIONS and path.count("/") > 2:
            sent = scope["raw_path"].decode("latin-1").rstrip("/").rpartition("/")
            name = [segment for segment in path[len(beginning) :].split("/") if segment]
            follows = [name.pop()] if len(name) > 1 and name[-1] == sent[2] and sent[2] in COLLECTIONS[beginning] else []
            scope["path"] = beginning + "/".join(["%2F".join(name), *follows])
        await self.app(scope, receive, send)
