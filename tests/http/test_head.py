"""HEAD on every path that has GET."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from helpers.api_keys import bearer
from helpers.raw_http import exchange
from helpers.service import eventually
from helpers.support import Connection, create_patient_app, serving
from litestar.routes import HTTPRoute

from market_data.api.docs import SCRIPTS
from market_data.queries import candles as candle_queries
from market_data.queries import trades as trade_queries
from market_data.settings import Settings

RANGE = "start=2026-02-08T10:00:00Z&end=2026-02-08T11:00:00Z"
QUERIES = {
    "/price": "symbol=AAPL",
    "/price/latest": "symbol=AAPL",
    "/trades": f"symbol=AAPL&{RANGE}",
    "/candles": f"symbol=AAPL&interval=1m&{RANGE}",
}
VARYING = {"date", "x-request-id"}
"""Headers that differ between two responses."""


@pytest.fixture(scope="module")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("node_modules")
    for script in SCRIPTS.values():
        (folder / script).parent.mkdir(parents=True, exist_ok=True)
        (folder / script).write_text("// a script " * 1000)
    return folder


@pytest.fixture(scope="module")
def settings(session_database: str, assets: Path) -> Settings:
    return Settings(
        database_url=session_database, feed_enabled=False, docs_assets=str(assets), cors_origins="https://a.example"
    )


@pytest.fixture
def client(address: str, two_trades: Connection) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=30) as client:
        yield client


def readable(settings: Settings) -> list[str]:
    """Return the paths that have GET and end by themselves, with their queries."""
    routes = [
        route for route in create_patient_app(settings).routes if isinstance(route, HTTPRoute) and "GET" in route.methods
    ]
    paths = {
        route.path.replace("{path:path}", "openapi.json").replace("{symbol:str}", "AAPL").replace("{code:str}", "24/7")
        for route in routes
    }
    assert len(paths) > 50
    return [f"{path}?{QUERIES.get(path, '')}".rstrip("?") for path in sorted(paths - {"/stream"})]


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_head_has_the_status_and_headers_of_get_and_no_body(client: httpx.Client, settings: Settings, encoding: str):
    for path in readable(settings):
        # A client of its own, or it could get a body of the test before.
        headers = {"Accept-Encoding": encoding, "User-Agent": encoding}
        got, head = client.get(path, headers=headers), client.head(path, headers=headers)
        assert (head.status_code, head.content) == (got.status_code, b""), path
        volatile = set(VARYING)
        if got.content != client.get(path, headers=headers).content:  # it has the time, or counts requests
            volatile.add("content-length")
        if "etag" in head.headers and "etag" not in got.headers:  # HEAD has read the whole body, for byte ranges
            volatile |= {"accept-ranges", "etag", "vary"}
        kept, expected = (
            {(name, value) for name, value in answer.headers.multi_items() if name not in volatile} for answer in (head, got)
        )
        assert kept == expected, path


@pytest.mark.parametrize("form", ["csv", "arrow"])
def test_head_of_a_whole_range_has_its_length(
    client: httpx.Client, connection: Connection, monkeypatch: pytest.MonkeyPatch, form: str
):
    connection.execute("""
        INSERT INTO trades (time, symbol, trade_id, price, volume)
        SELECT '2026-02-08T10:00:00Z'::timestamptz + n * INTERVAL '10 milliseconds', 'AAPL', n, 1, 1
        FROM generate_series(1, 50000) AS n
    """)
    pages: list[int] = []
    for queries in (trade_queries, candle_queries):
        monkeypatch.setattr(queries, "page_from_rows", counting(queries.page_from_rows, pages))
    client.headers["Accept-Encoding"] = "identity"
    whole = client.get(f"/trades?symbol=AAPL&{RANGE}&format={form}")
    assert len(pages) == 3
    for _ in range(2):  # both share the body
        head = client.head(f"/trades?symbol=AAPL&{RANGE}&format={form}")
        assert (head.status_code, head.headers["content-type"]) == (200, whole.headers["content-type"])
        assert (head.content, int(head.headers["content-length"])) == (b"", len(whole.content))
        assert len(pages) == 6


def counting(function: Callable[..., Any], calls: list[int]) -> Callable[..., Any]:
    def counted(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        return function(*arguments, **named)

    return counted


def test_head_of_the_stream_starts_none(client: httpx.Client):
    head = client.head("/stream?symbols=AAPL")
    assert (head.status_code, head.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert "content-length" not in head.headers
    metrics = client.get("/metrics").text
    assert 'market_data_stream_clients{transport="sse"} 0.0' in metrics
    assert 'market_data_requests_total{method="HEAD",path="/stream",status_code="200"} 1.0' in metrics
    assert 'market_data_request_duration_seconds_count{method="HEAD",path="/stream"} 1.0' in metrics
    assert client.head("/stream?symbols=NONE").status_code == 404


def test_the_connection_stays_usable_after_head(address: str, two_trades: Connection):
    second = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    for path in ("/candles?symbol=AAPL&interval=1m&" + RANGE, "/trades?symbol=AAPL", "/nothing", "/stream"):
        received = exchange(address, f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() + second)
        first, rest = received.split(b"\r\n\r\n", 1)
        assert b"transfer-encoding" not in first.lower()
        assert rest.startswith(b"HTTP/1.1 200 OK\r\n"), path


def test_allow_lists_head_where_it_lists_get(client: httpx.Client):
    for path, methods in (
        ("/trades", {"GET", "HEAD", "OPTIONS", "POST"}),
        ("/symbols", {"GET", "HEAD", "OPTIONS", "POST"}),
        ("/candles", {"GET", "HEAD", "OPTIONS"}),
        ("/dashboard", {"GET", "HEAD", "OPTIONS"}),
        ("/trades/cancel", {"OPTIONS", "POST"}),
    ):
        answers = [client.options(path), client.put(path)]
        assert [answer.status_code for answer in answers] == [204, 405]
        assert [set(answer.headers["allow"].split(", ")) for answer in answers] == [methods, methods]
        assert (client.head(path).status_code == 405) == ("GET" not in methods)


def test_pages_of_other_origins_may_send_head(client: httpx.Client):
    headers = {"Origin": "https://a.example", "Access-Control-Request-Method": "HEAD"}
    assert "HEAD" in client.options("/candles", headers=headers).headers["access-control-allow-methods"].split(", ")
    assert client.head("/symbols", headers=headers).headers["access-control-allow-origin"] == "https://a.example"


def test_keys_and_the_rate_limit_count_for_head_as_for_get(settings: Settings, keys: dict[str, str]):
    limited = msgspec.structs.replace(settings, auth="required", rate_limit=4)
    with serving(create_patient_app(limited)) as base, httpx.Client(base_url=base) as client:
        assert [client.head("/symbols", headers=bearer(key)).status_code for key in ("md_wrong", keys["read"])] == [401, 200]
        assert client.head("/trades/changes", headers=bearer(keys["read"])).status_code == 403
        assert [client.head("/symbols").status_code for _ in range(5)] == [401, 401, 401, 429, 429]


def test_head_is_logged_and_counted_as_head(client: httpx.Client):
    client.head("/symbols")
    line = 'market_data_requests_total{method="HEAD",path="/symbols",status_code="200"}'
    assert eventually(lambda: line in client.get("/metrics").text)


def test_curl_shows_the_headers(address: str):
    shown = subprocess.run(["curl", "-sSI", f"{address}/symbols"], capture_output=True, text=True, check=True).stdout
    assert shown.startswith("HTTP/1.1 200 OK")
    assert "content-length:" in shown
