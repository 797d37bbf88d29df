"""The application: wiring and lifespans only."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from litestar import Litestar
from litestar.datastructures import State
from litestar.middleware import DefineMiddleware

from market_data.api import HANDLERS, openapi_config, pages
from market_data.api.http import problems
from market_data.auth.api_keys import ApiKeyCache
from market_data.database.metrics_collector import DatabaseMetrics
from market_data.database.pool import Database
from market_data.database.replica import Replica
from market_data.errors import StartError
from market_data.feed.feeder import Feeder
from market_data.middleware import tracing
from market_data.middleware.access_log import AccessLog
from market_data.middleware.authorization import RequireScope, open_paths
from market_data.middleware.gate import Gate
from market_data.settings import Settings, read_settings
from market_data.streaming.hub import Hub

FEED_STOP_SECONDS = 1.5
"""How long the feed may take to store what it is at, once the service is told to stop."""


def create_app(settings: Settings | None = None) -> Litestar:
    """The ASGI application of one worker, on a database that is migrated already.

    Raises:
        SettingsError: The environment has a value that can't be used.
        StartError: There is no DATABASE_URL; the embedded engine is started by `market-data serve`, which sets one.
    """
    settings = settings or read_settings()
    database_url, direct_url = settings.database_url, settings.direct_url
    if database_url is None or direct_url is None:
        raise StartError("DATABASE_URL is not set; `market-data serve` starts the embedded engine and sets it.")
    app = Litestar(
        [*HANDLERS, *pages(Path(settings.docs_assets) if settings.docs_assets else None)],
        lifespan=[_lifespan(database_url, direct_url, settings), _sampling(direct_url, settings)],
        middleware=[DefineMiddleware(RequireScope, required=settings.auth == "required")],
        exception_handlers={Exception: problems.answer},
        openapi_config=openapi_config(required=settings.auth == "required"),
        logging_config=None,
        request_max_body_size=settings.max_body_bytes,
        state=State({"settings": settings, "ingest": None}),
    )
    gate = Gate(app.asgi_handler, settings, app.state, open_paths(app))
    app.asgi_handler = app.state.observer = AccessLog(gate)
    if tracing.asked_for():
        app.asgi_handler, app.state.tracer = tracing.traced(app.state.observer)
    return app


def _lifespan(database_url: str, direct_url: str, settings: Settings):
    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncGenerator[None]:
        async with (
            Database(database_url, settings) as database,
            ApiKeyCache(database) as keys,
            _replica(settings, database) as app.state["replica"],
            _following(Hub(direct_url, settings, database), keys) as hub,
        ):
            app.state["keys"] = keys
            app.state.database = database
            app.state.hub = hub
            if not settings.feed_enabled:
                yield
                return
            app.state.ingest = ingest = Feeder(direct_url, settings)
            async with _feeding(ingest):
                yield

    return lifespan


def _sampling(direct_url: str, settings: Settings):
    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncGenerator[None]:
        app.state.sampler = sampler = DatabaseMetrics(direct_url, settings, app.state.database)
        tasks = [
            asyncio.create_task(sampler.run(), name="samples"),
            asyncio.create_task(sampler.keep_noted(app.state.observer.flush), name="notes"),
        ]
        try:
            async with tracing.sending(app.state.get("tracer")):
                yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            app.state.observer.flush()

    return lifespan


@asynccontextmanager
async def _replica(settings: Settings, database: Database) -> AsyncGenerator[Replica | None]:
    if settings.database_read_url is None:
        yield None
        return
    async with Replica(settings.database_read_url, settings, database) as replica:
        yield replica


@asynccontextmanager
async def _following(hub: Hub, keys: ApiKeyCache) -> AsyncGenerator[Hub]:
    tasks = [
        asyncio.create_task(hub.run(), name="streams"),
        asyncio.create_task(hub.keep_out(keys), name="keys of streams"),
    ]
    try:
        yield hub
    finally:
        hub.stop()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@asynccontextmanager
async def _feeding(ingest: Feeder) -> AsyncGenerator[None]:
    task = asyncio.create_task(ingest.run(), name="feed")
    try:
        yield
    finally:
        ingest.stop()
        await asyncio.wait([task], timeout=FEED_STOP_SECONDS)
        task.cancel()
        await asyncio.wait([task])
