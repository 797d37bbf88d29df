"""The application: wiring and lifespans only."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from litestar import Litestar
from litestar.datastructures import State

from market_data import problems, tracing
from market_data.api import HANDLERS, openapi_config, pages
from market_data.database import Database
from market_data.errors import StartError
from market_data.ingest import Ingest
from market_data.live import Hub
from market_data.observer import Observer
from market_data.sampler import Sampler
from market_data.settings import Settings, read_settings

FEED_STOP_SECONDS = 1.5
"""How long the feed may take to store what it is at, once the service is told to stop."""


def create_app(settings: Settings | None = None) -> Litestar:
    """The ASGI application of one worker, on a database that is migrated already.

    Raises:
        SettingsError: The environment has a value that can't be used.
        StartError: There is no DATABASE_URL; the embedded engine is started by `market-data serve`, which sets one.
    """
    settings = settings or read_settings()
    if settings.database_url is None:
        raise StartError("DATABASE_URL is not set; `market-data serve` starts the embedded engine and sets it.")
    app = Litestar(
        [*HANDLERS, *pages(Path(settings.docs_assets) if settings.docs_assets else None)],
        lifespan=[_lifespan(settings.database_url, settings), _sampling(settings.database_url, settings)],
        exception_handlers={Exception: problems.answer},
        openapi_config=openapi_config(),
        logging_config=None,
        state=State({"settings": settings, "ingest": None}),
    )
    app.asgi_handler = app.state.observer = Observer(app.asgi_handler)
    if tracing.asked_for():
        app.asgi_handler, app.state.tracer = tracing.traced(app.state.observer)
    return app


def _lifespan(database_url: str, settings: Settings):
    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncGenerator[None]:
        async with Database(database_url, settings) as database, _following(Hub(database_url, settings, database)) as hub:
            app.state.database = database
            app.state.hub = hub
            if not settings.feed_enabled:
                yield
                return
            app.state.ingest = ingest = Ingest(database_url, settings)
            async with _feeding(ingest):
                yield

    return lifespan


def _sampling(database_url: str, settings: Settings):
    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncGenerator[None]:
        app.state.sampler = sampler = Sampler(database_url, settings, app.state.database)
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
async def _following(hub: Hub) -> AsyncGenerator[Hub]:
    task = asyncio.create_task(hub.run(), name="streams")
    try:
        yield hub
    finally:
        hub.stop()
        task.cancel()
        await asyncio.wait([task])


@asynccontextmanager
async def _feeding(ingest: Ingest) -> AsyncGenerator[None]:
    task = asyncio.create_task(ingest.run(), name="feed")
    try:
        yield
    finally:
        ingest.stop()
        await asyncio.wait([task], timeout=FEED_STOP_SECONDS)
        task.cancel()
        await asyncio.wait([task])
