"""`market-data status`: of a running service, and of one that is not well."""

import json
from pathlib import Path

from helpers.fake_service import PROBLEM, Reply, scripted
from helpers.service import command, complaint, eventually, running
from helpers.support import Connection, store, trade

JSON = {"Content-Type": "application/json"}
WELCOME = Reply(json.dumps({"service": "market-data-platform", "version": "0.1.0"}), headers=JSON)
READY = Reply(json.dumps({"status": "ready", "checks": {"schema": "ok", "pool": "ok", "feed": "waiting"}}), headers=JSON)


def test_a_service_that_feeds_is_well(database_url: str, tmp_path: Path):
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


def test_stale_trades_are_a_failure(database_url: str, connection: Connection, tmp_path: Path):
    store(connection, trade(0, "5"))
    connection.execute("INSERT INTO leases VALUES ('feed', 'somebody', now() + INTERVAL '1 hour')")
    with running(tmp_path, DATABASE_URL=database_url, FEED_ENABLED="false") as (_, client):
        ended = command("status", "--url", str(client.base_url))
    assert ended.returncode == 1
    told = " ".join(ended.stdout.split())
    assert "ingestion stale last trade " in told
    assert "(2026-02-08 10:30:00Z), stale after 9 s, fed by somebody" in told


def test_a_feed_that_is_off_is_none(database_url: str, tmp_path: Path):
    with running(tmp_path, DATABASE_URL=database_url, FEED_ENABLED="false") as (_, client):
        ended = command("status", "--url", str(client.base_url))
    assert ended.returncode == 0
    assert "ingestion disabled no trade yet, stale after 9 s, no feed runs" in " ".join(ended.stdout.split())


def test_a_service_without_its_database_says_what_is_missing():
    unready = {"status": "unready", "checks": {"schema": "unknown", "pool": "unavailable", "feed": "waiting"}}
    problem = {"type": "about:blank", "title": "Service Unavailable", "status": 503, "detail": "The database is lost."}
    replies = WELCOME, Reply(json.dumps(unready), 503, JSON), Reply(json.dumps(problem), 503, PROBLEM)
    with scripted(*replies) as server:
        ended = command("status", "--url", server.url)
    assert (ended.returncode, ended.stderr) == (1, "")
    assert ended.stdout.splitlines()[1:] == [
        "ready      no       schema: unknown, pool: unavailable, feed: waiting",
        "ingestion  unknown  The database is lost.",
    ]


def test_jobs_that_failed_are_named():
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
    with scripted(WELCOME, READY, Reply(json.dumps(ingestion), headers=JSON)) as server:
        ended = command("status", "--url", server.url)
    assert ended.returncode == 0
    assert ended.stdout.splitlines()[2:] == [
        "ingestion  alive   last trade 3 min ago (2026-02-08 10:30:00Z), stale after 9 s, no feed runs",
        "jobs       failed  1 of 2; the database's log says why",
        "",
        "candles  materialized up to    behind the newest trade",
        "1m       2026-02-08 10:20:00Z  10 min",
        "",
        "failed job       of  last run              next run",
        "refresh_candles      2026-02-08 10:30:00Z  never",
    ]


def test_something_else_that_answers_is_told_from_the_service():
    with scripted(Reply("<html>", headers={"Content-Type": "text/html"})) as server:
        assert "is that this service?" in complaint("status", "--url", server.url)


def test_where_nothing_answers_the_remedy_is_told():
    told = complaint("status", "--url", "http://me:s3cret@127.0.0.1:1/")
    assert "Nothing answers at http://127.0.0.1:1 (Connection refused); start the service with `market-data serve`" in told


def test_an_address_that_is_none_is_refused_before_it_is_asked():
    for text in ("localhost:8000", "http://", "http://here:99999", "http://he..re", "http://he re"):
        ended = command("status", "--url", text)
        assert ended.returncode == 2
        assert "is no address of a service; give one such as http://127.0.0.1:8000" in ended.stderr
