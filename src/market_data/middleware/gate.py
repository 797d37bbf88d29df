"""What every request passes before the framework sees it: how many there are, sizes, keys, rate limits, origins, a time-out.

It is wrapped around the whole application, for the framework's own middleware does not see what its router refuses (404,
405), and gives each answer the headers that tell browsers what not to do with it.
"""

import asyncio
import logging
import re
from collections.abc import Collection, Mapping
from http import HTTPStatus
from itertools import chain
from typing import Any, Final, cast

from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Send, WebSocketScope

from market_data.api.http import problems
from market_data.auth.api_keys import WRONG_KEY, ApiKey, given_key
from market_data.errors import BadParameters, Overloaded, TooManyRequests, Unauthorized
from market_data.middleware import rate_limit
from market_data.middleware.cors import PREFLIGHT, CorsPolicy
from market_data.middleware.load_shedding import LoadShedder
from market_data.middleware.rate_limit import RateLimitStatus
from market_data.middleware.timeout import NO_PAGE, Deadlines, Header, Passage, first_headers
from market_data.models import ParameterProblem
from market_data.services import Services
from market_data.settings import Settings
from market_data.telemetry.logging import ThrottledWarning

logger = logging.getLogger(__name__)

MOST_ADDRESS_BYTES: Final = 65_000
"""Of a path or a query. The server itself gives up at 65,536 of both."""
MOST_HEADERS: Final = 100
MOST_HEADER_BYTES: Final = 32_768

HOST: Final = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]+\])(?::([0-9]{0,5}))?")
"""What `Host` may be (RFC 9110). The framework makes a URL of it, and fails at what can't be one."""

PROBES: Final = frozenset({"/health", "/health/live", "/health/ready"})
"""What machines that watch over the service ask: not limited."""

NEVER_TOO_MANY: Final = PROBES | {"/metrics", "/stream"}
"""Answered however many requests there are: who watches is to see that, and an EventSource once refused stays away."""

OVERLOADED: Final = "There are more requests than can be answered soon; try again in a moment."


class Gate:
    """An application, guarded. On its open paths keys are not looked at; elsewhere the state has a ring of them by then."""

    def __init__(self, app: ASGIApp, settings: Settings, state: State, open_paths: Collection[str]) -> None:
        self._app = app
        self._state = state
        self._open_paths = frozenset(open_paths)
        self._crowd = LoadShedder()
        self._refusals = ThrottledWarning(logger)
        self._deadlines = Deadlines(settings.request_timeout_seconds)
        self._limiter = rate_limit.limiter(settings.rate_limit, settings.rate_limit_seconds)
        self._policy = f"{settings.rate_limit};w={settings.rate_limit_seconds:g}".encode()
        self._origins = CorsPolicy(settings)
        self._shares = bool(self._origins)
        self._headers = [
            (b"x-content-type-options", b"nosniff"),
            (b"x-frame-options", b"DENY"),
            (b"referrer-policy", b"no-referrer"),
            (b"cross-origin-opener-policy", b"same-origin"),
            (b"cross-origin-resource-policy", b"cross-origin" if self._origins else b"same-origin"),
        ]

    async def answer(self, passage: Passage) -> None:
        """Answer a request, or refuse it."""
        passage.headers = self._headers
        try:
            if not self._crowd.takes(len(self._deadlines)) and passage.scope["path"] not in NEVER_TOO_MANY:
                self._refusals.count(f"{len(self._deadlines)} are under way")
                await self._answer_others(passage, Overloaded(OVERLOADED))
                return
            self._deadlines.set(passage)
            try:
                error = await self._look_at(passage.scope, passage.given, passage.more)
                if error is None and not self._shares:
                    await self._app(passage.scope, passage.receive, passage.send)
                else:
                    await self._answer_others(passage, error)
            except asyncio.CancelledError:
                if not passage.late:
                    raise
            finally:
                self._deadlines.lift(passage)
            if passage.late:
                await passage.told(passage.late)
        except Exception:
            passage.status = passage.status or 500
            raise
        finally:
            if passage.ended:
                passage.ended(passage)

    async def _answer_others(self, passage: Passage, error: Exception | None) -> None:
        """Answer what is refused, or where pages of others may read."""
        origin = passage.given.get(b"origin")
        passage.more += self._origins.headers(origin)
        if error:
            await problems.refuse(passage.scope, passage.send, error)
        elif passage.scope["method"] == "OPTIONS" and origin and self._origins.allows(origin):
            await passage.send({"type": "http.response.start", "status": 204, "headers": PREFLIGHT})
            await passage.send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await self._app(passage.scope, passage.receive, passage.send)

    async def listen(self, scope: WebSocketScope, receive: Receive, send: Send) -> None:
        """Open a WebSocket, or refuse it."""
        more: list[Header] = []
        given = first_headers(scope)
        error = await self._look_at(scope, given, more)
        if error is None and not self._origins.allows_socket(given):
            error = HTTPException("Pages of this origin may not open a WebSocket here.", status_code=HTTPStatus.FORBIDDEN)

        async def headed_send(message: Message) -> None:
            answer = cast("dict[str, Any]", message)  # the framework has no types for refusals
            if answer["type"] == "websocket.accept":
                answer["headers"] = [*answer["headers"], *more]
            elif answer["type"] == "websocket.http.response.start":
                answer["headers"] = [*answer["headers"], *self._headers, *more, NO_PAGE]
            await send(message)

        if error is None:
            await self._app(scope, receive, headed_send)
        else:
            await receive()
            await problems.refuse(scope, headed_send, error)

    async def _look_at(
        self, scope: HTTPScope | WebSocketScope, given: Mapping[bytes, bytes], more: list[Header]
    ) -> Exception | None:
        """Why a request is refused. Adds what its answer says about the rate limit, and leaves its key in its state."""
        key: ApiKey | None = None
        error: Exception | None = None
        headers = cast("list[Header]", scope["headers"])
        if len(headers) > MOST_HEADERS or sum(map(len, chain.from_iterable(headers))) > MOST_HEADER_BYTES:
            detail = f"There are more than {MOST_HEADERS} headers, or more than {MOST_HEADER_BYTES:,} bytes of them."
            error = HTTPException(detail, status_code=HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif max(len(scope["raw_path"]), len(scope["query_string"])) > MOST_ADDRESS_BYTES:
            detail = f"The path or the query has more than {MOST_ADDRESS_BYTES:,} bytes."
            error = HTTPException(detail, status_code=HTTPStatus.REQUEST_URI_TOO_LONG)
        elif not _is_host(given.get(b"host", b"")):
            error = BadParameters([ParameterProblem("Host", "must be a host name or address, with or without a port")])
        elif scope["path"] not in self._open_paths:
            try:
                key = await self._key(scope) if b"authorization" in given or b"x-api-key" in given else None
                scope["state"]["key"] = key
            except Exception as problem:  # what nobody foresaw too: a problem like all others, and logged as one
                error = problem
        if self._limiter is None or scope["path"] in PROBES:
            return error
        client = scope["client"]
        allowance = self._limiter.take(key.id if key else client[0] if client else "")
        more += self._described(allowance)
        if allowance.granted:
            return error
        detail = f"The rate limit of {self._limiter.limit:,} requests in {self._limiter.seconds:g} s is used up."
        return TooManyRequests(detail, allowance.retry)

    async def _key(self, scope: HTTPScope | WebSocketScope) -> ApiKey | None:
        secret = given_key(scope["headers"])
        if secret is None:
            return None
        services: Services = self._state.services  # set by the lifespan, before any request
        key = await services.api_keys.authenticate(secret)
        if key is None:
            raise Unauthorized(WRONG_KEY)
        return key

    def _described(self, allowance: RateLimitStatus) -> list[Header]:
        return [
            (b"ratelimit-limit", str(self._limiter.limit if self._limiter else 0).encode()),
            (b"ratelimit-remaining", str(allowance.remaining).encode()),
            (b"ratelimit-reset", str(allowance.reset).encode()),
            (b"ratelimit-policy", self._policy),
        ]


def _is_host(text: bytes) -> bool:
    form = HOST.fullmatch(text)
    return form is not None and int(form[1] or 0) <= 65535
