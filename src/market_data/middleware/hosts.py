"""Check of the `Host` header."""

import ipaddress
import re
from functools import lru_cache
from typing import Final

from litestar.types import ASGIApp, Receive, Scope, Send

from market_data.errors import BadParameters, ForeignHost
from market_data.middleware.asgi import reject
from market_data.models import ParameterProblem
from market_data.settings import Settings, is_loopback_name

HOST: Final = re.compile(r"([A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{0,5}))?")
"""Syntax of `Host` (RFC 9110)."""

PROBES: Final = frozenset({"/health/live", "/health/ready"})
"""Paths for all hosts: Kubernetes asks an address, which changes, and the responses have no data."""

MAX_SHOWN: Final = 100
"""Characters of a foreign host in the problem."""


class HostCheck:
    """Reject requests whose `Host` is missing, repeated or malformed (400), or not a name of the service (421).

    The names protect against DNS rebinding: a page of another site, whose name suddenly resolves to the address of the
    service, is of the same origin for a browser. A request of HTTP/1.0 needs no `Host`; browsers always send one.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self._allowed = settings.hosts
        self._check = lru_cache(1024)(self._find_error)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        error = None
        if len(hosts) == 1:
            error = self._check(hosts[0], scope["path"] in PROBES)
        elif hosts or scope["http_version"] != "1.0":
            error = _bad_host("must be given once")
        if error:
            await reject(scope, receive, send, error)
        else:
            await self.app(scope, receive, send)

    def _find_error(self, host: bytes, is_probe: bool) -> Exception | None:
        match = HOST.fullmatch(host.decode("latin-1"))
        if match is None or int(match[2] or 0) > 65535:
            return _bad_host("must be a host name or address, with or without a port")
        if is_probe or self._is_own(match[1].strip("[]").lower().removesuffix(".")):
            return None
        return ForeignHost(
            f"The service is not known as {match[1][:MAX_SHOWN]}; its operator can add the name to ALLOWED_HOSTS."
        )

    def _is_own(self, name: str) -> bool:
        allowed = self._allowed
        if not allowed.names and not allowed.networks:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return is_loopback_name(name) or any(
                each in ("*", name) or (each.startswith("*.") and name.endswith(each[1:])) for each in allowed.names
            )
        address = getattr(address, "ipv4_mapped", None) or address
        return address.is_loopback or "*" in allowed.names or any(address in network for network in allowed.networks)


def _bad_host(detail: str) -> BadParameters:
    return BadParameters([ParameterProblem("Host", detail)])
