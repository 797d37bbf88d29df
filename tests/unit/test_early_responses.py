"""Responses that are sent before the body of the request has arrived."""

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import pytest
from helpers.raw_http import connect, exchange, read_all, request, statuses
from helpers.support import serving
from litestar.exceptions import HTTPException

from market_data.api.http import problems
from market_data.server import http_protocol

BODY = b"x" * 6_000_000
KEEP_ALIVE_SECONDS = 2


class Application:
    """Application that reads no body."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        self.paths.append(scope["path"])
        if scope["path"] == "/open":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        await problems.send_problem(scope, send, HTTPException("too large", status_code=HTTPStatus.REQUEST_ENTITY_TOO_LARGE))


@pytest.fixture
def application() -> Application:
    return Application()


@pytest.fixture
def address(application: Application) -> Iterator[str]:
    with serving(application, lifespan="off", timeout_keep_alive=KEEP_ALIVE_SECONDS) as address:
        yield address


def test_a_client_that_sends_its_whole_body_first_gets_the_response(address: str, application: Application):
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{address}/first", BODY, timeout=20)  # with `Connection: close`
    assert json.load(caught.value)["status"] == 413
    sent = request("/second", BODY, "Connection: close") + request("/ignored")
    assert statuses(exchange(address, sent)) == [413]
    assert application.paths == ["/first", "/second"]


@pytest.mark.parametrize("invalid", [b"POST / HTTP/1.1\r\nInvalid\r\n\r\n", b"POST / HTTP/1.1\r\nX-Long: "])
def test_a_client_that_sends_an_invalid_request_first_gets_the_response(address: str, invalid: bytes):
    assert statuses(exchange(address, invalid + BODY)) == [400]


def test_a_client_that_sends_forever_is_disconnected(address: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http_protocol, "LINGER_SECONDS", 0.5)
    with connect(address) as client:
        client.sendall(request("/any", BODY, "Connection: close")[:1000])
        started = time.monotonic()
        assert statuses(read_all(client)) == [413]
        with pytest.raises(OSError, match=r"reset|pipe"):
            _trickle(client)
        assert 0.4 < time.monotonic() - started < 5


def _trickle(client: socket.socket) -> None:
    for _ in range(1000):
        client.sendall(b"x")
        time.sleep(0.02)


def test_after_the_body_the_connection_stays_open_for_the_keep_alive_time(
    address: str, monkeypatch: pytest.MonkeyPatch, application: Application
):
    monkeypatch.setattr(http_protocol, "HEADER_TIMEOUT_SECONDS", KEEP_ALIVE_SECONDS / 4)
    head, body = request("/open", b"1234")[:-4], b"1234"
    with connect(address) as client:
        for more in (request("/open"), b""):
            client.sendall(head)
            assert statuses(client.recv(1000)) == [200]
            client.sendall(body + more)
            assert not more or statuses(client.recv(1000)) == [200]
        started = time.monotonic()
        assert read_all(client) == b""
        assert KEEP_ALIVE_SECONDS <= time.monotonic() - started + 0.1 < KEEP_ALIVE_SECONDS + 1
        assert application.paths == ["/open"] * 3


def test_an_invalid_request_after_the_body_is_400(address: str):
    head, body = request("/open", b"1234")[:-4], b"1234"
    for pieces in ([body, b"INVALID\r\n\r\n"], [body + b"INVALID\r\n\r\n"]):
        assert statuses(exchange(address, head, *pieces)) == [200, 400]


def test_a_body_that_arrives_slowly_is_no_end_of_the_time_for_headers(address: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http_protocol, "HEADER_TIMEOUT_SECONDS", 0.5)
    with connect(address) as client:
        client.sendall(request("/open", BODY)[:1000])
        assert statuses(client.recv(1000)) == [200]
        started = time.monotonic()
        with pytest.raises(OSError, match=r"reset|pipe"):
            _trickle(client)
        assert time.monotonic() - started < 3
