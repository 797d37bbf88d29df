"""`market-data status` of a healthy and of an unhealthy service."""

import json
from pathlib import Path

from helpers.fake_service import PROBLEM, Reply, fake_service
from helpers.service import command, error_line, eventually, running
from helpers.support import Connection, store, trade

JSON = {"Content-Type": "application/json"}
WELCOME = Reply(json.dumps({"service": "market-data-platform", "version": "0.1.0"}), headers=JSON)
READY = Reply(json.dumps({"status": "ready", "checks": {"schema": "ok", "pool": "ok", "feed": "waiting"}}), headers=JSON)


def test_a_feeding_service_is_healthy(database_url: str, tmp_path: Path):
    with running(tmp_path, DATABASE_URL=database_url, INGESTION_INTERVAL_SECONDS="1") as (_, client):
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
        assert [line.split()[0] for line in lines[5:14]] == ["candles", "1m", "5m", "15m", "30m", "1h", "4h", "1d", "1w"]
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


def test_a_disabled_feed_is_not_stale(database_url: str, tmp_path: Path):
    with running(tmp_path, DATABASE_URL=database_url, FEED_ENABLED="false") as (_, client):
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


def test_failed_jobs_are_listed():
    job = {"job": "refresh_candles", "table": None, "last_run": "2026-02-08T10:30:00.5Z", "next_run": None}
    ingestion = {
        "ingestion_status": "alive",
        "last_trade": "2026-02-08T10:30:00Z",
        "seconds_since_last_trade": 200,
        "threshold_seconds": 9,
        "feeding_replica": None,
        "candles": [{"interval": "1m", "watermark": "2026-02-08T10:20:00Z", "lag_seconds": 600}],
        "jobs": [{**job, "last_status": "Failed"}, {**job, "last_status": "Success"}],
    }
    with fake_service(WELCOME, READY, Reply(json.dumps(ingestion), headers=JSON)) as service:
        ended = command("status", "--url", service.url)
    assert ended.returncode == 0
    assert ended.stdout.splitlines()[2:] == [
        "ingestion  alive   last trade 3 min ago (2026-02-08 10:30:00Z), stale after 9 s, no feed runs",
        "jobs       failed  1 of 2; see the log of the database",
        "",
        "candles  materialized up to    behind the newest trade",
        "1m       2026-02-08 10:20:00Z  10 min",
        "",
        "failed job       of  last run              next run",
        "refresh_candles      2026-02-08 10:30:00Z  never",
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
