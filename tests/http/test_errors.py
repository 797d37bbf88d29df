"""One error shape on every path."""

import logging
from collections.abc import Iterator
from http import HTTPStatus

import httpx
import pytest
from helpers.support import Connection, store, trade
from litestar import Litestar
from litestar.testing import TestClient

PATHS = [
    "/",
    "/health",
    "/health/live",
    "/health/ready",
    "/status/ingestion",
    "/status/audit",
    "/candles/explain",
    "/candles/revised",
    "/revisions",
    "/log/key",
    "/log/checkpoint",
    "/log/tile/{tile:path}",
    "/log/proof",
    "/metrics",
    "/symbols",
    "/symbols/{symbol:str}",
    "/calendars",
    "/calendars/{code:str}/sessions",
    "/market/status",
    "/symbols/{symbol:str}/rename",
    "/symbols/{symbol:str}/actions",
    "/symbols/{symbol:str}/actions/correct",
    "/symbols/{symbol:str}/actions/cancel",
    "/symbols/{symbol:str}/actions/changes",
    "/price",
    "/price/latest",
    "/prices/latest",
    "/snapshots",
    "/trades",
    "/trades/cancel",
    "/trades/correct",
    "/trades/changes",
    "/candles",
    "/stream",
    "/ws",
    "/dashboard",
    "/docs",
    "/redoc",
    "/schema/openapi.json",
    "/openapi.json",
    "/assets/swagger-ui-bundle.js",
    "/assets/front_page.css",
]
WRITABLE = {
    "/symbols": "POST",
    "/symbols/{symbol:str}": "PATCH",
    "/symbols/{symbol:str}/rename": "POST",
    "/symbols/{symbol:str}/actions": "POST",
    "/symbols/{symbol:str}/actions/correct": "POST",
    "/symbols/{symbol:str}/actions/cancel": "POST",
    "/trades": "POST",
    "/trades/cancel": "POST",
    "/trades/correct": "POST",
}
ONLY_WRITABLE = (
    "/trades/cancel",
    "/trades/correct",
    "/symbols/{symbol:str}/rename",
    "/symbols/{symbol:str}/actions/correct",
    "/symbols/{symbol:str}/actions/cancel",
)
RANGE = "start=2026-02-08T10:00:00Z&end=2026-02-08T11:00:00Z"


def assert_problem(response: httpx.Response, status: int) -> str:
    """Assert that a response is a problem with this status, and return its detail."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["request_id"] == response.headers["x-request-id"]
    assert body.keys() == {"type", "title", "status", "detail", "request_id"} | ({"errors"} if status == 400 else set())
    assert (body["type"], body["title"], body["status"]) == ("about:blank", HTTPStatus(status).phrase, status)
    assert body["detail"]
    assert body["detail"] not in (HTTPStatus(status).phrase, "Not Found")
    return body["detail"]


def test_these_tests_cover_all_paths(service: TestClient):
    assert isinstance(service.app, Litestar)
    known = {route.path for route in service.app.routes}
    assert {path for path in known if not path.startswith(("/assets/", "/schema"))} == {
        path for path in PATHS if not path.startswith(("/assets/", "/schema"))
    }


@pytest.mark.parametrize(
    ("path", "method"),
    [
        (path, method)
        for path in PATHS
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW")
        if method != WRITABLE.get(path, "GET") and (method != "GET" or path in ONLY_WRITABLE)
    ],
)
def test_other_methods_are_405_with_the_allowed_ones(service: TestClient, path: str, method: str):
    address = path.replace("{symbol:str}", "AAPL").replace("{code:str}", "XNYS")
    response = service.request(method, address, content=b"{broken", headers={"content-type": "application/json"})
    assert method in assert_problem(response, 405)
    allowed = set(response.headers["allow"].split(", ")) - {"HEAD", "OPTIONS", "websocket"}
    assert allowed == ({"GET"} if path not in ONLY_WRITABLE else set()) | {WRITABLE.get(path, "GET")}


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/Symbols",
        "/price/AAPL",
        "/trades/1",
        "/schema/x",
        "/schema/openapi.yaml",
        "/schema/x/y",
        "/docs/x",
        "/redoc/x",
        "/assets",
        "/assets/",
        "/assets/nothing.js",
        "/assets/no/thing.js",
        "/assets/%2e%2e/%2e%2e/etc/passwd",
        "/assets/..%2f..%2fetc%2fpasswd",
        "/assets//etc/passwd",
        "/assets/%00",
        "/assets/" + "a" * 300,
        "/favicon.ico",
        "/%00",
        "/%ff",
        "/" + "a" * 5000,
        "/a/" * 50,
    ],
)
def test_unknown_path_is_404(service: TestClient, path: str):
    assert_problem(service.get(path), 404)


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/assets/swagger-ui-bundle.js"])
def test_pages_and_scripts_exist(service: TestClient, path: str):
    response = service.get(path)
    assert response.status_code == 200
    assert "html" in response.headers["content-type"] or "javascript" in response.headers["content-type"]


@pytest.mark.parametrize("path", ["/price", "/price/latest", f"/trades?{RANGE}", f"/candles?{RANGE}&interval=1m"])
def test_unknown_symbol_is_404(client: TestClient, connection: Connection, path: str):
    store(connection, trade(0, "1"))
    detail = assert_problem(client.get(f"{path}{'&' if '?' in path else '?'}symbol=acme"), 404)
    assert detail == "There is no symbol ACME; GET /symbols lists the known ones."


@pytest.mark.parametrize(
    "more", ["fill=null", "fill=previous", "format=csv", "format=arrow", "order=desc&fill=null&format=csv"]
)
def test_unknown_symbol_is_404_in_every_format(service: TestClient, more: str):
    response = service.get(f"/candles?symbol=acme&interval=1h&{RANGE}&{more}")
    assert assert_problem(response, 404) == "There is no symbol ACME; GET /symbols lists the known ones."


def test_unknown_symbol_is_404_on_a_later_page_as_well(client: TestClient, connection: Connection):
    store(connection, trade(0, "1"), trade(1, "1"))
    first = client.get(f"/trades?symbol=AAPL&limit=1&{RANGE}")
    connection.execute("DELETE FROM trades")
    connection.execute("DELETE FROM symbols")
    assert_problem(client.get(first.links["next"]["url"]), 404)


@pytest.mark.parametrize("path", ["/price", "/price/latest", "/trades", "/candles"])
def test_bad_parameters_are_400(service: TestClient, path: str):
    assert_problem(service.get(path), 400)


@pytest.fixture
def renamed_tables(connection: Connection) -> Iterator[None]:
    """Rename tables, so that queries fail unexpectedly."""
    for table in ("symbols", "latest_trades"):
        connection.execute(f"ALTER TABLE {table} RENAME TO {table}_elsewhere".encode())
    yield
    for table in ("symbols", "latest_trades"):
        connection.execute(f"ALTER TABLE {table}_elsewhere RENAME TO {table}".encode())


@pytest.mark.parametrize(
    "path",
    [
        "/symbols",
        "/health",
        "/price?symbol=ACME",
        "/price/latest?symbol=ACME",
        "/prices/latest?symbols=ACME",
        "/snapshots?symbols=ACME",
        f"/trades?symbol=ACME&{RANGE}",
        f"/candles?symbol=ACME&{RANGE}&interval=1m",
    ],
)
@pytest.mark.usefixtures("renamed_tables")
def test_an_unexpected_error_is_500_with_its_traceback_only_in_the_log(
    client: TestClient, caplog: pytest.LogCaptureFixture, path: str
):
    with caplog.at_level(logging.ERROR, "market_data"):
        response = client.get(path)
    assert assert_problem(response, 500) == "The service failed unexpectedly; its log has the cause."
    (record,) = caplog.records
    assert record.getMessage() == f"GET {path.partition('?')[0]} failed"
    assert "UndefinedTable" in caplog.text
    assert "Traceback" in caplog.text
