"""Request time-out."""

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
from helpers.security_headers import NO_CONTENT, SECURE
from helpers.service import eventually
from helpers.support import serving
from litestar.datastructures import State
from litestar.testing import TestClient
from litestar.types import Receive, Scope, Send

from market_data.middleware import wrap
from market_data.settings import Settings
from market_data.telemetry.request_log import RequestLog

MakeClient = Callable[[Settings], TestClient]


def test_a_request_blocked_in_the_database_is_503(settings: Settings, make_client: MakeClient, database_url: str):
    """Another session locks the table, or the whole embedded engine."""
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
            assert response.headers.items() >= (SECURE | {"content-security-policy": NO_CONTENT}).items()
            assert response.json() == {
                "type": "about:blank",
                "title": "Service Unavailable",
                "status": 503,
                "detail": "There was no answer within 0.8 s; try again in a moment.",
                "request_id": response.headers["x-request-id"],
            }
        eventually(lambda: [client.get("/symbols").status_code for _ in range(8)] == [200] * 8)


class Application:
    """Application with a different response for each path, which records how its requests ended."""

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
def serve_with_timeout(application: Application) -> Iterator[str]:
    """Serve the application behind the middlewares with a time-out of 0.3 s, and return the address."""
    with serving(
        wrap(application, Settings(request_timeout_seconds=0.3), State(), (), RequestLog()), lifespan="off"
    ) as address:
        yield address


def test_a_timed_out_request_is_cancelled_and_its_late_response_is_ignored():
    application = Application()
    with serve_with_timeout(application) as address, httpx.Client(base_url=address) as client:
        started = time.monotonic()
        assert client.get("/late").status_code == 503
        assert application.ended == ["cancelled"]
        assert client.get("/stubborn").status_code == 503
        assert time.monotonic() - started < 1, "the response must not wait for the application to end"
        time.sleep(1.2)
        assert application.ended == ["cancelled", "done"]
        assert client.get("/soon").text == "all of it"


def test_a_response_that_has_begun_may_take_longer():
    with serve_with_timeout(Application()) as address:
        assert httpx.get(f"{address}/stream").text == "all of it"


def test_each_request_has_its_own_time_out():
    application = Application()
    with serve_with_timeout(application) as address, httpx.Client(base_url=address) as client, ThreadPoolExecutor() as pool:
        for _ in range(3):
            first = pool.submit(client.get, "/late")
            time.sleep(0.15)
            started = time.monotonic()
            second = client.get("/late")
            assert time.monotonic() - started > 0.29
            for response in (first.result(), second):
                assert response.status_code == 503
                assert response.json()["request_id"] == response.headers["x-request-id"]


def test_an_incomplete_body_is_408_and_closes_the_connection():
    with serve_with_timeout(Application()) as address:
        url = httpx.URL(address)
        with socket.create_connection((url.host, url.port or 80), timeout=5) as client:
            client.sendall(b"POST /trades HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n[")
            received = b""
            while piece := client.recv(65536):
                received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert b"\r\nconnection: close" in head
        assert b"The body of the request did not arrive within 0.3 s." in body


def test_a_timeout_after_a_complete_body_is_503():
    with serve_with_timeout(Application()) as address:
        assert httpx.post(f"{address}/late", content=b"[]").status_code == 503
        assert httpx.post(f"{address}/soon", content=b"[]").status_code == 200
