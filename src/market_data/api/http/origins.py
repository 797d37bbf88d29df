"""Origins of browsers' requests."""

from typing import Final

from litestar.types import Scope

from market_data.settings import Settings

DEFAULT_PORTS: Final = {b"http": b":80", b"https": b":443"}


class AllowedOrigins:
    """The origins of CORS_ORIGINS, whose pages may read responses and open WebSockets."""

    def __init__(self, settings: Settings) -> None:
        self.any = settings.cors_origins == "*"
        self._origins = frozenset(origin.encode() for origin in settings.origins)

    def __bool__(self) -> bool:
        return bool(self._origins)

    def __contains__(self, origin: bytes | None) -> bool:
        return origin is not None and (self.any or origin in self._origins)

    def allow(self, scope: Scope) -> bool:
        """Return True unless a request comes from a page of an origin that is neither listed nor the service's own.

        Clients other than browsers send no `Origin`.
        """
        fields = dict(scope["headers"])
        origin = fields.get(b"origin")
        return origin is None or origin in self or _is_own(origin, fields.get(b"host", b""))


def _is_own(origin: bytes, host: bytes) -> bool:
    """Return True if a page comes from this host: browsers leave the default port out of `Origin`, some clients add it."""
    scheme, _, page_host = origin.lower().partition(b"://")
    default_port = DEFAULT_PORTS.get(scheme, b"")
    return page_host != b"" and page_host.removesuffix(default_port) == host.lower().removesuffix(default_port)
