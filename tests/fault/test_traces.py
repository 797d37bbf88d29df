"""Traces that a collector receives from a running service."""

import json
import socket
import subprocess
import sys
from pathlib import Path

from helpers.service import eventually, running
from helpers.support import Connection, store, trade
from helpers.trace_collector import attributes, running_collector

RANGE = "start=2026-02-08T10:00:00Z&end=2026-02-08T11:00:00Z"


def test_a_request_and_its_statements_are_one_trace(database_url: str, connection: Connection, tmp_path: Path):
    store(connection, trade(0, "1"))
    with running_collector() as collector:
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        with running(tmp_path, DATABASE_URL=database_url, FEED_ENABLED="false", **settings) as (service, client):
            path = f"/trades?symbol=AAPL&{RANGE}&format=json"
            assert client.get(path, headers={"X-Request-ID": "this-one"}).status_code == 200
            assert client.get("/s3cret?key=s3cret").status_code == 404
            assert client.get("/md_01234567_K3yInAPath").status_code == 404
            request = eventually(lambda: collector.named("GET /trades"))[0]
            statements = eventually(lambda: [span for span in collector.spans if span.parent_span_id == request.span_id])
        lines = [json.loads(line) for line in service.text.splitlines() if line.startswith("{")]
    (line,) = [line for line in lines if line.get("request_id") == "this-one"]
    assert line["trace_id"] == request.trace_id.hex()
    assert {span.trace_id for span in statements} == {request.trace_id}
    assert any("FROM trades" in attributes(span)["db.statement"] for span in statements)
    assert attributes(request)["http.route"] == "/trades"
    # Spans have neither parameters of statements nor query strings.
    assert not any("AAPL" in str(span) for span in collector.spans)
    assert b"key=" not in collector.bodies
    assert b"K3yInAPath" not in collector.bodies
    assert "K3yInAPath" not in service.text
    assert "/md_01234567_***" in service.text
    assert collector.named("GET unknown"), "requests that the router rejects have a span too"
    assert all(span.parent_span_id for span in collector.spans if span.name == "SELECT"), "spans of requests only"


def test_the_last_spans_are_sent_when_the_service_stops(database_url: str, tmp_path: Path):
    with running_collector() as collector:
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "600000"}
        with running(tmp_path, DATABASE_URL=database_url, FEED_ENABLED="false", **settings) as (service, client):
            assert client.get("/symbols").status_code == 200
            service.process.terminate()
            assert service.wait(10) == 0
    assert collector.named("GET /symbols")


def test_a_collector_that_hangs_does_not_delay_the_stop(database_url: str, tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "600",
        }
        with running(tmp_path, DATABASE_URL=database_url, FEED_ENABLED="false", **settings) as (service, client):
            assert client.get("/symbols").status_code == 200
            service.process.terminate()
            assert service.wait(10) == 0


def test_an_unreachable_collector_delays_nothing(database_url: str, tmp_path: Path):
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_BSP_SCHEDULE_DELAY": "100"}
    with running(tmp_path, DATABASE_URL=database_url, FEED_ENABLED="false", **settings) as (service, client):
        assert client.get("/symbols").status_code == 200
        service.process.terminate()
        assert service.wait(10) == 0


def test_opentelemetry_is_not_set_up_while_traces_are_off(database_url: str):
    # Litestar imports the API and the ASGI middleware if they are installed, so the test looks for the other parts.
    program = (
        "import sys; from market_data.app import create_app; create_app();"
        "parts = 'sdk', 'exporter', 'instrumentation.psycopg', 'instrumentation.dbapi';"
        "print([name for name in sys.modules if name.startswith(tuple(f'opentelemetry.{part}' for part in parts))])"
    )
    environment = {"DATABASE_URL": database_url, "PATH": "/usr/bin:/bin"}
    ended = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"
    blocked = "import sys; sys.modules['opentelemetry'] = None; " + program.partition("; ")[2]
    subprocess.run([sys.executable, "-c", blocked], env=environment, capture_output=True, text=True, check=True)
