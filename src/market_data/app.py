"""The application: wiring and lifespans only."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from litestar import Litestar

from market_data import problems
from market_data.api import HANDLERS, openapi_config, pages
from market_data.database import Database
from market_data.errors import StartError
from market_data.ingest import Ingest
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
    return Litestar(
        [*HANDLERS, *pages(Path(settings.docs_assets) if settings.docs_assets else None)],
        lifespan=[_lifespan(settings.database_url, settings)],
        exception_handlers={Exception: problems.answer},
        openapi_config=openapi_config(),
        logging_config=None,
    )


def _lifespan(database_url: str, settings: Settings):
    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncGenerator[None]:
        async with Database(database_url, settings) as database:
            app.state.database = database
            if not settings.feed_enabled:
                yield
                return
            async with _feeding(Ingest(database_url, settings)):
                yield

    return lifespan


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
