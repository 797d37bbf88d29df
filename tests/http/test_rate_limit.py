"""Rate limit headers and rejections."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import msgspec
import pytest
from helpers.api_keys import bearer, revoke, store_key
from helpers.support import Connection, create_patient_app, serving
from litestar.testing import TestClient
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from market_data.settings import Settings

MakeClient = Callable[[Settings], TestClient]


def limits(response: httpx.Response) -> dict[str, str]:
    return {
        name: value for name, value in response.headers.items() if name.startswith("ratelimit-") or name == "retry-after"
    }


@pytest.fixture
def limited(settings: Settings, make_client: MakeClient) -> Callable[..., TestClient]:
    """Return a function that creates clients of a service with a limit per minute."""

    def make(limit: int, **other: object) -> TestClient:
        return make_client(msgspec.structs.replace(settings, rate_limit=limit, **other))

    return make


def test_each_response_has_the_remaining_requests(limited: Callable[..., TestClient]):
    with limited(5) as client:
        answers = [client.get(path) for path in ("/", "/nothing", "/trades", "/symbols")]
        answers.append(client.post("/symbols/none"))
        assert [answer.status_code for answer in answers] == [200, 404, 400, 200, 405]
        for number, answer in enumerate(answers, 1):
            assert limits(answer) == {
                "ratelimit-limit": "5",
                "ratelimit-remaining": str(5 - number),
                "ratelimit-reset": str(12 * number),
                "ratelimit-policy": "5;w=60",
            }


def test_requests_above_the_limit_are_429(limited: Callable[..., TestClient]):
    with limited(2, rate_limit_seconds=90.5) as client:
        assert [client.get("/").status_code for _ in range(2)] == [200, 200]
        for path in ("/", "/nothing", "/metrics", "/price/latest?symbol=AAPL"):
            answer = client.get(path)
            assert answer.status_code == 429
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["cache-control"] == "no-store"
            assert limits(answer) == {
                "ratelimit-limit": "2",
                "ratelimit-remaining": "0",
                "ratelimit-reset": "91",
                "ratelimit-policy": "2;w=90.5",
                "retry-after": "46",
            }
            assert answer.json() == {
                "type": "about:blank",
                "title": "Too Many Requests",
                "status": 429,
                "detail": "The rate limit of 2 requests in 90.5 s is used up.",
                "request_id": answer.headers["x-request-id"],
            }


def test_pages_and_their_files_are_free(limited: Callable[..., TestClient]):
    with limited(2) as client:
        for path in ("/dashboard", "/docs", "/redoc", "/assets/dashboard/app.js", "/assets/redoc.standalone.js") * 2:
            answer = client.get(path)
            assert (answer.status_code, limits(answer)) == (200, {})
        assert [client.get("/").status_code for _ in range(3)] == [200, 200, 429]
        assert client.get("/dashboard").status_code == 200


def test_keys_can_not_be_guessed_at_unknown_files(limited: Callable[..., TestClient]):
    with limited(2) as client:
        assert [client.get("/assets/nothing", headers=bearer("guess")).status_code for _ in range(3)] == [401, 401, 429]


def test_retry_after_is_the_time_until_the_next_request(limited: Callable[..., TestClient]):
    with limited(60) as client:
        while (answer := client.get("/nothing")).status_code == 404:
            pass
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")


def test_probes_are_not_limited(limited: Callable[..., TestClient]):
    with limited(1) as client:
        for path in ("/health", "/health/live", "/health/ready") * 3:
            answer = client.get(path)
            assert answer.status_code == 200
            assert limits(answer) == {}
        assert client.get("/").status_code == 200
        assert client.get("/").status_code == 429
        assert client.get("/health/ready").status_code == 200
        assert client.get("/health/nothing").status_code == 429


def test_no_rate_limit_headers_without_a_limit(service: TestClient):
    assert not any(limits(service.get(path)) for path in ("/", "/nothing", "/symbols"))


def test_each_key_has_its_own_limit(limited: Callable[..., TestClient], database_url: str):
    first, second = store_key(database_url, "read"), store_key(database_url, "read")
    with limited(2) as client:
        for headers in (
            bearer(first),
            bearer(second),
            {"X-API-Key": first} | {"Accept": "text/csv"},
            {},
            bearer(second),
            {},
        ):
            assert client.get("/symbols", headers=headers).status_code == 200
        for headers in (bearer(first), bearer(second), {}):
            assert client.get("/symbols", headers=headers).status_code == 429


@pytest.mark.parametrize("origins", ["", "https://charts.example.com"])
def test_preflights_are_free(limited: Callable[..., TestClient], origins: str):
    asked = {"Origin": "https://charts.example.com", "Access-Control-Request-Method": "GET"}
    with limited(2, cors_origins=origins) as client:
        assert client.get("/nothing").headers["ratelimit-remaining"] == "1"
        for _ in range(3):
            for path in ("/symbols", "/nothing"):
                preflight = client.options(path, headers=asked)
                assert preflight.status_code in (204, 404)
                assert not limits(preflight)
        assert client.get("/nothing").headers["ratelimit-remaining"] == "0"
        assert client.options("/symbols", headers=asked).status_code == 204
        assert client.get("/symbols", headers={"Origin": "https://charts.example.com"}).status_code == 429


def test_keys_can_not_be_guessed_with_preflights(limited: Callable[..., TestClient], database_url: str):
    asked = {"Origin": "https://charts.example.com", "Access-Control-Request-Method": "GET"}
    key = store_key(database_url, "read")
    with limited(2) as client:
        for headers in ({"X-API-Key": "guess"}, bearer(key)):
            statuses = [client.options("/symbols", headers={**asked, **headers}).status_code for _ in range(3)]
            assert statuses[-1] == 429


def test_failed_authentications_count_against_the_address(limited: Callable[..., TestClient], database_url: str):
    known = store_key(database_url, "read")
    with limited(4) as client:
        wrong = [
            bearer(known[:-4] + "AAAA"),
            bearer("guess"),
            {"X-API-Key": "md_00000000_"},
            {"Authorization": "Basic eDp5", "X-API-Key": "guess"},
        ]
        answers = [client.get("/symbols", headers=headers) for headers in wrong]
        assert [answer.status_code for answer in answers] == [401] * 4
        assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["3", "2", "1", "0"]
        assert all(answer.headers["www-authenticate"].startswith("Bearer") for answer in answers)
        assert client.get("/symbols", headers=wrong[0]).status_code == 429
        assert client.get("/nothing", headers=wrong[1]).status_code == 429
        assert client.get("/symbols", headers=bearer(known)).status_code == 200, "a valid key has its own limit"
        revoke(database_url, known)


def test_a_wrong_key_is_401_on_unknown_paths_too_and_ignored_on_open_paths(service: TestClient):
    assert service.get("/nothing", headers=bearer("guess")).status_code == 401
    for path in ("/", "/health/live", "/docs", "/assets/dashboard/app.js", "/schema/openapi.json"):
        assert service.get(path, headers=bearer("guess")).status_code == 200


@pytest.mark.parametrize("with_key", [False, True])
def test_each_websocket_command_counts_as_a_request(
    settings: Settings, known: Connection, session_database: str, with_key: bool
):
    assert known
    headers = bearer(store_key(session_database, "read")) if with_key else {}
    command = '{"action": "unsubscribe", "symbols": ["AAPL"], "channels": ["trades"]}'
    limited = msgspec.structs.replace(settings, rate_limit=4)
    with serving(create_patient_app(limited)) as address:
        with connect(f"{address.replace('http', 'ws')}/ws", additional_headers=headers) as socket:
            for _ in range(4):
                socket.send(command)
            received: list[dict[str, Any]] = []
            with pytest.raises(ConnectionClosedError, match="1013"):
                received.extend(map(json.loads, socket))
        answers = [each for each in received if each["event"] != "heartbeat"]
        assert [each["event"] for each in answers] == ["subscribed"] * 3 + ["error"]
        assert answers[3]["data"]["detail"] == "The rate limit of 4 requests in 60 s is used up."
        assert httpx.get(f"{address}/symbols", headers=headers).status_code == 429
        assert httpx.get(f"{address}/symbols").status_code == (200 if with_key else 429), "counted against the key"
