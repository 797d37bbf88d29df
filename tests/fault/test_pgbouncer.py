"""The service behind PgBouncer in transaction mode with two connections to the database."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psycopg
import pytest
from helpers.pgbouncer import POOL_SIZE, PROGRAM, pausable_pgbouncer, running_pgbouncer
from helpers.service import Service, command, error_line, eventually, running
from helpers.sse_client import listening
from helpers.support import SERVER
from psycopg import AsyncConnection

from market_data.cli.care.doctor import run_checks
from market_data.database.pool import Database
from market_data.errors import DatabaseUnavailable
from market_data.settings import Settings

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed")

# The embedded engine is slow while other tests run in parallel.
LONG_TIMEOUTS = {
    "INGESTION_INTERVAL_SECONDS": "0.5",
    "POOL_SIZE": "8",
    "POOL_TIMEOUT_SECONDS": "30",
    "QUERY_TIMEOUT_SECONDS": "20",
}

OTHER_ZONE = """
    DO $$ BEGIN
        EXECUTE format('ALTER DATABASE %I SET timezone = ''America/New_York''', current_database());
    END $$
"""

SYMBOLS = ("AAPL", "MSFT", "GOOGL", "AMZN", "TSLA")


class Urls(NamedTuple):
    """URLs of one database."""

    pooled: str
    direct: str

    @property
    def environment(self) -> dict[str, str]:
        return {"DATABASE_URL": self.pooled, "DATABASE_DIRECT_URL": self.direct}

    def settings(self, **others: Any) -> Settings:
        return Settings(database_url=self.pooled, database_direct_url=self.direct, **others)


@pytest.fixture(scope="module")
def urls(new_migrated_database: Callable[[], AbstractContextManager[str]]) -> Iterator[Urls]:
    """A database with another time zone than the responses of the service."""
    with new_migrated_database() as direct:
        with psycopg.connect(direct, autocommit=True) as connection:
            connection.execute(OTHER_ZONE)
        with running_pgbouncer(direct) as pooled:
            yield Urls(pooled, direct)


@pytest.fixture(scope="module")
def service(urls: Urls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, httpx.Client]]:
    folder = tmp_path_factory.mktemp("service")
    with running(folder, **urls.environment, **LONG_TIMEOUTS) as (service, client):
        eventually(lambda: client.get("/prices/latest").json()["count"] == len(SYMBOLS))
        yield service, client


def test_times_in_responses_are_in_utc(service: tuple[Service, httpx.Client], urls: Urls):
    _, client = service
    with psycopg.connect(urls.direct) as connection:
        stored = connection.execute("SELECT max(time) FROM trades WHERE symbol = 'AAPL'").fetchone()
    assert stored
    until = stored[0].astimezone(UTC)
    span = {
        "symbol": "AAPL",
        "start": (until - timedelta(hours=1)).isoformat(),
        "end": (until + timedelta(hours=1)).isoformat(),
    }
    trades = client.get("/trades", params=span).json()["trades"]
    assert until in {datetime.fromisoformat(trade["timestamp"]) for trade in trades}
    candles = client.get("/candles", params={**span, "interval": "1m"}).json()["candles"]
    symbols = client.get("/symbols").json()["symbols"]
    texts = [
        trades[0]["timestamp"],
        candles[-1]["timestamp"],
        symbols[0]["created_at"],
        client.get("/health").json()["last_ingestion"],
    ]
    assert all(text.endswith("Z") for text in texts), texts
    status = client.get("/status/ingestion").json()
    assert status["ingestion_status"] == "alive"
    assert client.get("/health/ready").status_code == 200


def test_concurrent_readers_get_their_own_responses(service: tuple[Service, httpx.Client]):
    _, client = service
    span = {"start": "2020-01-01T00:00:00Z", "end": "2040-01-01T00:00:00Z"}

    def read(number: int) -> str:
        symbol = SYMBOLS[number % len(SYMBOLS)]
        path, parameters = (
            ("/price/latest", {}),
            ("/trades", {**span, "limit": "5"}),
            ("/candles", {**span, "interval": "1m", "limit": "5"}),
        )[number % 3]
        answer = client.get(path, params={"symbol": symbol, **parameters})
        return "" if answer.is_success and answer.json()["symbol"] == symbol else f"{path} {symbol}: {answer.text}"

    with ThreadPoolExecutor(8) as threads:
        assert [wrong for wrong in threads.map(read, range(150)) if wrong] == []


def test_the_database_has_only_the_connections_of_the_pool(service: tuple[Service, httpx.Client], urls: Urls):
    """The embedded engine does not show connections."""
    _, client = service
    for _ in range(20):
        client.get("/symbols")
    with psycopg.connect(urls.direct) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
        ).fetchone()
    assert row
    # Besides the pool: streams, feed, metrics (for a moment) and this connection.
    assert row[0] <= POOL_SIZE + 4


def test_trades_of_the_feed_are_streamed(service: tuple[Service, httpx.Client]):
    _, client = service
    with listening(str(client.base_url), symbols="MSFT") as events:
        assert events.next("trade").data["symbol"] == "MSFT"


async def _slow(connection: AsyncConnection[Any]) -> None:
    await connection.execute("SELECT pg_sleep(%s)", (3.0,), prepare=True)


async def _session(connection: AsyncConnection[Any]) -> tuple[Any, ...]:
    cursor = await connection.execute(
        "SELECT current_setting('timezone'), current_setting('statement_timeout')", prepare=True
    )
    row = await cursor.fetchone()
    assert row
    return row


def test_a_slow_read_times_out_and_leaves_no_settings_behind(urls: Urls):
    async def work() -> tuple[Any, ...]:
        async with Database(urls.pooled, urls.settings(query_timeout_seconds=0.5)) as database:
            began = time.monotonic()
            with pytest.raises(DatabaseUnavailable):
                await database.read(_slow)
            assert time.monotonic() - began < 2
            return await _read_with_retries(database, _session)

    assert asyncio.run(work()) == ("UTC", "500ms")
    with psycopg.connect(urls.pooled, autocommit=True, prepare_threshold=None) as other:
        assert other.execute("SHOW statement_timeout").fetchone() == ("0",)
        assert other.execute("SHOW timezone").fetchone() == ("America/New_York",)
    if SERVER:
        with psycopg.connect(urls.direct) as connection:
            running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'"
            assert connection.execute(running).fetchone() == (0,)


async def _read_with_retries(database: Database, query: Any) -> Any:
    """Retry, because the embedded engine finishes a running statement before it responds."""
    for _ in range(20):
        try:
            return await database.read(query)
        except DatabaseUnavailable:
            await asyncio.sleep(0.25)
    raise AssertionError("the database does not respond again")


async def _store(connection: AsyncConnection[Any], number: int) -> int:
    async with connection.transaction():
        await connection.execute("INSERT INTO symbols (symbol, name) VALUES ('NVDA', 'x') ON CONFLICT DO NOTHING")
        await connection.execute(
            "INSERT INTO trades (time, symbol, trade_id, price, volume) VALUES ('2026-01-01Z', 'NVDA', %s, 1, 1)", (number,)
        )
    return number


def test_writes_are_stored_once_and_failed_writes_not_at_all(urls: Urls):
    async def work() -> None:
        settings = urls.settings(pool_timeout_seconds=30, query_timeout_seconds=20)
        async with Database(urls.pooled, settings) as database:
            written = await asyncio.gather(*(database.write(_store, number) for number in range(20)))
            assert written == list(range(20))
            with pytest.raises(psycopg.errors.UniqueViolation):
                await database.write(_store, 7)
            assert await database.write(_store, 20) == 20

    asyncio.run(work())
    with psycopg.connect(urls.direct) as connection:
        assert connection.execute("SELECT count(*) FROM trades WHERE symbol = 'NVDA'").fetchone() == (21,)


def test_commands_bypass_pgbouncer(urls: Urls, tmp_path: Path):
    ended = command("backfill", "--days", "1", "--rate", "1h", "--symbols", "TSLA", **urls.environment)
    assert ended.returncode == 0, ended.stderr
    trades = tmp_path / "trades.csv"
    trades.write_text("symbol,timestamp,price,volume\nAMZN,2026-01-05T10:00:00Z,10,1\n")
    ended = command("import", str(trades), **urls.environment)
    assert "1 stored" in ended.stdout, ended.stderr
    candles = "SELECT count(*) FROM candles_1d WHERE symbol = 'AMZN' AND bucket = '2026-01-05Z'"
    with psycopg.connect(urls.direct) as connection:
        assert connection.execute(candles).fetchone() == (1,)
    assert command("migrate", **urls.environment).returncode == 0


def test_database_direct_url_alone_is_rejected(urls: Urls):
    assert "without DATABASE_URL" in error_line("migrate", DATABASE_URL="", DATABASE_DIRECT_URL=urls.direct)


def test_clients_write_through_pgbouncer(service: tuple[Service, httpx.Client], urls: Urls):
    _, client = service
    key = command("keys", "create", "loader", "--scope", "write", **urls.environment).stdout.strip()
    body = [{"symbol": "AAPL", "price": 1.5, "volume": 2, "timestamp": f"2026-01-05T10:00:{n:02}Z"} for n in range(50)]

    def write(_: int) -> dict[str, int]:
        return client.post("/trades", json=body, headers={"X-API-Key": key}).raise_for_status().json()

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(write, range(4)))
    assert sum(answer["stored"] for answer in answers) == 50
    assert sum(answer["existing"] for answer in answers) == 150
    conflict = client.post("/trades", json={**body[0], "price": 9}, headers={"X-API-Key": key})
    assert conflict.status_code == 409
    assert client.post("/trades", json=body).status_code == 401


def _pooler(settings: Settings) -> tuple[str, str, str]:
    (found,) = [each for each in run_checks(settings, 1) if each.check == "pooler"]
    return found.level, found.finding, found.remedy or ""


def test_doctor_checks_the_urls(urls: Urls):
    assert _pooler(urls.settings())[0] == "ok"
    gone = Settings(database_url="postgresql://127.0.0.1:9/database", database_direct_url=urls.direct)
    level, finding, _ = _pooler(gone)
    assert (level, "DATABASE_URL can't be reached" in finding) == ("error", True)
    if SERVER:
        level, _, remedy = _pooler(Settings(database_url=urls.pooled))
        assert (level, "DATABASE_DIRECT_URL" in remedy) == ("error", True)
        level, finding, _ = _pooler(Settings(database_url=urls.direct, database_direct_url=urls.pooled))
        assert (level, "streams receive no notifications" in finding) == ("error", True)
        level, finding, _ = _pooler(Settings(database_url=SERVER, database_direct_url=urls.direct))
        assert (level, "different databases" in finding) == ("error", True)


def test_a_paused_pgbouncer_is_reported_by_doctor_and_at_a_start(urls: Urls, tmp_path: Path):
    with pausable_pgbouncer(urls.direct) as (pooled, send_signal):
        send_signal(signal.SIGUSR1)
        settings = Settings(database_url=pooled, database_direct_url=urls.direct)
        eventually(lambda: _pooler(settings)[0] == "error")
        assert "it may be paused" in _pooler(settings)[1]
        [finding] = run_checks(Settings(database_url=pooled), 1)
        assert "it may be paused" in finding.finding
        service = Service(tmp_path, **Urls(pooled, urls.direct).environment, DATABASE_START_TIMEOUT_SECONDS="60")
        try:
            eventually(lambda: "waiting for the database: no reply to a statement within 5 s" in service.text)
            send_signal(signal.SIGUSR2)
            service.wait_until_ready()
        finally:
            service.end()
