"""Health checks while the database can be reached; `test_unavailable` has the rest."""

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import msgspec
import psycopg
from helpers.service import command, eventually
from helpers.support import PROJECT, Connection, Databases, one, store, trade
from litestar.testing import TestClient

from market_data.api.health import NEEDED_REVISION
from market_data.settings import Settings


def test_health_of_an_empty_database(client: TestClient):
    body = client.get("/health").json()
    checked_at = datetime.fromisoformat(body.pop("timestamp"))
    assert abs(datetime.now(UTC) - checked_at) < timedelta(seconds=10)
    assert body == {
        "status": "healthy",
        "service": "market-data-platform",
        "database": "healthy",
        "last_trade_count": 0,
        "last_ingestion": None,
    }


def test_few_trades_are_counted_exactly(client: TestClient, connection: Connection):
    store(connection, trade(5, "1"), trade(9, "1", symbol="MSFT"), trade(-90 * 86_400, "1"))
    body = client.get("/health").json()
    assert (body["last_trade_count"], body["last_ingestion"]) == (3, "2026-02-08T10:30:09Z")


def test_symbols_without_trades_do_not_hide_the_newest_trade(client: TestClient, connection: Connection):
    store(connection, trade(0, "1"))
    connection.execute("INSERT INTO symbols (symbol, name) VALUES ('AAA', 'A'), ('ZZZ', 'Z')")
    assert client.get("/health").json()["last_ingestion"] == "2026-02-08T10:30:00Z"


def test_many_trades_are_counted_exactly(client: TestClient, connection: Connection):
    store(connection, trade(0, "1"))
    connection.execute("""
        INSERT INTO trades (time, symbol, price, volume)
        SELECT minute, 'AAPL', 1, 1
        FROM generate_series('2025-12-01T00:00:00Z'::timestamptz, '2026-01-01T00:00:00Z', '2 minutes') AS minute
    """)
    exact = 31 * 24 * 30 + 2
    assert client.get("/health").json()["last_trade_count"] == exact, "before the first ANALYZE"
    connection.execute("ANALYZE trades")
    assert client.get("/health").json()["last_trade_count"] == exact


def test_a_backfill_is_counted_exactly_as_soon_as_it_ends(
    settings: Settings, make_client: Callable[[Settings], TestClient], new_migrated_database: Databases
):
    """It stores and compresses several chunks, while the jobs run."""
    with (
        new_migrated_database() as url,
        make_client(msgspec.structs.replace(settings, database_url=url)) as client,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        ended = command("backfill", "--days", "30", "--rate", "5m", DATABASE_URL=url)
        counted = client.get("/health").json()["last_trade_count"]
        assert ended.returncode == 0, ended.stderr
        assert counted == one(connection, "SELECT count(*) FROM trades")
        assert abs(counted - 5 * 30 * 24 * 12) <= 5


def test_liveness_of_the_process(client: TestClient):
    assert client.get("/health/live").json() == {"status": "alive"}


def test_ready_with_the_needed_or_a_newer_schema(client: TestClient, connection: Connection):
    checks = {"schema": "ok", "pool": "ok", "feed": "disabled"}
    assert client.get("/health/ready").json() == {"status": "ready", "checks": checks}
    with revision(connection, "9999"):
        assert client.get("/health/ready").json() == {"status": "ready", "checks": checks}


def test_unready_until_the_schema_is_migrated(client: TestClient, connection: Connection):
    with revision(connection, "0005"):
        answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json() == {"status": "unready", "checks": {"schema": "outdated", "pool": "ok", "feed": "disabled"}}
    assert answer.headers["retry-after"] == "1"
    connection.execute("ALTER TABLE alembic_version RENAME TO elsewhere")
    try:
        assert client.get("/health/ready").json()["checks"]["schema"] == "outdated"
        assert client.get("/health/live").status_code == 200
    finally:
        connection.execute("ALTER TABLE elsewhere RENAME TO alembic_version")
    assert client.get("/health/ready").status_code == 200


def _cancel_feed() -> None:
    (task,) = [task for task in asyncio.all_tasks() if task.get_name() == "feed"]
    task.cancel()


@contextmanager
def revision(connection: Connection, number: str) -> Iterator[None]:
    """Set another revision of the schema for the block."""
    connection.execute("UPDATE alembic_version SET version_num = %s", (number,))
    try:
        yield
    finally:
        connection.execute("UPDATE alembic_version SET version_num = %s", (NEEDED_REVISION,))


def test_needed_revision_is_the_newest():
    revisions = sorted(path.name.partition("_")[0] for path in (PROJECT / "alembic" / "versions").glob("*.py"))
    assert all(re.fullmatch(r"\d{4}", each) for each in revisions), "they are compared as text"
    assert revisions[-1] == NEEDED_REVISION


def test_unready_if_the_feed_is_dead(settings: Settings, make_client: Callable[[Settings], TestClient], database_url: str):
    assert database_url
    feeding = msgspec.structs.replace(settings, feed_enabled=True)
    with make_client(feeding) as client:
        eventually(lambda: client.get("/health/ready").json()["checks"]["feed"] == "feeding")
        client.blocking_portal.call(_cancel_feed)
        eventually(lambda: client.get("/health/ready").status_code == 503)
        assert client.get("/health/ready").json() == {
            "status": "unready",
            "checks": {"schema": "ok", "pool": "ok", "feed": "dead"},
        }
        assert client.get("/health/live").status_code == 200
