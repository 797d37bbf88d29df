"""Several services on one database: exactly one feeds, and another takes over when that one stops or dies."""

import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import psycopg
from helpers.service import Service, eventually, running
from helpers.support import Connection

SETTINGS = {"INGESTION_INTERVAL_SECONDS": "0.2", "FEED_LEASE_SECONDS": "2"}


def _feeds(service: Service, connection: Connection) -> bool:
    """True if a worker process of this service holds the lease."""
    row = connection.execute("SELECT holder FROM leases WHERE name = 'feed' AND expires_at > clock_timestamp()").fetchone()
    return bool(row) and int(row[0].split(":")[1]) in (service.process.pid, *service.descendants())


def _newest(connection: Connection) -> datetime | None:
    row = connection.execute("SELECT max(time) FROM trades").fetchone()
    return row and row[0]


def _assert_takes_over(connection: Connection, heir: Service) -> None:
    eventually(lambda: _feeds(heir, connection), 10)
    before = _newest(connection)
    eventually(lambda: _newest(connection) != before)


def test_another_service_takes_over_from_a_killed_and_a_stopped_one(
    database_url: str, connection: Connection, tmp_path: Path
):
    environment = {"DATABASE_URL": database_url, **SETTINGS}
    with running(tmp_path, **environment) as (first, _), running(tmp_path, **environment) as (second, _):
        eventually(lambda: _feeds(first, connection))
        first.signal(signal.SIGKILL)
        _assert_takes_over(connection, second)
        with running(tmp_path, **environment) as (third, _):
            eventually(lambda: "another process feeds" in third.text)
            second.signal(signal.SIGTERM)
            assert second.wait() == 0
            _assert_takes_over(connection, third)


def test_one_worker_of_a_service_feeds(database_url: str, connection: Connection, tmp_path: Path):
    environment = {"DATABASE_URL": database_url, **SETTINGS}
    with running(tmp_path, "--workers", "3", **environment) as (service, _):
        eventually(lambda: service.text.count("another process feeds") == 2)
        eventually(lambda: len(_ticks(connection)) >= 10)
        ticks, log = _ticks(connection), service.text  # while the service stops, the worker that ends last may take over
    # Two feeds would tick at different times; the ticks of one feed are at least about an interval apart.
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(ticks)]
    assert min(gaps) > 0.1
    assert log.count("feeding 5 symbols") == 1


def _ticks(connection: Connection) -> list[datetime]:
    times = [row[0] for row in connection.execute("SELECT time FROM trades").fetchall()]
    assert set(Counter(times).values()) <= {5}, "a tick is stored whole or not at all"
    return sorted(set(times))


def test_a_restart_resumes_from_the_last_price(database_url: str, connection: Connection, tmp_path: Path):
    environment = {"DATABASE_URL": database_url, **SETTINGS}
    connection.execute("INSERT INTO symbols (symbol, name) VALUES ('AAPL', 'Apple')")
    connection.execute("INSERT INTO trades (time, symbol, price, volume) VALUES (now(), 'AAPL', 50, 1)")
    with running(tmp_path, **environment) as (_, client):
        eventually(lambda: client.get("/price?symbol=TSLA").status_code == 200)
        price = client.get("/price?symbol=AAPL").json()["price"]
        names = {symbol["symbol"]: symbol["name"] for symbol in client.get("/symbols").json()["symbols"]}
    assert 49 <= price <= 51
    assert sorted(names) == ["AAPL", "AMZN", "GOOGL", "MSFT", "TSLA"]
    assert names["AAPL"] == "Apple"


def test_feed_can_be_disabled(database_url: str, connection: Connection, tmp_path: Path):
    with running(tmp_path, DATABASE_URL=database_url, FEED_ENABLED="false") as (_, client):
        assert client.get("/symbols").json() == {"symbols": [], "count": 0}
        assert client.get("/health").json()["last_ingestion"] is None
    assert connection.execute("SELECT count(*) FROM leases WHERE name = 'feed'").fetchone() == (0,)


def test_rejected_trades_are_logged_once_and_retried(
    new_migrated_database: Callable[[], AbstractContextManager[str]], tmp_path: Path
):
    with new_migrated_database() as url, running(tmp_path, DATABASE_URL=url, **SETTINGS) as (service, _):
        eventually(lambda: "feeding 5 symbols" in service.text)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("""
                CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no room'; END $$
            """)
            connection.execute("CREATE TRIGGER refuse BEFORE INSERT ON trades FOR EACH ROW EXECUTE FUNCTION refuse()")
            eventually(lambda: "can't store trades, retrying: no room" in service.text)
            time.sleep(2)
            connection.execute("DROP TRIGGER refuse ON trades")
        eventually(lambda: service.text.count("feeding 5 symbols") == 2)
        assert service.text.count("can't store trades") == 1
        assert "lost the database" not in service.text
