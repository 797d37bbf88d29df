"""A database that has lost commits which the service had seen: an asynchronous standby was promoted.

`test_acknowledged_writes.py` has the loss of a primary with a synchronous standby, which loses none.
"""

from contextlib import ExitStack
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import LiteralString

import httpx
import psycopg
from helpers.api_keys import bearer, store_key
from helpers.service import Service, eventually, running
from helpers.sse_client import Event, listening
from helpers.standby import primary_and_standby
from helpers.support import SERVER, Connection, Databases, changed_url, one, store, trade
from helpers.tcp_proxy import Proxy, proxy_to
from psycopg.conninfo import conninfo_to_dict

from market_data.database import migrations

QUIET = {"FEED_ENABLED": "false", "POOL_TIMEOUT_SECONDS": "1", "QUERY_TIMEOUT_SECONDS": "1"}


def test_a_database_without_commits_that_were_published_is_reported_and_continues_above_them(
    new_migrated_database: Databases, tmp_path: Path
):
    with (
        new_migrated_database() as url,  # not the one of other tests, whose versions would jump
        psycopg.connect(url, autocommit=True) as known,
        proxy_to("127.0.0.1", int(str(conninfo_to_dict(url)["port"]))) as proxy,
        running(tmp_path, DATABASE_URL=changed_url(url, port=proxy.port), **QUIET) as (service, client),
    ):
        with listening(str(client.base_url)) as events:
            store(known, trade(0, "1"))
            store(known, trade(1, "1"))
            kept, lost = events.take(2)
            proxy.cut()
            eventually(lambda: "streams lost the database" in service.text)
            known.execute("DELETE FROM commits WHERE version > %s", (kept.key[0],))
            known.execute("UPDATE data_version SET version = %s", (kept.key[0],))
            proxy.restore()
            assert "lost the newest commits" in events.next("bye").data["reason"]
        _assert_reported(service, client, kept, lost)
        store(known, trade(2, "1"))
        assert one(known, "SELECT newest_version()") > lost.key[0] + 10**12
        _assert_gap_then_events(client, kept, lost)
        # Entity tags are derived from write ids.
        assert one(known, "SELECT max(write_id) FROM trades") > 10**9


def test_a_database_that_was_only_unavailable_is_not_reported(proxy: Proxy, proxied: str, known: Connection, tmp_path: Path):
    with (
        running(tmp_path, DATABASE_URL=proxied, **QUIET) as (service, client),
        listening(str(client.base_url)) as events,
    ):
        store(known, trade(0, "1"))
        first = events.next()
        proxy.cut()
        eventually(lambda: "streams lost the database" in service.text)
        store(known, trade(1, "1"))
        proxy.restore()
        assert first.key[0] < events.next("trade").key[0] < first.key[0] + 1000
    assert "lost commits" not in service.text


if SERVER:

    def test_an_asynchronous_standby_that_lacks_acknowledged_trades_is_reported(tmp_path: Path):
        with primary_and_standby(synchronous=False) as pair:
            migrations.upgrade(pair.url)
            key = bearer(store_key(pair.url, "write"))
            with running(tmp_path, DATABASE_URL=pair.url, **QUIET) as (service, client):
                assert client.post("/symbols", json={"symbol": "AAPL", "name": "Apple"}, headers=key).status_code == 201
                with listening(str(client.base_url)) as events:
                    bodies = [
                        {"symbol": "AAPL", "price": 100, "volume": 1, "timestamp": f"2026-02-08T10:30:0{second}Z"}
                        for second in range(4)
                    ]
                    client.post("/trades", json=bodies[0], headers=key).raise_for_status()
                    kept = events.next("trade")
                    pair.disconnect_standby()
                    for body in bodies[1:]:
                        client.post("/trades", json=body, headers=key).raise_for_status()
                    *_, lost = events.take(3)
                    pair.fail_over()
                    assert "lost the newest commits" in events.next("bye").data["reason"]
                _assert_reported(service, client, kept, lost)

                def stored_again() -> dict[str, int] | None:
                    response = client.post("/trades", json=bodies, headers=key)
                    return response.json() if response.status_code == 200 else None

                again = eventually(stored_again)
                assert (again["stored"], again["existing"]) == (3, 1)
                _assert_gap_then_events(client, kept, lost)
            with psycopg.connect(pair.url) as connection:
                assert one(connection, "SELECT newest_version()") > lost.key[0] + 10**12

    def test_feed_runs_once_and_candles_are_refreshed_after_the_promotion_of_a_standby(tmp_path: Path):
        feeding = {"INGESTION_INTERVAL_SECONDS": "0.5", "POOL_TIMEOUT_SECONDS": "1", "QUERY_TIMEOUT_SECONDS": "1"}
        with primary_and_standby(synchronous=True) as pair, ExitStack() as stack:
            migrations.upgrade(pair.url)
            for _ in range(2):
                stack.enter_context(running(tmp_path, DATABASE_URL=pair.url, **feeding))
            pair.fail_over()
            connection = stack.enter_context(psycopg.connect(pair.url, autocommit=True))
            promoted = one(connection, "SELECT clock_timestamp()")
            ticks = eventually(lambda: _ticks_since(connection, promoted, 8), 60)
            # A second feeder would store trades between those of the first one.
            assert min(later - earlier for earlier, later in pairwise(ticks)) > timedelta(seconds=0.3)
            # By the job, or by a service while the job waits because the end of its last run was not recorded.
            connection.execute(LATE)
            assert not one(connection, IS_REFRESHED)
            eventually(lambda: one(connection, IS_REFRESHED), 60)


TICKS: LiteralString = "SELECT time FROM trades WHERE symbol = 'AAPL' AND time > %s ORDER BY time"
LATE: LiteralString = """
    INSERT INTO trades (time, symbol, trade_id, price, volume) VALUES (now() - INTERVAL '2 hours', 'AAPL', 7, 5, 1)
"""
IS_REFRESHED: LiteralString = "SELECT NOT EXISTS (SELECT FROM stale_ranges)"


def _ticks_since(connection: Connection, time: datetime, number: int) -> list[datetime] | None:
    """Return the times of the trades of a symbol since a time, once there are so many."""
    rows = connection.execute(
        "SELECT time FROM trades WHERE symbol = 'AAPL' AND time > %s ORDER BY time", (time,)
    ).fetchall()
    return [tick for (tick,) in rows] if len(rows) >= number else None


def _assert_reported(service: Service, client: httpx.Client, kept: Event, lost: Event) -> None:
    eventually(lambda: "the database has lost commits" in service.text)
    assert f"version {lost.key[0]} of " in service.text
    assert f"the newest is {kept.key[0]} of " in service.text
    eventually(lambda: client.get("/health/ready").status_code == 200)
    assert "market_data_history_lost_total 1.0" in client.get("/metrics").text


def _assert_gap_then_events(client: httpx.Client, kept: Event, lost: Event) -> None:
    """Assert that clients with ids from before read again, also those whose last event was kept."""
    for last in (kept, lost):
        with listening(str(client.base_url), last.id) as events:
            assert events.next().name == "gap"
