"""HTTP on the wire: upgrades, half-closed connections, invalid and pipelined requests, HTTP/1.0, keep-alive."""

import asyncio
import json
import logging
import socket
import struct
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import pytest
from helpers.raw_http import connect, exchange, half_closed, read_all, request, statuses
from helpers.service import eventually
from helpers.support import serving

from market_data.server import http_protocol

CLOSE = "Connection: close"
INNER = request("/inner")
KEEP_ALIVE_SECONDS = 2
SEEN: ContextVar[str] = ContextVar("SEEN", default="")


class Application:
    """Application that answers with the body of a request, and records requests and disconnected clients."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, bytes]] = []
        self.headers: list[list[bytes]] = []
        self.disconnected: list[str] = []
        self.inherited: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        path = scope["path"]
        self.inherited.append(SEEN.get())
        SEEN.set(path)
        body = b""
        if path != "/early":
            while (message := await receive()).get("more_body"):
                body += message["body"]
            if message["type"] == "http.disconnect":
                self.disconnected.append(path)
                return
            body += message["body"]
        self.requests.append((path, body))
        self.headers.append([name for name, _ in scope["headers"]])
        if path == "/slow":
            await asyncio.sleep(0.3)
        await getattr(self, path[1:], self.echo)(body, receive, send)

    async def echo(self, body: bytes, _receive: Any, send: Any) -> None:
        headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def pieces(self, _body: bytes, _receive: Any, send: Any) -> None:
        """Send a body of unknown length."""
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/csv")]})
        for piece in (b"a,b\n", b"1,2\n", b""):
            await send({"type": "http.response.body", "body": piece, "more_body": bool(piece)})
            await asyncio.sleep(0.02)

    async def broken(self, _body: bytes, _receive: Any, send: Any) -> None:
        """Leave a body incomplete."""
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/csv")]})
        await send({"type": "http.response.body", "body": b"a,b\n", "more_body": True})

    async def events(self, _body: bytes, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        self.disconnected.append("/events")


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Application]]:
    application = Application()
    with serving(application, lifespan="off", timeout_keep_alive=KEEP_ALIVE_SECONDS) as address:
        yield address, application


@pytest.fixture
def application(server: tuple[str, Application]) -> Application:
    _, application = server
    application.__init__()  # forgets the requests of other tests
    return application


@pytest.fixture
def address(server: tuple[str, Application]) -> str:
    return server[0]


UPGRADES = ["h2c", "h2c, websocket", "websocket, h2c", "TLS/1.0", "websocket"]


@pytest.mark.parametrize("upgrade", UPGRADES)
@pytest.mark.parametrize("split", [False, True], ids=["one packet", "two packets"])
def test_the_body_of_a_request_with_an_upgrade_is_its_body(
    address: str, application: Application, upgrade: str, split: bool
):
    sent = request("/first", INNER, "Connection: Upgrade, HTTP2-Settings", f"Upgrade: {upgrade}", "HTTP2-Settings: AAA")
    pieces = [sent.removesuffix(INNER), INNER] if split else [sent]
    received = exchange(address, *pieces, request("/last", b"", CLOSE))
    assert statuses(received) == [200, 200]
    assert application.requests == [("/first", INNER), ("/last", b"")]


def test_upgrades_with_chunks_with_http_1_0_and_in_a_pipeline_are_ignored(address: str, application: Application):
    chunked = request("/chunks", b"", "Connection: upgrade", "Upgrade: h2c", "Transfer-Encoding: chunked").replace(
        b"GET", b"POST"
    )
    handshake = request("/ws", b"", "Connection: upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
    many = request("/many", b"xy", "Connection: upgrade", "Upgrade: h2c") * 300
    received = exchange(address, chunked + b"3\r\nabc\r\n0\r\n\r\n" + handshake + many + request("/last", b"", CLOSE))
    assert statuses(received) == [200] * 303
    assert application.requests == [("/chunks", b"abc"), ("/ws", b""), *[("/many", b"xy")] * 300, ("/last", b"")]
    received = exchange(address, request("/old", b"", "Connection: upgrade", "Upgrade: websocket", version="1.0"))
    assert statuses(received) == [200]


@pytest.mark.parametrize("split", [False, True], ids=["one packet", "two packets"])
def test_trailers_are_no_headers(address: str, application: Application, split: bool):
    head = request("/chunks", b"", "Transfer-Encoding: chunked").replace(b"GET", b"POST")
    body = b"3\r\nabc\r\n0\r\nX-Forwarded-For: 203.0.113.9\r\nExpect: 100-continue\r\n\r\n" + request("/last", b"", CLOSE)
    received = exchange(address, *([head, body] if split else [head + body]))
    assert statuses(received) == [200, 200]
    assert application.headers == [[b"host", b"transfer-encoding"], [b"host", b"connection"]]


def test_connect_is_refused(address: str, application: Application):
    received = exchange(address, b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n" + INNER)
    assert statuses(received) == [400]
    assert application.requests == []


@pytest.mark.parametrize("path", ["/any", "/slow", "/pieces"])
def test_a_client_may_close_its_side_after_its_request(address: str, application: Application, path: str):
    with half_closed(address, request(path, b"12") + request("/second", b"34")) as client:
        received = read_all(client)
    assert statuses(received) == [200, 200]
    assert received.endswith(b"34")
    assert application.disconnected == []


@pytest.mark.parametrize("delay", [0, 0.1])
def test_an_event_stream_ends_when_the_client_closes_its_side(address: str, application: Application, delay: float):
    with connect(address) as client:
        client.sendall(request("/events"))
        time.sleep(delay)
        client.shutdown(socket.SHUT_WR)
        assert statuses(read_all(client)) == [200]
    assert eventually(lambda: application.disconnected) == ["/events"]


def test_a_client_that_closes_its_side_within_a_body_gets_only_the_responses_before(address: str, application: Application):
    with half_closed(address, request("/slow") + request("/cut", b"1234")[:-2]) as client:
        assert statuses(read_all(client)) == [200]
    with half_closed(address, request("/cut", b"1234")[:-2]) as client:
        assert read_all(client) == b""
    assert eventually(lambda: application.disconnected) == ["/cut"]
    assert application.requests == [("/slow", b"")]


INVALID = {
    "method": b"N\0PE / HTTP/1.1\r\n\r\n",
    "header": request("/invalid").replace(b"Host: localhost", b"Host localhost"),
    "chunk": request("/invalid", b"", "Transfer-Encoding: chunked") + b"zz\r\n",
    "both lengths": request("/invalid", b"12", "Transfer-Encoding: chunked"),
    "not HTTP": b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "version": b"GET / HTTP/0.9\r\nHost: test\r\n\r\n",
    "path": b"GET http://[ HTTP/1.1\r\nHost: test\r\n\r\n",
}


@pytest.mark.parametrize("invalid", INVALID.values(), ids=INVALID)
@pytest.mark.parametrize("before", [0, 1, 3])
def test_an_invalid_request_is_answered_after_those_before_it(
    address: str, application: Application, invalid: bytes, before: int, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    received = exchange(address, request("/slow", b"12") * before + invalid + request("/ignored"))
    assert statuses(received) == [200] * before + [400]
    head, _, body = received.rpartition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    assert b"The request is not valid HTTP/1.1" in body
    assert application.requests == [("/slow", b"12")] * before
    records = [record for record in caplog.records if record.name.startswith("market_data")]
    assert [record.levelname for record in records] == ["INFO"]
    assert max(record.levelno for record in caplog.records) == logging.INFO


INVALID_URLS = {
    "length of 65536 bytes": b"/" + b"a" * 65_535,
    "invalid url b'http://[": b"http://[" + b"a" * 60_000,
}


@pytest.mark.parametrize(("reason", "url"), INVALID_URLS.items(), ids=["too long", "invalid"])
def test_the_reason_is_named_if_a_url_is_invalid(address: str, reason: str, url: bytes):
    received = exchange(address, request("/url").replace(b"/url", url))
    assert statuses(received) == [400]
    assert reason in json.loads(received.rpartition(b"\r\n\r\n")[2])["detail"]
    assert len(received) < 600


def test_an_absolute_url_without_a_path_is_the_root(address: str, application: Application):
    assert statuses(exchange(address, request("http://test", b"", CLOSE))) == [200]
    assert application.requests == [("/", b"")]


def test_a_bug_in_the_protocol_is_an_error_in_the_log(
    address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(http_protocol, "unquote", lambda _: {}["bug"])
    assert exchange(address, request("/%41")) == b""
    assert "KeyError: 'bug'" in caplog.text


def test_a_client_that_is_gone_is_missed_by_each_of_its_requests(address: str, application: Application):
    with connect(address) as client:
        client.sendall(request("/events") + request("/second"))
        assert client.recv(1000)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert eventually(lambda: application.disconnected) == ["/events"]


def test_pipelined_requests_do_not_share_context_variables(address: str, application: Application):
    assert statuses(exchange(address, request("/one") + request("/two") + request("/three", b"", CLOSE))) == [200] * 3
    assert application.inherited == ["", "", ""]


def test_http_1_0_gets_no_chunk_sizes(address: str):
    received = exchange(address, request("/pieces", version="1.0"))
    assert b"transfer-encoding" not in received
    assert received.endswith(b"connection: close\r\n\r\na,b\n1,2\n")
    received = exchange(address, request("/pieces", b"", CLOSE))
    assert received.endswith(b"transfer-encoding: chunked\r\n\r\n4\r\na,b\n\r\n4\r\n1,2\n\r\n0\r\n\r\n")
    assert exchange(address, request("/any", b"123", version="1.0")).endswith(b"connection: close\r\n\r\n123")


def test_http_1_0_gets_no_interim_response(address: str):
    head = request("/any", b"1234", CLOSE, "Expect: 100-continue")[:-4]
    assert statuses(exchange(address, head, b"1234")) == [100, 200]
    assert statuses(exchange(address, head.replace(b"HTTP/1.1", b"HTTP/1.0"), b"1234")) == [200]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_an_incomplete_body_does_not_look_complete(address: str, version: str, caplog: pytest.LogCaptureFixture):
    if version == "1.0":
        with pytest.raises(ConnectionResetError):
            exchange(address, request("/broken", version=version))
    else:
        assert exchange(address, request("/broken", version=version)).endswith(b"4\r\na,b\n\r\n")
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def test_an_idle_connection_stays_open_as_long_as_the_header_says(address: str):
    with connect(address) as client:
        client.sendall(request("/any", b"1"))
        received = client.recv(65536)
        assert b"\r\nconnection: keep-alive\r\nkeep-alive: timeout=2\r\n" in received
        time.sleep(KEEP_ALIVE_SECONDS - 0.3)
        client.sendall(request("/any", b"2"))
        started, received = time.monotonic(), read_all(client)
        assert received.endswith(b"2")
        assert KEEP_ALIVE_SECONDS <= time.monotonic() - started + 0.05 < KEEP_ALIVE_SECONDS + 1


@pytest.mark.parametrize(
    "sent",
    [
        request("/any", b"", CLOSE),
        request("/any", version="1.0"),
        request("/early", b"1234", CLOSE)[:-2],
        request("/early", b"1234", "Expect: 100-continue")[:-4],
    ],
    ids=["close", "HTTP/1.0", "early response", "early response without 100"],
)
def test_a_connection_that_is_closed_sooner_has_no_keep_alive_header(address: str, sent: bytes):
    received = exchange(address, sent)
    assert statuses(received) == [200]
    assert b"connection: close" in received
    assert b"keep-alive" not in received
