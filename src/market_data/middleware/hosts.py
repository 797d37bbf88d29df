"""Check of the `Host` header."""

import re
from functools import lru_cache
from typing import Final

from litestar.types import ASGIApp, Receive, Scope, Send

from market_data.errors import BadParameters
from market_data.middleware.asgi import first_header, reject
from market_data.models import ParameterProblem

HOST: Final = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]+\])(?::([0-9]{0,5}))?")
"""Syntax of `Host` (RFC 9110)."""


class ValidHost:
    """Reject (400) requests whose `Host` is malformed: Litestar builds a URL from it, and would fail with 500."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if is_valid(first_header(scope, b"host") or b""):
            await self.app(scope, receive, send)
        else:
            problem = ParameterProblem("Host", "must be a host name or address, with or without a port")
            await reject(scope, receive, send, BadParameters([problem]))


@lru_cache(256)
def is_valid(host: bytes) -> bool:
    """Return True if this is a host with or without a port."""
    match = HOST.fullmatch(host)
    return match is not None and int(match[1] or 0) <= 65535
