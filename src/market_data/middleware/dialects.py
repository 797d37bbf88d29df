"""Requests of foreign protocols, recognized by the first segment of their paths."""

import re
from collections.abc import Iterable
from typing import Final

from litestar.types import ASGIApp, Receive, Scope, Send

from market_data.api.http.dialects import Dialect

KEY_SEGMENT: Final = re.compile(r"/(md_[^/]*)(?=/|$)")
SLASHES: Final = re.compile(r"/{2,}")


class DialectPaths:
    """Store the dialect of a request in its `state`, and move an API key from its path to `key_in_path` there.

    Outside of everything that logs paths. Repeated slashes become one: clients append paths to a base that ends with one.
    """

    def __init__(self, app: ASGIApp, dialects: Iterable[Dialect]) -> None:
        self.app = app
        self._dialects = {prefix: dialect for dialect in dialects for prefix in dialect.prefixes}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        end = path.find("/", 1)
        prefix = path if end < 0 else path[:end]
        if dialect := self._dialects.get(prefix):
            scope["state"]["dialect"] = dialect
            rest = SLASHES.sub("/", path[len(prefix) :])
            if dialect.has_key_in_path and (match := KEY_SEGMENT.match(rest)):
                scope["state"]["key_in_path"] = match[1]
                rest = rest[match.end() :]
            if prefix + rest != path:
                scope["path"] = prefix + rest
                scope["raw_path"] = scope["path"].encode()
        await self.app(scope, receive, send)
