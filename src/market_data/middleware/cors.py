"""The pages of other sites: which of them may read answers (CORS), and which may open a WebSocket.

Not the framework's CORS, which takes the place of an answer's `Vary`, and so lets a cache confuse the forms of one answer.
"""

from collections.abc import Mapping
from typing import Final

from market_data.settings import Settings

Headers = list[tuple[bytes, bytes]]

READABLE: Final = (
    "ETag, Link, RateLimit-Limit, RateLimit-Policy, RateLimit-Remaining, RateLimit-Reset, Retry-After, WWW-Authenticate, "
    "X-Request-ID"
)
"""Headers of an answer that a page may read, besides those that it always may."""

PREFLIGHT: Final[Headers] = [
    (b"access-control-allow-methods", b"DELETE, GET, HEAD, PATCH, POST, PUT"),
    (b"access-control-allow-headers", b"Authorization, Content-Type, If-None-Match, Last-Event-ID, X-API-Key, X-Request-ID"),
    (b"access-control-max-age", b"600"),
]


class CorsPolicy:
    """The origins in CORS_ORIGINS."""

    def __init__(self, settings: Settings) -> None:
        self._all = settings.cors_origins == "*"
        self._some = frozenset(origin.encode() for origin in settings.origins)

    def __bool__(self) -> bool:
        return self._all or bool(self._some)

    def headers(self, origin: bytes | None) -> Headers:
        """What an answer says about who may read it."""
        if not self:
            return []
        if self._all:
            return [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", READABLE.encode())]
        varies = (b"vary", b"Origin")
        if origin not in self._some:
            return [varies]
        return [
            varies,
            (b"access-control-allow-origin", origin or b""),
            (b"access-control-expose-headers", READABLE.encode()),
        ]

    def allows(self, origin: bytes) -> bool:
        """Whether the pages of an origin may read answers."""
        return self._all or origin in self._some

    def allows_socket(self, given: Mapping[bytes, bytes]) -> bool:
        """Whether a WebSocket may be opened: browsers let every page do it, and leave it to the server to refuse.

        What comes from no page (it has no `Origin`) or from a page of this service may, and what CORS_ORIGINS lets read.
        """
        origin = given.get(b"origin")
        if origin is None or self.allows(origin):
            return True
        return origin.partition(b"://")[2].lower() == given.get(b"host", b"").lower()
