"""The application: wiring and lifespan only."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from litestar import Litestar
from litestar.middleware import DefineMiddleware

from market_data.api import HANDLERS, openapi_config, pages
from market_data.api.http import problems
from market_data.auth.api_keys import ApiKeyCache
from market_data.database.metrics_collector import DatabaseMetrics
from market_data.database.pool import Database
from market_data.database.replica import Replica
from market_data.errors import StartError
from market_data.feed.feeder import Feeder
from market_data.middleware import tracing, wrap
from market_data.middleware.authorization import RequireScope, open_paths
from market_data.services import Services
from market_data.settings import Settings, read_settings
from market_data.streaming.hub import Hub
from market_data.telemetry.request_log import RequestLog

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

FEED_STOP_SECONDS = 1.5
"""Time that the feeder has to store its current batch after the service was told to stop."""


def create_app(settings: Settings | None = None) -> Litestar:
    """Return the ASGI application of one worker, for a database that is migrated already.

    Raises:
        SettingsError: An environment variable has an invalid value.
        StartError: There is no DATABASE_URL; the embedded engine is started by `market-data serve`, which sets one.
    """
    settings = settings or read_settings()
    if settings.database_url is None:
        raise StartError("DATABASE_URL is not set; `market-data serve` starts the embedded engine and sets it.")
    request_log = RequestLog()
    tracer_provider = tracing.start_provider() if tracing.is_requested() else None
    app = Litestar(
        [*HANDLERS, *pages(Path(settings.docs_assets) if settings.docs_assets else None)],
        lifespan=[lambda app: _run_services(app, settings, request_log, tracer_provider)],
        middleware=[DefineMiddleware(RequireScope, required=settings.auth == "required")],
        exception_handlers={Exception: problems.answer},
        openapi_config=openapi_config(required=settings.auth == "required"),
        logging_config=None,
        request_max_body_size=settings.max_body_bytes,
    )
    app.asgi_handler = wrap(app.asgi_handler, settings, app.state, open_paths(app), request_log, tracer_provider)
    return app


@asynccontextmanager
async def _run_services(
    app: Litestar, settings: Settings, request_log: RequestLog, tracer_provider: "TracerProvider | None"
) -> AsyncGenerator[None]:
    """Open the services in the order in which they need each other, and run their background tasks."""
    database_url, direct_url = str(settings.database_url), str(settings.direct_url)
    async with (
        Database(database_url, settings) as database,
        ApiKeyCache(database) as api_keys,
        _open_replica(settings, database) as replica,
        tracing.sending(tracer_provider),
    ):
        services = app.state.services = Services(
            settings,
            database,
            replica,
            api_keys,
            Hub(direct_url, settings, database),
            Feeder(direct_url, settings) if settings.feed_enabled else None,
            DatabaseMetrics(direct_url, settings, database),
            request_log.flush,
        )
        async with _run_hub(services), _run_metrics(services), _run_feeder(services.feeder):
            yield


@asynccontextmanager
async def _open_replica(settings: Settings, database: Database) -> AsyncGenerator[Replica | None]:
    if settings.database_read_url is None:
        yield None
        return
    async with Replica(settings.database_read_url, settings, database) as replica:
        yield replica


@asynccontextmanager
async def _run_hub(services: Services) -> AsyncGenerator[None]:
    async with _run_tasks(streams=services.hub.run(), revoked_keys=services.hub.disconnect_revoked_keys(services.api_keys)):
        try:
            yield
        finally:
            services.hub.stop()


@asynccontextmanager
async def _run_metrics(services: Services) -> AsyncGenerator[None]:
    metrics, flush = services.database_metrics, services.flush_access_log
    async with _run_tasks(database_metrics=metrics.run(), shared_metrics=metrics.refresh_periodically(flush)):
        yield
    flush()


@asynccontextmanager
async def _run_feeder(feeder: Feeder | None) -> AsyncGenerator[None]:
    if feeder is None:
        yield
        return

    async def stop() -> None:
        feeder.stop()
        await asyncio.wait([task], timeout=FEED_STOP_SECONDS)

    async with _run_tasks(stop, feed=feeder.run()) as (task,):
        yield


@asynccontextmanager
async def _run_tasks(
    before_cancel: Callable[[], Awaitable[None]] | None = None, **coroutines: Coroutine[Any, Any, None]
) -> AsyncGenerator[list[asyncio.Task[None]]]:
    """Run named tasks until the end of the block; then cancel them and wait for their end."""
    tasks = [asyncio.create_task(coroutine, name=name) for name, coroutine in coroutines.items()]
    try:
        yield tasks
    finally:
        if before_cancel:
            await before_cancel()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
