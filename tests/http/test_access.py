"""Which keys get through where. The paths come from the application itself, so that none can be forgotten."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest
from helpers.api_keys import bearer, store_key
from helpers.support import serving
from litestar.routes import HTTPRoute, WebSocketRoute
from litestar.testing import TestClient
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from market_data.app import create_app
from market_data.auth.api_keys import generate_key
from market_data.settings import Settings

ALWAYS_OPEN = {"/", "/health", "/health/live", "/health/ready", "/docs", "/redoc", "/dashboard"}
ALWAYS_OPEN_BELOW = ("/assets/", "/schema")
UNKNOWN = "/schema/{path}"
"""The framework's, for what is not there."""
SCOPES = {
    ("POST", "/trades"): "write",
    ("POST", "/trades/cancel"): "write",
    ("POST", "/trades/correct"): "write",
    ("GET", "/trades/changes"): "admin",
    ("POST", "/symbols"): "write",
    ("PATCH", "/symbols/{symbol}"): "write",
}
"""What needs more than reading."""

ALLOWED = {"read": {"read"}, "write": {"read", "write"}, "admin": {"read", "write", "admin"}}


class Place(NamedTuple):
    method: str
    path: str

    @property
    def is_open(self) -> bool:
        return self.path in ALWAYS_OPEN or self.path.startswith(ALWAYS_OPEN_BELOW)

    @property
    def url(self) -> str:
        return self.path.replace("{symbol}", "AAPL")


def places() -> list[Place]:
    """Every method of every path, in an order that all processes of a test run agree on."""
    app = create_app(Settings(database_url="postgresql:///nowhere", feed_enabled=False))
    return sorted(
        Place(method, route.path_format)
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for method in route.methods - {"OPTIONS"}
        if route.path_format != UNKNOWN
    )


PLACES = places()


@pytest.fixture(scope="module")
def keys(session_database: str) -> dict[str, str]:
    """Keys of each scope, and some that do not hold."""
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
def asked(auth: str, settings: Settings, make_client: Callable[[Settings], TestClient]) -> Iterator[TestClient]:
    with make_client(msgspec.structs.replace(settings, auth=auth)) as client:
        yield client


def ask(client: TestClient, place: Place, headers: dict[str, str]) -> httpx.Response:
    if place.path == "/stream":
        headers = headers | {"Last-Event-ID": "wrong"}  # which is answered at once, once the key is found to do
    return client.request(place.method, place.url, headers=headers)


def refusal(place: Place, auth: str, key: str | None) -> int | None:
    """The status with which a key should be refused; None where it should not be."""
    if place.is_open:
        return None
    needed = SCOPES.get((place.method, place.path), "read" if auth == "required" else None)
    if key is not None and key not in ALLOWED:
        return 401
    if needed is None:
        return None
    if key is None:
        return 401
    return None if needed in ALLOWED[key] else 403


@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place.method} {place.path}")
def test_key_decides(asked: TestClient, auth: str, keys: dict[str, str], place: Place):
    found = {}
    for name in (None, *keys):
        answer = ask(asked, place, bearer(keys[name]) if name else {})
        found[name] = answer.status_code if answer.status_code in {401, 403} else None
        if found[name]:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["status"] == answer.status_code
            assert ("www-authenticate" in answer.headers) is (answer.status_code == 401)
            assert not [key for key in keys.values() if key in answer.text]
    assert found == {name: refusal(place, auth, name) for name in (None, *keys)}


def test_paths_with_scopes_exist():
    assert set(SCOPES) <= set(PLACES)


def test_missing_scope_is_named_with_the_way_to_get_it(asked: TestClient, keys: dict[str, str]):
    answer = asked.post("/trades", headers=bearer(keys["read"]), json=[])
    assert answer.status_code == 403
    assert "market-data keys create NAME --scope write" in answer.json()["detail"]


def test_missing_key_is_asked_for(asked: TestClient):
    answer = asked.post("/trades", json=[])
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
        ({"Authorization": "Basic {}"}, 401),
        ({"Authorization": "{}"}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": ""}, 401),
        ({"X-API-Key": ""}, 401),
        ({"X-API-Key": "{}{}"}, 401),
    ],
    ids=str,
)
def test_headers(asked: TestClient, keys: dict[str, str], headers: dict[str, str], status: int):
    given = {name: value.replace("{}", keys["read"]) for name, value in headers.items()}
    assert asked.get("/symbols", headers=given).status_code == status


def test_two_headers_that_differ_are_refused_with_a_reason(asked: TestClient, keys: dict[str, str]):
    answer = asked.get("/symbols", headers={"X-API-Key": keys["read"], **bearer(keys["write"])})
    assert answer.status_code == 401
    assert "different keys" in answer.json()["detail"]


def test_key_in_the_query_is_no_key(asked: TestClient, auth: str, keys: dict[str, str]):
    answer = asked.get("/symbols", params={"key": keys["read"]})
    assert answer.status_code == (401 if auth == "required" else 200)


def test_document_says_what_needs_a_key(asked: TestClient, auth: str):
    document: dict[str, Any] = asked.get("/schema/openapi.json").json()
    either = [{"key": []}, {"apiKeyHeader": []}]
    assert document["security"] == (either if auth == "required" else [{}, *either])
    assert set(document["components"]["securitySchemes"]) == {"key", "apiKeyHeader"}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            place = Place(method.upper(), path)
            if place.is_open:
                expected, statuses = [], set[str]()
            elif (place.method, path) in SCOPES:
                expected, statuses = either, {"401", "403"}
            else:
                expected, statuses = None, {"401"}
            assert operation.get("security") == expected, place
            assert operation["responses"].keys() & {"401", "403"} == statuses, place


@pytest.fixture(scope="module")
def address(auth: str, settings: Settings) -> Iterator[str]:
    with serving(create_app(msgspec.structs.replace(settings, auth=auth))) as address:
        yield address


SOCKETS = [
    route.path
    for route in create_app(Settings(database_url="postgresql:///nowhere")).routes
    if isinstance(route, WebSocketRoute)
]


@pytest.mark.parametrize("path", SOCKETS)
def test_websocket_is_refused_before_it_is_opened(address: str, auth: str, keys: dict[str, str], path: str):
    url = address.replace("http", "ws") + path
    for name in (None, *keys):
        headers = bearer(keys[name]) if name else {}
        if (name is None and auth == "open") or name in ALLOWED:
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


def test_plain_request_to_the_websocket_still_says_how_to_connect(asked: TestClient, keys: dict[str, str]):
    assert asked.get("/ws", headers=bearer(keys["read"])).status_code == 426
