"""`GET /metrics` of one process."""

import asyncio
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any, cast

import msgspec
import psycopg
import pytest
from helpers.scraping import scraped, value
from helpers.service import eventually
from helpers.support import SERVER, Connection, one, store, trade
from litestar.datastructures import State
from litestar.testing import TestClient

from market_data.database import metrics_collector
from market_data.middleware import wrap
from market_data.settings import Settings
from market_data.telemetry import metrics
from market_data.telemetry.request_log import RequestLog

MakeClient = Callable[[Settings], TestClient]


def test_promtool_accepts_the_metrics(client: TestClient):
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed: apt-get install --no-install-recommends prometheus")
    client.get("/nothing")
    answer = client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    checked = subprocess.run(["promtool", "check", "metrics"], input=answer.content, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_requests_are_counted_by_route_and_status(client: TestClient):
    def count(**labels: str) -> float:
        return value(client, "requests_total", **labels) or 0

    def timed(path: str) -> float:
        return value(client, "request_duration_seconds_count", method="GET", path=path) or 0

    kinds = [
        {"method": "GET", "path": "/symbols", "status_code": "200"},
        {"method": "GET", "path": "/trades", "status_code": "400"},
        {"method": "GET", "path": "unknown", "status_code": "404"},
        {"method": "unknown", "path": "unknown", "status_code": "405"},
    ]
    before = [count(**kind) for kind in kinds], timed("/symbols")
    client.get("/symbols")
    client.get("/trades")
    for path in ("/nothing", "/a/b/c", "/candles/AAPL"):
        client.get(path)
    client.request("BREW", "/symbols")
    assert [count(**kind) for kind in kinds] == [before[0][0] + 1, before[0][1] + 1, before[0][2] + 3, before[0][3] + 1]
    assert timed("/symbols") == before[1] + 1
    assert value(client, "requests_in_progress") == 1, "the scrape itself"
    known = {dict(labels).get("path") for _, labels in scraped(client)}
    assert not known & {"/nothing", "/a/b/c", "/candles/AAPL"}


def test_the_age_of_the_newest_trade_is_current(client: TestClient, connection: Connection):
    now = datetime.now(UTC)
    store(connection, (now - timedelta(seconds=100), *trade(0, "1")[1:]))
    age = value(client, "last_trade_age_seconds")
    assert age is not None
    assert 100 <= age < 110
    time.sleep(0.2)
    assert (value(client, "last_trade_age_seconds") or 0) >= age + 0.2
    connection.execute("INSERT INTO trades (time, symbol, price, volume) VALUES (now(), 'AAPL', 1, 1)")
    assert (value(client, "last_trade_age_seconds") or 100) < 10


def test_the_database_is_sampled(settings: Settings, make_client: MakeClient, connection: Connection):
    store(connection, trade(0, "1"), trade(-90 * 86_400, "1"))
    with make_client(settings) as client:
        deadline = time.monotonic() + 30
        while value(client, "table_bytes", table="candles_1w") is None:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert value(client, "table_chunks", table="trades") == 2
        assert (value(client, "table_bytes", table="trades") or 0) > 16_384
        assert value(client, "table_chunks", table="candles_1m") == 0
        assert value(client, "pool_connections", state="idle") == 4
        assert value(client, "pool_connections", state="in_use") == 0
        assert value(client, "pool_waiting") == 0


def test_jobs_are_sampled_with_the_time_since_their_last_success(
    settings: Settings, make_client: MakeClient, connection: Connection, caplog: pytest.LogCaptureFixture
):
    def job(procedure: str, table: str) -> dict[str, str]:
        query = "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = %s AND coalesce(hypertable_name, '') = %s"
        return {"job_id": str(one(connection, query, procedure, table)), "procedure": procedure, "table": table}

    def run(job: dict[str, str], *, succeeded: str, failures: int) -> None:
        connection.execute(
            "SELECT alter_job(%s, scheduled => true, next_start => now() + INTERVAL '1 hour')", (job["job_id"],)
        )
        connection.execute(RUN, {"job": job["job_id"], "succeeded": succeeded, "failures": failures})

    good, bad = job("policy_compression", "candles_1m"), job("policy_compression", "candles_5m")
    unused = job("drop_old_trades", "")
    run(good, succeeded=str(datetime.now(UTC) - timedelta(minutes=10)), failures=0)
    run(bad, succeeded="-infinity", failures=3)
    try:
        with make_client(settings) as client:
            eventually(lambda: value(client, "job_failures_total", **good) == 0)
            assert 600 <= (value(client, "job_last_success_age_seconds", **good) or 0) < 660
            assert value(client, "job_failures_total", **bad) == 3
            assert value(client, "job_last_success_age_seconds", **bad) == inf
            assert value(client, "job_interval_seconds", **bad) == 3600
            assert value(client, "job_last_success_age_seconds", **unused) is None, "there is no retention"
        assert "jobs of the database fail: policy_compression of candles_5m; `market-data doctor`" in caplog.text
    finally:
        connection.execute("SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs")


def test_stale_ranges_are_sampled_with_the_age_of_the_oldest(
    settings: Settings, make_client: MakeClient, connection: Connection
):
    connection.execute("""
        INSERT INTO stale_ranges (since, until, write_id, created_at)
        SELECT now(), now(), 0, now() - minute * INTERVAL '1 minute' FROM unnest(ARRAY[7, 9, 2]) AS minute
    """)
    with make_client(settings) as client:
        eventually(lambda: value(client, "stale_ranges") == 3)
        assert 540 <= (value(client, "stale_range_age_seconds") or 0) < 600


RUN = """
    INSERT INTO _timescaledb_internal.bgw_job_stat AS stat (
        job_id, last_start, last_finish, next_start, last_successful_finish, last_run_success, total_runs, total_duration,
        total_duration_failures, total_successes, total_failures, total_crashes, consecutive_failures, consecutive_crashes
    )
    VALUES (
        %(job)s, now(), now(), now() + INTERVAL '1 hour', %(succeeded)s, %(failures)s = 0, 9, '0', '0', 1, %(failures)s, 0,
        %(failures)s, 0
    )
    ON CONFLICT (job_id) DO UPDATE SET
        last_start = excluded.last_start, last_finish = excluded.last_finish, next_start = excluded.next_start,
        last_successful_finish = excluded.last_successful_finish, last_run_success = excluded.last_run_success,
        total_failures = excluded.total_failures, consecutive_failures = excluded.consecutive_failures
"""


if SERVER:
    SCHEDULER = """
        SELECT pid
        FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'TimescaleDB Background Worker Scheduler'
    """

    def test_the_job_scheduler_is_restarted_if_it_has_ended(
        settings: Settings,
        make_client: MakeClient,
        new_migrated_database: Callable[[], AbstractContextManager[str]],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ):
        monkeypatch.setattr(metrics_collector, "SAMPLE_SECONDS", 0.1)
        with new_migrated_database() as url, psycopg.connect(url, autocommit=True) as connection:
            ((ended,),) = eventually(lambda: connection.execute(SCHEDULER).fetchall())
            with make_client(msgspec.structs.replace(settings, database_url=url)):
                connection.execute("SELECT pg_terminate_backend(%s)", (ended,))
                eventually(lambda: connection.execute(SCHEDULER).fetchall() not in ([], [(ended,)]))
                eventually(lambda: "was started again" in caplog.text)
                log = caplog.text
                time.sleep(1)
                assert caplog.text.count("was started again") == log.count("was started again")


def test_without_a_database_the_other_metrics_are_current_and_nothing_is_stale(
    settings: Settings, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
):
    nowhere = msgspec.structs.replace(settings, database_url="postgresql://u:s3cret@127.0.0.1:9/there")
    with make_client(nowhere) as client:
        seen = client.app.state.services.database_metrics
        seen._levels, seen._sampled_at = [metrics_collector.LevelStatus("1m", datetime.now(UTC), 5.0)], time.monotonic()
        assert value(client, "watermark_lag_seconds", interval="1m") == 5
        start = time.monotonic()
        assert value(client, "requests_in_progress") == 1
        assert time.monotonic() - start < 2
        monkeypatch.setattr(metrics_collector, "SAMPLE_SECONDS", 0.001)
        assert value(client, "watermark_lag_seconds", interval="1m") is None
        assert value(client, "last_trade_age_seconds") is None


def test_a_request_whose_client_leaves_before_the_response_counts_as_499(client: TestClient):
    async def ends_without_a_response(*_: object) -> None:
        pass

    async def send_request() -> None:
        log = RequestLog()
        scope: Any = {
            "type": "http",
            "http_version": "1.0",
            "method": "GET",
            "path": "/symbols",
            "headers": [],
            "client": None,
        }
        scope |= {"raw_path": b"/symbols", "query_string": b"", "state": {}}
        app = wrap(ends_without_a_response, Settings(), State(), (), log)
        await app(scope, cast("Any", None), cast("Any", None))
        log.flush()

    before = value(client, "requests_total", method="GET", path="unknown", status_code="499") or 0
    asyncio.run(send_request())
    assert value(client, "requests_total", method="GET", path="unknown", status_code="499") == before + 1
    assert value(client, "requests_in_progress") == 1


def test_metrics_have_the_names_that_dashboards_use(client: TestClient):
    names = {name for name, _ in scraped(client)}
    assert {
        "market_data_requests_in_progress",
        "market_data_pool_waiting",
        "market_data_trades_ingested_total",
        "market_data_feed_errors_total",
        "market_data_stream_clients",
        "market_data_stream_dropped_total",
        "market_data_workers_replaced_total",
    } <= names
    assert not names & {"market_data_replica_used", "market_data_replica_lag_bytes"}, "there is no replica"
    assert not metrics.shared()
