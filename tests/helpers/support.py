"""Constants and helpers for tests of several folders."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, LiteralString
from urllib.parse import quote, urlsplit

import msgspec
import psycopg
import uvicorn
from litestar import Litestar
from litestar.types import ASGIApp

from market_data.app import create_app
from market_data.server.http_protocol import HttpProtocol
from market_data.server.serve import MAX_WEBSOCKET_MESSAGE_BYTES
from market_data.server.websocket_protocol import WebSocketProtocol
from market_data.settings import Settings

SERVER = os.environ.get("TEST_DATABASE_URL")
"""DSN of the server to test on; None for the embedded engine."""

PROJECT = Path(__file__).resolve().parents[2]

Connection = psycopg.Connection[Any]
Databases = Callable[[], AbstractContextManager[str]]
"""Creates a database for a `with` block and yields its URL."""
Trade = tuple[datetime, str, int, Decimal, Decimal]
"""Time, symbol, trade_id, price, volume."""

T0 = datetime(2026, 2, 8, 10, 30, tzinfo=UTC)
"""An arbitrary minute that most trades of the tests are close to."""


RUNNING_JOBS = """
    SELECT count(*)
    FROM pg_stat_activity
    WHERE datname = current_database() AND strpos(backend_type, '[') > 0
"""
"""Their type ends with the job's id."""


def store(connection: Connection, *trades: Trade) -> None:
    """Store trades and their symbols."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO symbols (symbol, name) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            [(symbol, f"{symbol} Ltd.") for symbol in {trade[1] for trade in trades}],
        )
        cursor.executemany("INSERT INTO trades (time, symbol, trade_id, price, volume) VALUES (%s, %s, %s, %s, %s)", trades)


def trade(seconds: float, price: str, volume: str = "1", *, symbol: str = "AAPL", trade_id: int = 0) -> Trade:
    """Return a trade a number of seconds after T0."""
    return (T0 + timedelta(seconds=seconds), symbol, trade_id, Decimal(price), Decimal(volume))


def current_trade(price: str, *, symbol: str = "AAPL") -> Trade:
    """Return a trade at the current time."""
    return (datetime.now(UTC), symbol, 0, Decimal(price), Decimal(1))


def now_within_minute(seconds: float = 10) -> datetime:
    """Return the current time, in a minute that does not end within a number of seconds: wait for the next one if needed.

    For tests of the current bucket: a bucket of any length ends with a minute.
    """
    left = 60 - time.time() % 60
    if left < seconds:
        time.sleep(left)
    return datetime.now(UTC)


def one(connection: Connection, query: LiteralString, *parameters: object) -> Any:
    """Return the only value of a result."""
    ((value,),) = connection.execute(query, parameters).fetchall()
    return value


def changed_url(url: str, *, port: int | None = None, database: str | None = None) -> str:
    """Return a URL with another port or database, and the same credentials and options."""
    parts = urlsplit(url)
    location = parts.netloc.rpartition(":")[0] + f":{port}" if port else parts.netloc
    return parts._replace(netloc=location, path=f"/{database}" if database else parts.path).geturl()


def with_options(url: str, options: str) -> str:
    """Return a URL with start-up options."""
    return f"{url}{'&' if '?' in url else '?'}options={quote(options)}"


TIMEOUTS = ("pool_timeout_seconds", "query_timeout_seconds", "request_timeout_seconds")
LONG_TIMEOUTS = {name.upper(): "60" for name in TIMEOUTS}
"""Environment variables of a service under test: a busy machine needs more time than the defaults give."""
DEFAULT_TIMEOUTS = {name.upper(): str(getattr(Settings(), name)) for name in TIMEOUTS}
"""For tests of a service that loses its database."""


def create_patient_app(settings: Settings) -> Litestar:
    """Create the application with long time-outs, where the settings have the defaults: see LONG_TIMEOUTS."""
    defaults = Settings()
    replaced = {name: 60.0 for name in TIMEOUTS if getattr(settings, name) == getattr(defaults, name)}
    return create_app(msgspec.structs.replace(settings, **replaced))


@contextmanager
def serving(app: ASGIApp, **options: Any) -> Iterator[str]:
    """Serve an application with the protocols of the service on a free port and yield its URL."""
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        log_config=None,
        http=HttpProtocol,
        ws=WebSocketProtocol,
        ws_max_size=MAX_WEBSOCKET_MESSAGE_BYTES,
        proxy_headers=False,
        **options,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        host, port = server.servers[0].sockets[0].getsockname()
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join()
