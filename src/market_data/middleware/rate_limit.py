"""Rate limit per API key or address, by the generic cell rate algorithm (GCRA).

One number is kept per client: the time at which its whole limit is available again. A request moves that time ahead by one
share of the period, and is rejected if the time would then be more than the period ahead. So a client may use its limit in
one burst, and regains it evenly.
"""

import ipaddress
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, NamedTuple

from litestar.types import ASGIApp, Receive, Scope, Send

from market_data.auth.api_keys import ApiKey
from market_data.errors import TooManyRequests
from market_data.middleware.asgi import reject, with_headers
from market_data.middleware.cors import is_preflight
from market_data.middleware.shared_buckets import SharedBuckets, open_buckets
from market_data.settings import Settings

UNLIMITED: Final = frozenset({"/health", "/health/live", "/health/ready"})
"""Paths of health checks."""

PAGES: Final = frozenset({"/dashboard", "/docs", "/redoc"})
FILES: Final = "/assets/"
"""Prefix of the files of pages. A rejected one would leave a page that can't start, and each costs less than a rejection."""

SECOND: Final = 1_000_000_000
"""In nanoseconds: an integer, so that a thousand small steps are exactly one large one."""


class RateLimitStatus(NamedTuple):
    """Limit of a client after a request, in seconds."""

    granted: bool
    remaining: int
    """Requests."""
    reset: int
    """Until the whole limit is available again."""
    retry: int
    """Until the next request is granted, 0 if it is already."""


class RateLimiter:
    """Grant each client `limit` requests in `seconds`."""

    def __init__(
        self, limit: int, seconds: float, buckets: SharedBuckets, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self.limit = limit
        self.seconds = seconds
        self._buckets = buckets
        self._clock = clock
        self._step = int(seconds * SECOND) // limit
        self._period = self._step * limit
        self._hash_of = lru_cache(8192, typed=True)(self._compute_hash)  # most requests are those of a few clients

    def count(self, client: int | str) -> RateLimitStatus:
        """Count a request of a client: the id of its key, or its address."""
        granted, ahead = self._buckets.advance(self._hash_of(client), self._step, self._period, self._clock())
        wait = max(0, ahead + self._step - self._period)
        return RateLimitStatus(granted, (self._period - ahead) // self._step, -(-ahead // SECOND), -(-wait // SECOND))

    def _compute_hash(self, client: int | str) -> int:
        return self._buckets.hash_key(f"key {client}" if isinstance(client, int) else f"address {network(client)}")


class RateLimit:
    """Count each request against its key, or against its address if it has no valid key. Reject it (429) above the limit.

    Each response says how much of the limit is left. Pages, their files and preflights are free: a page can't see
    that a preflight was rejected. Each message of a WebSocket client counts as a request; above the limit, receiving one
    raises TooManyRequests.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self._limiter = RateLimiter(settings.rate_limit, settings.rate_limit_seconds, open_buckets())
        self._limit = str(settings.rate_limit).encode()
        self._policy = f"{settings.rate_limit};w={settings.rate_limit_seconds:g}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key: ApiKey | None = scope["state"].get("key")
        # A request with a key is none of a page or preflight, and would be a way to guess keys without a limit.
        has_key = key or scope["state"].get("authentication_error")
        path = scope["path"]
        is_free = path in PAGES or path.startswith(FILES) or is_preflight(scope)
        if path in UNLIMITED or (is_free and not has_key):
            await self.app(scope, receive, send)
            return
        status = self._count(scope)
        send = with_headers(
            send,
            [
                (b"ratelimit-limit", self._limit),
                (b"ratelimit-remaining", str(status.remaining).encode()),
                (b"ratelimit-reset", str(status.reset).encode()),
                (b"ratelimit-policy", self._policy),
            ],
        )
        if not status.granted:
            await reject(scope, receive, send, self._error(status))
        elif scope["type"] == "websocket":
            await self.app(scope, self._counting(scope, receive), send)
        else:
            await self.app(scope, receive, send)

    def _count(self, scope: Scope) -> RateLimitStatus:
        key: ApiKey | None = scope["state"].get("key")
        client = scope["client"]
        return self._limiter.count(key.id if key else client[0] if client else "")

    def _counting(self, scope: Scope, receive: Receive) -> Receive:
        async def receive_counted() -> Any:
            message = await receive()
            if message["type"] == "websocket.receive":
                status = self._count(scope)
                if not status.granted:
                    raise self._error(status)
            return message

        return receive_counted

    def _error(self, status: RateLimitStatus) -> TooManyRequests:
        detail = f"The rate limit of {self._limiter.limit:,} requests in {self._limiter.seconds:g} s is used up."
        return TooManyRequests(detail, status.retry)


def network(address: str) -> str:
    """Return the network that an address counts as: for IPv6 its /64, the smallest that a provider assigns."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))
