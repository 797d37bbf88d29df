"""Container of the objects that handlers and middlewares share: one per worker, filled by the application lifespan."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from litestar.connection import ASGIConnection

from market_data.auth.api_keys import ApiKeyCache
from market_data.body_store import BodyStore
from market_data.database.commit_times import CommitTimes
from market_data.database.metrics_collector import DatabaseMetrics
from market_data.database.pool import Database
from market_data.database.replica import Replica
from market_data.feed.feeder import Feeder
from market_data.names import Names
from market_data.settings import Settings
from market_data.streaming.hub import Hub
from market_data.streaming.playback.replays import Replays
from market_data.streaming.symbol_check import SymbolCheck


@dataclass(frozen=True)
class Services:
    """Everything a request may need besides its own parameters."""

    settings: Settings
    database: Database
    replica: Replica | None
    """None without DATABASE_READ_URL."""
    names: Names
    """Names of renamed symbols."""
    commit_times: CommitTimes
    api_keys: ApiKeyCache
    hub: Hub
    replays: Replays
    streamed_symbols: SymbolCheck
    feeder: Feeder | None
    """None with FEED_ENABLED=false."""
    database_metrics: DatabaseMetrics
    bodies: BodyStore
    """For byte ranges."""
    flush_access_log: Callable[[], None]
    """Write the log lines and count the metrics of finished requests, which are buffered for a moment."""


def services_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Services:
    """Return the services of the application that a request or WebSocket came to."""
    return connection.app.state.services
