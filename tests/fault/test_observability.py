"""Metrics and logs of a running service with several workers, and a Prometheus server that scrapes it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from helpers.service import Service, eventually, running
from helpers.websocket_client import open_websocket
from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]


def scraped(client: httpx.Client) -> dict[tuple[str, Labels], float]:
    answer = client.get("/metrics")
    return {
        (sample.name.removeprefix("market_data_"), frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(client: httpx.Client, name: str, **labels: str) -> float | None:
    return scraped(client).get((name, frozenset(labels.items())))


def lines(service: Service) -> list[dict[str, Any]]:
    return [json.loads(line) for line in service.text.splitlines() if line.startswith("{")]


def test_metrics_include_all_workers_and_survive_a_crash_of_one(database_url: str, tmp_path: Path):
    counted = {"method": "GET", "path": "/symbols", "status_code": "200"}
    with running(tmp_path, "--workers", "2", DATABASE_URL=database_url, INGESTION_INTERVAL_SECONDS="0.5") as (service, _):
        # A new connection for each request, so that both workers receive some.
        with httpx.Client(base_url=service.wait_until_ready(), headers={"Connection": "close"}, timeout=30) as client:
            for _ in range(40):
                assert client.get("/symbols").status_code == 200
            eventually(lambda: value(client, "requests_total", **counted) == 40)
            assert all(value(client, "requests_total", **counted) == 40 for _ in range(10))
            assert eventually(lambda: value(client, "trades_ingested_total"))
            eventually(lambda: value(client, "pool_connections", state="idle") == 8)
            assert value(client, "workers_replaced_total") == 0
            for victim in service.workers():
                before = service.workers()
                os.kill(victim, signal.SIGKILL)
                eventually(lambda before=before: len(service.workers()) == 2 and service.workers() != before)
                eventually(lambda: _answers(client))
            eventually(lambda: value(client, "pool_connections", state="idle") == 8)
            assert value(client, "requests_total", **counted) == 40, "counters survive"
            assert value(client, "workers_replaced_total") == 2
            eventually(lambda: value(client, "requests_in_progress") == 1)
        folder = _environment(service.workers()[0])["PROMETHEUS_MULTIPROC_DIR"]
        assert Path(folder).is_dir()
    assert not Path(folder).exists()


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def _environment(process: int) -> dict[str, str]:
    entries = Path(f"/proc/{process}/environ").read_bytes().decode().split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def test_each_request_has_one_line_and_the_feed_none(database_url: str, tmp_path: Path):
    with running(tmp_path, DATABASE_URL=database_url, INGESTION_INTERVAL_SECONDS="0.05") as (service, client):
        client.get("/symbols?key=s3cret", headers={"X-Request-ID": "this-one"})
        client.get("/health/live")
        eventually(lambda: "feeding 5 symbols" in service.text)
        time.sleep(1)
    logged = lines(service)
    assert len(logged) < 20, service.text  # the feed stores a hundred trades meanwhile
    (line,) = [line for line in logged if line.get("request_id") == "this-one"]
    assert (line["event"], line["path"], line["status"], line["client"]) == ("request", "/symbols", 400, "127.0.0.1")
    assert not [line for line in logged if line.get("path") == "/health/live"]
    assert "s3cret" not in service.text


def test_a_stream_is_logged_when_it_opens_and_closes_and_has_no_latency(database_url: str, tmp_path: Path):
    with running(tmp_path, DATABASE_URL=database_url, FEED_ENABLED="false") as (service, client):
        with client.stream("GET", "/stream") as stream:
            assert stream.headers["x-request-id"]
            events = stream.iter_lines()
            next(events)
            eventually(lambda: value(client, "stream_clients", transport="sse") == 1)
            assert value(client, "requests_in_progress") == 1, "the scrape itself"
            assert value(client, "requests_total", method="GET", path="/stream", status_code="200") == 1
        eventually(lambda: "stream closed" in service.text)
        logged = [line for line in lines(service) if "stream" in line["event"]]
        assert [line["event"] for line in logged] == ["stream opened", "stream closed"]
        assert {line["request_id"] for line in logged} == {stream.headers["x-request-id"]}
        assert value(client, "request_duration_seconds_count", method="GET", path="/stream") in (None, 0)
        assert value(client, "requests_in_progress") == 1


def test_a_websocket_is_logged_when_it_opens_and_closes(database_url: str, tmp_path: Path):
    with running(tmp_path, DATABASE_URL=database_url, FEED_ENABLED="false") as (service, client):
        with open_websocket(str(client.base_url)):
            pass
        eventually(lambda: "stream closed" in service.text)
        opened, closed = (line for line in lines(service) if line.get("path") == "/ws")
    assert (opened["event"], closed["event"]) == ("stream opened", "stream closed")
    assert "duration_ms" not in opened
    assert 0 < closed["duration_ms"] < 30_000


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[httpx.Client]:
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed: apt-get install --no-install-recommends prometheus")
    configuration = folder / "prometheus.yml"
    configuration.write_text(
        f"global: {{scrape_interval: 500ms}}\n"
        f"scrape_configs: [{{job_name: market-data, static_configs: [{{targets: ['{target}']}}]}}]\n"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    options = f"--config.file={configuration}", f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={address}"
    with (folder / "prometheus.log").open("wb") as log, subprocess.Popen([program, *options], stderr=log) as process:
        try:
            with httpx.Client(base_url=f"http://{address}") as client:
                yield client
        finally:
            process.terminate()


def test_prometheus_scrapes_the_service_without_errors(database_url: str, tmp_path: Path):
    def asked(query: str) -> list[Any]:
        try:
            return server.get("/api/v1/query", params={"query": query}).json()["data"]["result"]
        except (httpx.TransportError, ValueError, KeyError):
            return []  # it is still starting

    with running(tmp_path, "--workers", "2", DATABASE_URL=database_url) as (service, client):
        with prometheus(tmp_path, str(client.base_url).removeprefix("http://").rstrip("/")) as server:
            up = eventually(lambda: asked("up == 1"), 60)
            assert up[0]["metric"]["job"] == "market-data"
            client.get("/symbols")
            eventually(lambda: asked('market_data_requests_total{path="/symbols",status_code="200"} == 1'))
            eventually(lambda: asked("market_data_last_trade_age_seconds < 60"))
            eventually(lambda: asked('market_data_table_bytes{table="trades"} > 0'))
            eventually(
                lambda: asked("histogram_quantile(0.95, sum by (le) (market_data_request_duration_seconds_bucket)) > 0")
            )
            assert server.get("/api/v1/targets").json()["data"]["activeTargets"][0]["lastError"] == ""
        checked = subprocess.run(
            ["promtool", "check", "metrics"], input=client.get("/metrics").content, capture_output=True, check=False
        )
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
        assert not [line for line in lines(service) if line.get("path") == "/metrics"]
