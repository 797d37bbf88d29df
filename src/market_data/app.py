"""Wiring and lifespan of the application."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from litestar import Litestar
from litestar.middleware import DefineMiddleware

from market_data.api import HANDLERS, openapi_config, pages
from market_data.api.compat import selected_protocols
from market_data.api.http import problems
from market_data.api.mcp import load_endpoint
from market_data.auth.api_keys import ApiKeyCache
from market_data.body_store import body_store
from market_data.database.candle_refresher import CandleRefresher
from market_data.database.commit_times import CommitTimes
from market_data.database.lock_watchdog import LockWatchdog
from market_data.database.metrics_collector import DatabaseMetrics
from market_data.database.pool import Database
from market_data.database.replica import Replica
from market_data.errors import StartError
from market_data.feed.feeder import Feeder
from market_data.middleware import tracing, wrap
from market_data.middleware.authorization import RequireScope, open_paths
from market_data.names import Names
from market_data.services import Services
from market_data.settings import Settings, read_settings
from market_data.streaming.hub import Hub
from market_data.streaming.playback.replays import Replays
from market_data.streaming.symbol_check import SymbolCheck
from market_data.tasks import cancel_and_wait
from market_data.telemetry.request_log import RequestLog
from market_data.transparency.auditor import Auditor
from market_data.transparency.writer import LogWriter

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from market_data.api.mcp.server import McpEndpoint

FEED_STOP_SECONDS = 1.0
"""Time for the feeder to store its current batch when the service stops."""


def create_app(settings: Settings | None = None) -> Litestar:
    """Return the ASGI application of one worker, for a database that is migrated already.

    Raises:
        SettingsError: An environment variable has an invalid value.
        StartError: There is no DATABASE_URL; the embedded engine is started by `market-data serve`, which sets one.
    """
    settings = settings or read_settings()
    if settings.database_url is None:
        raise StartError("DATABASE_URL is not set; `market-data serve` starts the embedded engine and sets it.")
    protocols = selected_protocols(settings.compatibility)
    mcp = load_endpoint(settings)
    request_log = RequestLog()
    tracer_provider = tracing.start_provider() if tracing.is_requested() else None
    app = Litestar(
        [
            *HANDLERS,
            *(protocol.router for protocol in protocols),
            *([mcp.handler] if mcp else []),
            *pages(Path(settings.docs_assets) if settings.docs_assets else None),
        ],
        lifespan=[lambda app: _run_services(app, settings, request_log, tracer_provider, mcp)],
        middleware=[DefineMiddleware(RequireScope, required=settings.auth == "required")],
        exception_handlers={Exception: problems.handle_exception},
        openapi_config=openapi_config([protocol.tag for protocol in protocols], required=settings.auth == "required"),
        logging_config=None,
        request_max_body_size=settings.max_body_bytes,
    )
    app.state.base_urls = {name: path for protocol in protocols for name, path in protocol.base_urls.items()}
    if mcp:
        app.state.base_urls["mcp"] = "/mcp"
    dialects = [*(protocol.dialect for protocol in protocols), *([mcp.dialect] if mcp else [])]
    app.asgi_handler = wrap(app.asgi_handler, settings, app.state, open_paths(app), request_log, dialects, tracer_provider)
    return app


@asynccontextmanager
async def _run_services(
    app: Litestar,
    settings: Settings,
    request_log: RequestLog,
    tracer_provider: "TracerProvider | None",
    mcp: "McpEndpoint | None",
) -> AsyncGenerator[None]:
    """Open the services in the order of their dependencies, and run their background tasks."""
    database_url, direct_url = str(settings.database_url), str(settings.direct_url)
    async with (
        Database(database_url, settings) as database,
        ApiKeyCache(database) as api_keys,
        Replica(settings.database_read_url, settings, database) if settings.database_read_url else nullcontext() as replica,
        tracing.sending(tracer_provider),
        body_store() as bodies,
    ):
        names = Names()
        hub = Hub(direct_url, settings, database, names)
        services = app.state.services = Services(
            settings,
            database,
            replica,
            names,
            CommitTimes(),
            api_keys,
            hub,
            Replays(database, settings, hub.clients, names),
            SymbolCheck(database),
            Feeder(direct_url, settings) if settings.feed_enabled else None,
            DatabaseMetrics(direct_url, settings, database),
            bodies,
            request_log.flush,
        )
        async with _run_tasks(services), mcp.run() if mcp else nullcontext():
            yield


@asynccontextmanager
async def _run_tasks(services: Services) -> AsyncGenerator[None]:
    """Run the background tasks until the end of the block; then stop them and wait for their end."""
    hub, metrics, feeder = services.hub, services.database_metrics, services.feeder
    coroutines = {
        "streams": hub.run(),
        "revoked_keys": hub.clients.disconnect_revoked_keys(services.api_keys),
        "database_metrics": metrics.run(),
        "candles": CandleRefresher(services.settings, services.database).run(),
        "log": LogWriter(str(services.settings.direct_url), services.settings).run(),
        "audit": Auditor(str(services.settings.direct_url), services.settings).run(),
        "lock_watchdog": LockWatchdog(services.settings).run(),
        "shared_metrics": metrics.refresh_periodically(services.flush_access_log),
    }
    tasks = [asyncio.create_task(coroutine, name=name) for name, coroutine in coroutines.items()]
    if feeder:
        tasks.append(asyncio.create_task(feeder.run(), name="feed"))
    try:
        yield
    finally:
        if feeder:
            feeder.stop()
            await asyncio.wait(tasks[-1:], timeout=FEED_STOP_SECONDS)
        hub.clients.stop()
        await cancel_and_wait(*tasks)
        services.flush_access_log()
