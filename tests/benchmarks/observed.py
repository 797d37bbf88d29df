"""The service in three variants: as it is, without its access log, and with Litestar's Prometheus middleware instead.

They take turns in one process, several times a second, so that other load on the machine affects all of them.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any

import msgspec
from litestar import Litestar, get
from litestar.plugins.prometheus import PrometheusConfig
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp, Receive, Scope, Send

import market_data.app
from market_data.middleware.access_log import AccessLog
from market_data.middleware.request_id import RequestId
from market_data.server.serve import create_worker

FIGURES = "/figures"
TURN_SECONDS = 0.1


class Turns:
    """Application that is each of the variants in turn."""

    def __init__(self, **apps: ASGIApp) -> None:
        self.figures: list[tuple[str, int, float, float]] = []
        """Per turn the variant, requests, seconds, and seconds of processor time."""
        self._apps = cycle(apps.items())
        self._name, self._app = next(self._apps)
        self._requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._requests += 1
        await self._app(scope, receive, send)

    async def run(self, flush: Callable[[], None]) -> None:
        while True:
            self._requests, wall, processor = 0, time.perf_counter(), time.thread_time()
            await asyncio.sleep(TURN_SECONDS)
            flush()
            took = time.perf_counter() - wall, time.thread_time() - processor
            self.figures.append((self._name, self._requests, *took))
            self._name, self._app = next(self._apps)


def create() -> Litestar:
    config = PrometheusConfig(app_name="market-data", prefix="benchmark", group_path=True)

    def litestar_with_plugin(*handlers: Any, middleware: Sequence[Any], **options: Any) -> Litestar:
        return Litestar(*handlers, middleware=[config.middleware, *middleware], **options)

    market_data.app.Litestar = litestar_with_plugin  # type: ignore[assignment,misc]  # a function replaces the class
    with_plugin = create_worker()
    with_plugin.asgi_handler = _without_access_log(with_plugin)
    market_data.app.Litestar = Litestar  # type: ignore[misc]  # restores the class
    app = create_worker()
    turns = Turns(bare=_without_access_log(app), whole=app.asgi_handler, plugin=with_plugin)

    @get(FIGURES, include_in_schema=False)
    async def figures() -> ASGIResponse:
        if not turns.figures:
            with_plugin.state.update(app.state.dict())
            app.state.turns = asyncio.create_task(turns.run(app.state.services.flush_access_log))
        return ASGIResponse(body=msgspec.json.encode(turns.figures))

    app.register(figures)
    with_plugin.register(figures)
    app.asgi_handler = turns
    return app


def _without_access_log(app: Litestar) -> ASGIApp:
    request_id = app.asgi_handler
    assert isinstance(request_id, RequestId), "the outermost middleware"
    access_log = request_id.app
    assert isinstance(access_log, AccessLog)
    return access_log.app
