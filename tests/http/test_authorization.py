"""Access to each path with each kind of key. The paths are those of the application, so that the test covers all."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest
from helpers.api_keys import bearer, store_key
from helpers.support import create_patient_app, serving
from litestar.routes import HTTPRoute, WebSocketRoute
from litestar.testing import TestClient
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from market_data.auth.api_keys import generate_key
from market_data.settings import Settings

ALWAYS_OPEN = {"/", "/health", "/health/live", "/health/ready", "/docs", "/redoc", "/openapi.json", "/dashboard"}
ALWAYS_OPEN_BELOW = ("/assets/", "/schema")
UNKNOWN = "/schema/{path}"
"""Litestar's route for unknown paths."""
SCOPES = {
    ("POST", "/trades"): "write",
    ("POST", "/trades/cancel"): "write",
    ("POST", "/trades/correct"): "write",
    ("GET", "/trades/changes"): "admin",
    ("POST", "/symbols"): "write",
    ("PATCH", "/symbols/{symbol}"): "write",
    ("POST", "/symbols/{symbol}/rename"): "write",
    ("POST", "/symbols/{symbol}/actions"): "write",
    ("POST", "/symbols/{symbol}/actions/correct"): "write",
    ("POST", "/symbols/{symbol}/actions/cancel"): "write",
    ("GET", "/symbols/{symbol}/actions/changes"): "admin",
}
"""Paths that need more than the scope `read`."""

ALLOWED = {"read": {"read"}, "write": {"read", "write"}, "admin": {"read", "write", "admin"}}


class Endpoint(NamedTuple):
    method: str
    path: str

    @property
    def is_open(self) -> bool:
        return self.path in ALWAYS_OPEN or self.path.startswith(ALWAYS_OPEN_BELOW)

    @property
    def url(self) -> str:
        return self.path.replace("{symbol}", "AAPL").replace("{code}", "24/7")


def endpoints() -> list[Endpoint]:
    """Return every method of every path, in the same order in all processes of a test run."""
    app = create_patient_app(Settings(database_url="postgresql:///nowhere", feed_enabled=False, compatibility="none"))
    return sorted(
        Endpoint(method, route.path_format)
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for method in route.methods - {"OPTIONS"}
        if route.path_format != UNKNOWN
    )


ENDPOINTS = endpoints()


@pytest.fixture(scope="module")
def keys(session_database: str) -> dict[str, str]:
    """Create keys of each scope, and invalid ones."""
    expired = store_key(session_database, "admin", lasts=timedelta(seconds=-1))
    return {
        "read": store_key(session_database, "read"),
        "write": store_key(session_database, "write"),
        "admin": store_key(session_database, "admin"),
        "expired": expired,
        "revoked": store_key(session_database, "admin", revoked=True),
        "unknown": generate_key(),
        "garbage": "let me in",
        "truncated": expired[:-1],
    }


@pytest.fixture(scope="module", params=["open", "required"])
def auth(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def service_client(auth: str, settings: Settings, make_client: Callable[[Settings], TestClient]) -> Iterator[TestClient]:
    with make_client(msgspec.structs.replace(settings, auth=auth)) as client:
        yield client


def request(client: TestClient, endpoint: Endpoint, headers: dict[str, str]) -> httpx.Response:
    if endpoint.path == "/stream":
        headers = headers | {"Last-Event-ID": "wrong"}  # ends the stream at once if the key is accepted
    return client.request(endpoint.method, endpoint.url, headers=headers)


def expected_status(endpoint: Endpoint, auth: str, key: str | None) -> int | None:
    """Return the expected status of a rejection; None if the key is accepted."""
    if endpoint.is_open:
        return None
    needed = SCOPES.get((endpoint.method, endpoint.path), "read" if auth == "required" else None)
    if key is not None and key not in ALLOWED:
        return 401
    if needed is None:
        return None
    if key is None:
        return 401
    return None if needed in ALLOWED[key] else 403


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_each_key_is_accepted_or_rejected_as_its_scope_demands(
    service_client: TestClient, auth: str, keys: dict[str, str], endpoint: Endpoint
):
    found = {}
    for name in (None, *keys):
        answer = request(service_client, endpoint, bearer(keys[name]) if name else {})
        found[name] = answer.status_code if answer.status_code in {401, 403} else None
        if found[name]:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["status"] == answer.status_code
            assert ("www-authenticate" in answer.headers) is (answer.status_code == 401)
            assert not [key for key in keys.values() if key in answer.text]
    assert found == {name: expected_status(endpoint, auth, name) for name in (None, *keys)}


def test_paths_with_scopes_exist():
    assert set(SCOPES) <= set(ENDPOINTS)


def test_a_missing_scope_is_named_with_the_command_that_creates_a_key(service_client: TestClient, keys: dict[str, str]):
    answer = service_client.post("/trades", headers=bearer(keys["read"]), json=[])
    assert answer.status_code == 403
    assert "market-data keys create NAME --scope write" in answer.json()["detail"]


def test_a_missing_key_is_401_with_a_challenge(service_client: TestClient):
    answer = service_client.post("/trades", json=[])
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="market-data"'
    assert "market-data keys create NAME --scope write" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X-API-Key": "{}"}, 200),
        ({"Authorization": "bearer   {} "}, 200),
        ({"Authorization": "Bearer {}", "X-API-Key": "{}"}, 200),
        ({"Authorization": "Bearer {}", "X-API-Key": "other"}, 401),
        ({"Authorization": "Basic eDp5", "X-API-Key": "{}"}, 200),
        ({"Authorization": "Bearer"}, 401),
        ({"X-API-Key": ""}, 401),
        ({"X-API-Key": "{}{}"}, 401),
    ],
    ids=str,
)
def test_key_headers(service_client: TestClient, keys: dict[str, str], headers: dict[str, str], status: int):
    given = {name: value.replace("{}", keys["read"]) for name, value in headers.items()}
    assert service_client.get("/symbols", headers=given).status_code == status


def test_credentials_for_a_proxy_are_ignored(service_client: TestClient, auth: str, keys: dict[str, str]):
    for credentials in ("Basic eDp5", "Digest username=x", "Negotiate YII=", keys["read"], ""):
        headers = {"Authorization": credentials}
        answer = service_client.get("/symbols", headers=headers)
        assert answer.status_code == (401 if auth == "required" else 200)
        if auth == "required":
            assert "needs a key" in answer.json()["detail"]
        written = service_client.post("/symbols", headers={**headers, "X-API-Key": keys["read"]}, json={})
        assert written.status_code == 403


def test_two_different_keys_are_rejected_with_a_reason(service_client: TestClient, keys: dict[str, str]):
    answer = service_client.get("/symbols", headers={"X-API-Key": keys["read"], **bearer(keys["write"])})
    assert answer.status_code == 401
    assert "different keys" in answer.json()["detail"]


def test_a_key_in_the_query_is_refused(service_client: TestClient, auth: str, keys: dict[str, str]):
    answer = service_client.get("/symbols", params={"key": keys["read"]})
    assert answer.status_code == (401 if auth == "required" else 400)


def test_the_openapi_document_lists_the_required_keys(service_client: TestClient, auth: str):
    document: dict[str, Any] = service_client.get("/schema/openapi.json").json()
    either = [{"key": []}, {"apiKeyHeader": []}]
    assert document["security"] == (either if auth == "required" else [{}, *either])
    assert set(document["components"]["securitySchemes"]) == {"key", "apiKeyHeader"}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            endpoint = Endpoint(method.upper(), path)
            if endpoint.is_open:
                expected, statuses = [], set[str]()
            elif (endpoint.method, path) in SCOPES:
                expected, statuses = either, {"401", "403"}
            else:
                expected, statuses = None, {"401"}
            assert operation.get("security") == expected, endpoint
            assert operation["responses"].keys() & {"401", "403"} == statuses, endpoint


@pytest.fixture(scope="module")
def address(auth: str, settings: Settings) -> Iterator[str]:
    with serving(create_patient_app(msgspec.structs.replace(settings, auth=auth))) as address:
        yield address


SOCKETS = [
    route.path
    for route in create_patient_app(Settings(database_url="postgresql:///nowhere", compatibility="none")).routes
    if isinstance(route, WebSocketRoute)
]


@pytest.mark.parametrize("path", SOCKETS)
def test_a_websocket_with_an_invalid_key_is_rejected_before_it_is_accepted(address: str, keys: dict[str, str], path: str):
    url = address.replace("http", "ws") + path
    for name, key in keys.items():
        headers = bearer(key)
        if name in ALLOWED:
            with connect(url, additional_headers=headers) as client:
                assert json.loads(client.recv())["event"] == "heartbeat"
            continue
        with pytest.raises(InvalidStatus) as refused:
            connect(url, additional_headers=headers)
        response = refused.value.response
        assert response.status_code == 401
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["www-authenticate"] == 'Bearer realm="market-data"'
        assert json.loads(response.body)["status"] == 401


def test_a_plain_request_to_the_websocket_is_426(service_client: TestClient, keys: dict[str, str]):
    assert service_client.get("/ws", headers=bearer(keys["read"])).status_code == 426
