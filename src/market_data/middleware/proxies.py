"""Proxies in front of the service: the address, scheme and path prefix of a request as its client sees them.

Uvicorn's own middleware does not recognize `::ffff:127.0.0.1`, the form in which a dual-stack socket shows 127.0.0.1, and
knows no prefix.
"""

import ipaddress
import re
from functools import lru_cache
from typing import Final

from litestar.types import ASGIApp, Receive, Scope, Send

from market_data.middleware.asgi import first_header
from market_data.settings import Settings
from market_data.url_settings import PATH_PREFIX

SECURE: Final = {b"http": False, b"ws": False, b"https": True, b"wss": True}
"""Values of `X-Forwarded-Proto`; True for TLS."""

MAX_ADDRESS_LENGTH: Final = 64
"""Characters of an entry of `X-Forwarded-For` that are read: clients can send any text, which is cached and logged."""

WITH_PORT: Final = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]+)?|([0-9.]+):[0-9]+")
"""Entry of `X-Forwarded-For` with a port, or with brackets."""


class Proxies:
    """Set `client` and `scheme` from the headers of trusted proxies, and move the path prefix to `state["root_path"]`.

    IPv4 addresses in their IPv6-mapped form become IPv4 addresses. The path loses its prefix, if the proxy has not removed
    it already; without a prefix it is left as it is, so the service can also be reached directly.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self._root_path = settings.root_path
        self._networks = settings.proxies
        self._trusts = lru_cache(1024)(self._find_network)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        root_path = self._root_path
        if client := scope["client"]:
            address = normalize_address(client[0])
            if self._networks and self._trusts(address):
                address = self._forwarded_address(scope) or address
                root_path = _forwarded_prefix(scope) or root_path
                _set_scheme(scope)
            scope["client"] = (address, client[1])
        scope["state"]["root_path"] = root_path
        if root_path:
            _strip(scope, root_path)
        await self.app(scope, receive, send)

    def _forwarded_address(self, scope: Scope) -> str:
        """Return the last address that is not a trusted proxy, or the first if all are; empty if there is none."""
        entries = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for").decode("latin-1")
        address = ""
        for entry in reversed(entries.split(",")):
            address = normalize_address(entry.strip()[:MAX_ADDRESS_LENGTH])
            if not self._trusts(address):
                break
        return address

    def _find_network(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)


@lru_cache(1024)
def normalize_address(text: str) -> str:
    """Return an address without port and brackets, and as IPv4 if it is IPv6-mapped. Other text is returned unchanged."""
    if match := WITH_PORT.fullmatch(text):
        text = match[1] or match[2]
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return text
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


def _forwarded_prefix(scope: Scope) -> str:
    """Return a valid `X-Forwarded-Prefix`, otherwise an empty string: it becomes part of links."""
    text = (first_header(scope, b"x-forwarded-prefix") or b"").decode("latin-1").rstrip("/")
    return text if PATH_PREFIX.fullmatch(text) else ""


def _set_scheme(scope: Scope) -> None:
    secure = SECURE.get((first_header(scope, b"x-forwarded-proto") or b"").strip().lower())
    if secure is None:
        return
    if scope["type"] == "http":
        scope["scheme"] = "https" if secure else "http"
    else:
        scope["scheme"] = "wss" if secure else "ws"


def _strip(scope: Scope, root_path: str) -> None:
    """Remove the prefix from the path, if it begins with it."""
    if f"{scope['path']}/".startswith(f"{root_path}/"):
        scope["path"] = scope["path"][len(root_path) :] or "/"
        scope["raw_path"] = scope["raw_path"].removeprefix(root_path.encode()) or b"/"
