"""OWASP API Security Top 10 (2023), items 8 to 10: configuration, inventory, data from other systems."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.service import running
from helpers.sse_client import listening
from helpers.support import Connection, create_patient_app, serving, store, trade
from helpers.write_requests import GIVEN, unchanged
from litestar.routes import HTTPRoute, WebSocketRoute
from litestar.testing import TestClient

from market_data.settings import Settings

Document = dict[str, Any]
MakeClient = Callable[[Settings], TestClient]

RANGE = "start=2026-02-08T10:00:00Z&end=2026-02-08T11:00:00Z"


@pytest.mark.parametrize(
    "host", ["", ":80", "http://127.0.0.1:1/x", "a:b", "a:65536", "[::1", "a b", "a/b?c#d", "\x7f", "a,b:1:2"]
)
def test_api8_an_invalid_host_is_400(service: TestClient, host: str):
    """Litestar would answer 500 and log a traceback."""
    for path in (f"/trades?symbol=AAPL&{RANGE}", "/nothing"):
        answer = service.get(path, headers={"Host": host})
        assert answer.status_code == 400
        assert [each["name"] for each in answer.json()["errors"]] == ["Host"]
    for other in ("a", "a:", "a_b.c-d:65535", "127.0.0.1:8000", "[::1]:80"):
        assert service.get("/nothing", headers={"Host": other}).status_code == 404


INTERNALS = ("Traceback", 'File "', "psycopg", "litestar", "uvicorn", "SELECT ", "0x")


def test_api8_errors_reveal_no_internals(writer: TestClient, two_trades: Connection):
    requests = [
        ("GET", "/nothing", {}),
        ("GET", "/trades?symbol='&start=%00&end=%ff", {}),
        ("POST", "/trades", {"content": b"\xff\xfe", "headers": {"Content-Type": "application/json"}}),
        ("POST", "/trades", {"content": b"{}", "headers": {"Content-Type": "\x7f"}}),
        ("POST", "/symbols", {"json": {"symbol": "'; DROP TABLE trades; --", "name": "x"}}),
        ("DELETE", "/trades", {}),
        ("GET", "/price/latest?symbol=NONE", {}),
    ]
    with unchanged(two_trades):
        for method, path, what in requests:
            answer = writer.request(method, path, **what)
            assert 400 <= answer.status_code < 500
            assert answer.headers["content-type"] == "application/problem+json"
            assert not [text for text in INTERNALS if text in answer.text]


def test_api8_the_defaults_are_secure(database_url: str, tmp_path: Path):
    # The environment of the tests must not weaken the defaults.
    closed = {name: "" for name in ("AUTH", "CORS_ORIGINS", "TRUSTED_PROXIES") if name in os.environ}
    with running(tmp_path, DATABASE_URL=database_url, FEED_ENABLED="false", **closed) as (_, client):
        for method, path in (("GET", "/"), ("GET", "/docs"), ("GET", "/nothing"), ("TRACE", "/"), ("OPTIONS", "/trades")):
            answer = client.request(method, path, headers={"Origin": "https://evil.example", "X-Probe": "reflected"})
            names = set(answer.headers)
            assert not names & {"server", "x-powered-by", "via", "set-cookie", "x-aspnet-version"}
            assert not [name for name in names if name.startswith("access-control-")]
            assert names >= {"x-content-type-options", "x-frame-options", "content-security-policy", "referrer-policy"}
            assert "reflected" not in answer.text
        assert client.request("TRACE", "/").status_code == 405
        assert client.post("/trades", json=GIVEN).status_code == 401


UNDOCUMENTED = {
    "/assets": "files of the pages",
    "/dashboard": "a page",
    "/docs": "a page",
    "/redoc": "a page",
    "/openapi.json": "the document itself",
    "/schema": "the document itself, and Litestar's 404",
    "/ws": "a WebSocket, which OpenAPI cannot describe; see /stream",
}


def test_api9_every_route_is_documented_or_listed_here_with_a_reason(service: TestClient, document: Document):
    routes = {
        route.path_format if isinstance(route, HTTPRoute) else route.path
        for route in create_patient_app(
            Settings(database_url="postgresql:///nowhere", feed_enabled=False, compatibility="none")
        ).routes
        if isinstance(route, HTTPRoute | WebSocketRoute)
    }
    others = {re.sub(r"^(/assets|/schema)/.*", r"\1", route) for route in routes - set(document["paths"])}
    assert others == set(UNDOCUMENTED)
    assert set(document["paths"]) <= routes


COMMON_PATHS = """
    /debug /admin /console /graphql /swagger.json /api /v1/trades /internal /.env /.git/config /server-status
    /actuator/health /phpinfo.php /robots.txt /keys /backup /docs/oauth2-redirect.html
"""


@pytest.mark.parametrize("path", COMMON_PATHS.split())
def test_api9_common_paths_of_other_software_do_not_exist(service: TestClient, path: str):
    for method in ("GET", "POST"):
        assert service.request(method, path).status_code in {404, 405}


@pytest.fixture(scope="module")
def address(settings: Settings) -> Iterator[str]:
    with serving(create_patient_app(settings)) as address:
        yield address


def test_api10_the_payload_of_a_notification_is_ignored(address: str, two_trades: Connection):
    with listening(address, symbols="AAPL", channels="trades") as events:
        for payload in ("", "garbage", "-1", "9" * 7000, '{"event":"trade","data":{"price":1}}', "\r\nevent: trade\r\n\r\n"):
            two_trades.execute("SELECT pg_notify('market_data_stream', %s)", (payload,))
        store(two_trades, trade(1, "7"))
        (event,) = events.take(1)
        while event.data["price"] == 1.5:  # the trades before, if the hub has not got to them yet
            (event,) = events.take(1)
        assert (event.name, event.data["price"]) == ("trade", 7)


def test_api10_text_from_the_database_is_escaped(client: TestClient, two_trades: Connection):
    name = "</script><script>alert(1)</script>\u2028\r\nX-Injected: 1"
    two_trades.execute("UPDATE symbols SET name = %s", (name,))
    answer = client.get("/symbols")
    assert answer.json()["symbols"][0]["name"] == name
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "x-injected" not in answer.headers
