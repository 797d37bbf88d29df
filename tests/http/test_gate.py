"""What every request passes: headers for browsers, sizes, a time-out."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, cast

import httpx
import msgspec
import psycopg
import pytest
from helpers.api_keys import bearer, store_key
from helpers.service import eventually
from helpers.support import serving
from litestar import Litestar
from litestar.datastructures import State
from litestar.testing import TestClient
from litestar.types import Receive, Scope, Send

from market_data.middleware.access_log import AccessLog
from market_data.middleware.gate import Gate
from market_data.settings import Settings

MakeClient = Callable[[Settings], TestClient]

SECURE = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
NO_PAGE = "default-src 'none'; frame-ancestors 'none'"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/symbols", 200),
        ("/metrics", 200),
        ("/health/live", 200),
        ("/nothing", 404),
        ("/trades", 400),
        ("/ws", 426),
    ],
)
def test_answers_tell_browsers_to_do_nothing_with_them(service: TestClient, path: str, status: int):
    response = service.get(path)
    assert response.status_code == status
    assert response.headers.items() >= (SECURE | {"content-security-policy": NO_PAGE}).items()
    assert len(response.headers.multi_items()) == len(set(response.headers)), "no header comes twice"
    assert not [name for name in response.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/dashboard"])
def test_pages_have_a_strict_policy(service: TestClient, path: str):
    response = service.get(path)
    assert response.headers.items() >= SECURE.items()
    (policy,) = response.headers.get_list("content-security-policy")
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["object-src"] == rules["base-uri"] == "'none'"
    assert rules["form-action"] == rules["frame-ancestors"] == "'none'"
    assert "unsafe" not in rules["script-src"]
    assert "*" not in policy
    assert "http" not in policy
    assert ("unsafe-inline" in rules["style-src"]) == (path == "/redoc")


def test_too_long_an_address_is_414(service: TestClient):
    assert service.get("/nothing?x=" + "a" * 29_000).status_code == 404  # whose query counts twice here
    for url in ("/symbols?x=" + "a" * 65_000, "/" + "a" * 65_000):
        response = service.get(url)
        assert response.status_code == 414
        assert response.json()["detail"] == "The path or the query has more than 65,000 bytes."
        assert response.headers.items() >= SECURE.items()


@pytest.mark.parametrize("headers", [{f"X-{number}": "1" for number in range(100)}, {"X-Large": "a" * 32_768}])
def test_too_many_headers_are_431(service: TestClient, headers: dict[str, str]):
    response = service.get("/symbols", headers=headers)
    assert response.status_code == 431
    assert response.json()["title"] == "Request Header Fields Too Large"
    assert service.get("/symbols", headers={"X-Large": "a" * 30_000}).status_code == 200


def test_a_request_that_waits_too_long_is_503(settings: Settings, make_client: MakeClient, database_url: str):
    """Because another session holds the table, or on the embedded engine all there is."""
    with (
        make_client(msgspec.structs.replace(settings, request_timeout_seconds=0.8, pool_timeout_seconds=20)) as client,
        psycopg.connect(database_url, autocommit=True) as blocking,
    ):
        eventually(lambda: client.get("/symbols").status_code == 200)
        with blocking.transaction():
            blocking.execute("LOCK TABLE symbols IN ACCESS EXCLUSIVE MODE")
            started = time.monotonic()
            with ThreadPoolExecutor() as pool:
                responses = list(pool.map(client.get, ["/symbols", "/symbols"]))
            assert time.monotonic() - started >= 0.8
        for response in responses:
            assert response.status_code == 503
            assert response.headers["retry-after"] == "1"
            assert response.headers.items() >= (SECURE | {"content-security-policy": NO_PAGE}).items()
            assert response.json() == {
                "type": "about:blank",
                "title": "Service Unavailable",
                "status": 503,
                "detail": "There was no answer within 0.8 s; try again in a moment.",
                "request_id": response.headers["x-request-id"],
            }
        eventually(lambda: [client.get("/symbols").status_code for _ in range(8)] == [200] * 8)


class Answers:
    """An application that answers as a test wants it to, and what became of its requests."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        headers = [(b"content-type", b"text/plain")]
        try:
            if scope["method"] == "POST":
                while cast("Any", await receive()).get("more_body"):
                    pass
            if scope["path"] == "/late":
                await asyncio.sleep(30)
            if scope["path"] == "/stubborn":
                try:
                    await asyncio.sleep(30)
                except asyncio.CancelledError:
                    await asyncio.sleep(1)
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            if scope["path"] == "/stream":
                await asyncio.sleep(1)
            await send({"type": "http.response.body", "body": b"all of it", "more_body": False})
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        self.ended.append("done")


@contextmanager
def guarded(answers: Answers) -> Iterator[str]:
    """The address of a gate in front of it, that lets no request take longer than 0.3 seconds."""
    gate = AccessLog(Gate(answers, Settings(request_timeout_seconds=0.3), State(), ()))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError  # which servers take for "there is none"
        await gate(scope, receive, send)

    with serving(cast("Litestar", app)) as address:
        yield address


def test_what_answers_too_late_is_ended_and_its_answer_ignored():
    answers = Answers()
    with guarded(answers) as address, httpx.Client(base_url=address) as client:
        started = time.monotonic()
        assert client.get("/late").status_code == 503
        assert answers.ended == ["cancelled"]
        assert client.get("/stubborn").status_code == 503
        assert time.monotonic() - started < 1, "the client is told while the application still ends"
        time.sleep(1.2)
        assert answers.ended == ["cancelled", "done"]
        assert client.get("/soon").text == "all of it"


def test_what_streams_may_take_longer():
    with guarded(Answers()) as address:
        assert httpx.get(f"{address}/stream").text == "all of it"


def test_a_request_has_its_own_time_whatever_the_others_take():
    answers = Answers()
    with guarded(answers) as address, httpx.Client(base_url=address) as client, ThreadPoolExecutor() as pool:
        for _ in range(3):
            first = pool.submit(client.get, "/late")
            time.sleep(0.15)
            started = time.monotonic()
            second = client.get("/late")
            assert time.monotonic() - started > 0.29
            for response in (first.result(), second):
                assert response.status_code == 503
                assert response.json()["request_id"] == response.headers["x-request-id"]


def test_a_body_that_trickles_in_is_408_and_the_connection_ends():
    with guarded(Answers()) as address:
        url = httpx.URL(address)
        with socket.create_connection((url.host, url.port or 80), timeout=5) as client:
            client.sendall(b"POST /trades HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n[")
            received = b""
            while piece := client.recv(65536):
                received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert b"\r\nconnection: close" in head
        assert b"The body of the request did not arrive within 0.3 s." in body


def test_a_body_that_is_there_is_not_to_blame():
    with guarded(Answers()) as address:
        assert httpx.post(f"{address}/late", content=b"[]").status_code == 503
        assert httpx.post(f"{address}/soon", content=b"[]").status_code == 200


def test_too_large_a_body_is_413(settings: Settings, make_client: MakeClient, database_url: str):
    headers = {**bearer(store_key(database_url, "write")), "Content-Type": "application/json"}
    with make_client(msgspec.structs.replace(settings, max_body_bytes=1000)) as client:
        response = client.post("/trades", content=b"[" + b" " * 999 + b"]", headers=headers)
        assert response.status_code == 413
        assert response.headers["content-type"] == "application/problem+json"
        assert "1,001 bytes, and 1,000 are taken" in response.json()["detail"]
