"""`market-data status` of a healthy and of an unhealthy service."""

import json
from pathlib import Path

import pytest
from helpers.fake_service import PROBLEM, Reply, fake_service
from helpers.service import command, error_line, eventually, running
from helpers.support import Connection, Databases, store, trade

JSON = {"Content-Type": "application/json"}
WELCOME = Reply(json.dumps({"service": "market-data-platform", "version": "0.1.0"}), headers=JSON)
READY = Reply(json.dumps({"status": "ready", "checks": {"schema": "ok", "pool": "ok", "feed": "waiting"}}), headers=JSON)


def test_a_feeding_service_is_healthy(new_migrated_database: Databases, tmp_path: Path):
    settings = {"INGESTION_INTERVAL_SECONDS": "1"}
    with new_migrated_database() as database, running(tmp_path, DATABASE_URL=database, **settings) as (_, client):
        url = str(client.base_url).rstrip("/")
        eventually(lambda: client.get("/status/ingestion").json()["ingestion_status"] == "alive")
        ended = command("status", MARKET_DATA_URL=url)
        assert (ended.returncode, ended.stderr) == (0, "")
        lines = ended.stdout.splitlines()
        assert lines[0].startswith("market-data-platform ")
        assert lines[0].endswith(f" at {url}")
        assert lines[1].split()[:2] == ["ready", "yes"]
        assert lines[2].split()[:4] == ["ingestion", "alive", "last", "trade"]
        assert "stale after 3 s, fed by " in lines[2]
        assert lines[3].startswith("jobs ")
        assert lines[4].split()[:2] == ["stale", "0"]
        assert [line.split()[0] for line in lines[6:15]] == ["candles", "1m", "5m", "15m", "30m", "1h", "4h", "1d", "1w"]
        assert [line for line in lines if line != line.rstrip()] == []

        whole = json.loads(command("status", "--json", "--url", url).stdout)
        assert set(whole) == {"service", "ready", "ingestion"}
        assert whole["ready"] == client.get("/health/ready").json()


def test_stale_trades_exit_with_1(database_url: str, connection: Connection, tmp_path: Path):
    store(connection, trade(0, "5"))
    connection.execute("INSERT INTO leases VALUES ('feed', 'somebody', now() + INTERVAL '1 hour')")
    with running(tmp_path, DATABASE_URL=database_url, FEED_ENABLED="false") as (_, client):
        ended = command("status", "--url", str(client.base_url))
    assert ended.returncode == 1
    text = " ".join(ended.stdout.split())
    assert "ingestion stale last trade " in text
    assert "(2026-02-08 10:30:00Z), stale after 9 s, fed by somebody" in text


def test_a_disabled_feed_is_not_stale(new_migrated_database: Databases, tmp_path: Path):
    settings = {"FEED_ENABLED": "false"}
    with new_migrated_database() as database, running(tmp_path, DATABASE_URL=database, **settings) as (_, client):
        ended = command("status", "--url", str(client.base_url))
    assert ended.returncode == 0
    assert "ingestion disabled no trade yet, stale after 9 s, no feed runs" in " ".join(ended.stdout.split())


def test_a_service_without_its_database_shows_what_is_missing():
    unready = {"status": "unready", "checks": {"schema": "unknown", "pool": "unavailable", "feed": "waiting"}}
    problem = {"type": "about:blank", "title": "Service Unavailable", "status": 503, "detail": "The database is lost."}
    replies = WELCOME, Reply(json.dumps(unready), 503, JSON), Reply(json.dumps(problem), 503, PROBLEM)
    with fake_service(*replies) as service:
        ended = command("status", "--url", service.url)
    assert (ended.returncode, ended.stderr) == (1, "")
    assert ended.stdout.splitlines()[1:] == [
        "ready      no       schema: unknown, pool: unavailable, feed: waiting",
        "ingestion  unknown  The database is lost.",
    ]


@pytest.mark.parametrize("state", ["failing", "late", "postponed", "stopped"])
def test_jobs_that_fail_or_do_not_run_are_listed_and_exit_with_1(state: str):
    job = {
        "job": "refresh_candles",
        "table": None,
        "last_run": "2026-02-08T10:30:00.5Z",
        "last_status": "Failed",
        "next_run": None,
        "id": 1013,
        "state": state,
        "last_success": "2026-02-08T09:30:00.5Z",
        "seconds_since_success": 3600,
        "interval_seconds": 5,
        "failures": 40,
        "failures_in_a_row": 3,
    }
    policy = {"job": "policy_refresh_continuous_aggregate", "table": "candles_1h", "next_run": "2026-02-08T11:00:00Z"}
    ingestion = {
        "ingestion_status": "alive",
        "last_trade": "2026-02-08T10:30:00Z",
        "seconds_since_last_trade": 200,
        "open_seconds_since_last_trade": 200,
        "threshold_seconds": 9,
        "feeding_replica": None,
        "candles": [
            {"interval": "1m", "watermark": "2026-02-08T10:20:00Z", "lag_seconds": 600},
            {"interval": "1h", "watermark": None, "lag_seconds": None},
        ],
        "jobs": [job, {**job, **policy, "state": "ok"}, {**job, "job": "drop_old_trades", "state": "unused"}],
        "stale_ranges": 1234,
        "seconds_since_stale": 700,
    }
    with fake_service(WELCOME, READY, Reply(json.dumps(ingestion), headers=JSON)) as service:
        ended = command("status", "--url", service.url)
    assert ended.returncode == 1
    width = max(len("state"), len(state))
    assert ended.stdout.splitlines()[2:] == [
        "ingestion  alive   last trade 3 min ago (2026-02-08 10:30:00Z), stale after 9 s, no feed runs",
        "jobs       not ok  1 of 3; `market-data doctor` shows errors and remedies",
        "stale      1,234   ranges of candles wait for a refresh, the oldest for 11 min",
        "",
        "candles  materialized up to    behind the newest trade  next run",
        "1m       2026-02-08 10:20:00Z  10 min",
        "1h       never                                          2026-02-08 11:00:00Z",
        "",
        f"job              of  {'state':<{width}}  failures in a row  last success          next run",
        f"refresh_candles      {state:<{width}}  3                  2026-02-08 09:30:00Z  never",
    ]


def test_a_response_of_another_server_is_reported():
    with fake_service(Reply("<html>", headers={"Content-Type": "text/html"})) as service:
        assert "which is not a response of this service" in error_line("status", "--url", service.url)


def test_an_unreachable_service_is_reported_with_the_remedy():
    message = error_line("status", "--url", "http://me:s3cret@127.0.0.1:1/")
    assert "No service responds at http://127.0.0.1:1 (Connection refused); start one with `market-data serve`" in message


def test_an_invalid_url_is_rejected():
    for text in ("localhost:8000", "http://", "http://here:99999", "http://he..re", "http://he re"):
        ended = command("status", "--url", text)
        assert ended.returncode == 2
        assert "is not the URL of a service; give one such as http://127.0.0.1:8000" in ended.stderr
