"""Request path: one ASGI middleware per file, in the order of `wrap`.

The middlewares wrap the whole application, because Litestar's own do not see what its router rejects (404, 405).
"""

from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING

from litestar.datastructures import State
from litestar.types import ASGIApp

from market_data.api.http.dialects import Dialect
from market_data.api.http.origins import AllowedOrigins
from market_data.middleware.access_log import AccessLog
from market_data.middleware.authentication import Authentication
from market_data.middleware.authorization import RequireValidKey
from market_data.middleware.compression import Compression
from market_data.middleware.cors import CorsPolicy
from market_data.middleware.dialects import DialectPaths
from market_data.middleware.head_method import HeadMethod
from market_data.middleware.hosts import HostCheck
from market_data.middleware.load_shedding import LoadShedder
from market_data.middleware.path_names import PathNames
from market_data.middleware.proxies import Proxies
from market_data.middleware.rate_limit import RateLimit
from market_data.middleware.request_id import RequestId
from market_data.middleware.request_limits import RequestLimits
from market_data.middleware.security_headers import SecurityHeaders
from market_data.middleware.stream_starts import StreamStarts
from market_data.middleware.timeout import RequestTimeout
from market_data.middleware.tracing import traced
from market_data.middleware.websocket_origin import WebSocketOrigin
from market_data.settings import Settings
from market_data.telemetry.request_log import RequestLog

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider


def wrap(
    app: ASGIApp,
    settings: Settings,
    state: State,
    open_paths: Collection[str],
    request_log: RequestLog,
    dialects: Collection[Dialect] = (),
    tracer_provider: "TracerProvider | None" = None,
) -> ASGIApp:
    """Return an application behind the middlewares. `state` holds the services once the lifespan has set them.

    A request passes through the middlewares in this order, until one of them rejects it: the rate limit also counts
    malformed requests and failed authentications, and the security and CORS headers are on every response.
    """
    origins = AllowedOrigins(settings)
    middlewares: list[Callable[[ASGIApp], ASGIApp] | None] = [
        partial(Proxies, settings=settings),
        partial(DialectPaths, dialects=dialects) if dialects else None,
        partial(traced, provider=tracer_provider) if tracer_provider else None,
        RequestId,
        partial(AccessLog, request_log=request_log),
        partial(SecurityHeaders, cross_origin=bool(origins)),
        partial(CorsPolicy, origins=origins) if origins else None,
        StreamStarts,
        LoadShedder,
        partial(RequestTimeout, seconds=settings.request_timeout_seconds),
        partial(Authentication, state=state, open_paths=open_paths, required=settings.auth == "required"),
        partial(RateLimit, settings=settings) if settings.rate_limit else None,
        RequestLimits,
        partial(HostCheck, settings=settings),
        RequireValidKey,
        partial(WebSocketOrigin, origins=origins),
        HeadMethod,
        Compression,
        PathNames,
        # Litestar's router, then `RequireScope` in front of each handler: it needs the handler's options (see `create_app`).
    ]
    for middleware in reversed(middlewares):
        if middleware:
            app = middleware(app)
    return app
