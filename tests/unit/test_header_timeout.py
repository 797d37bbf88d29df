"""Time-out and size limit for request headers (slow-loris protection)."""

import asyncio
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from helpers.support import serving
from websockets.sync.client import connect

from market_data.server import http_protocol

SECONDS = 0.5


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await asyncio.sleep(3 * SECONDS)
        await send({"type": "websocket.send", "text": "still there"})
        await receive()
        return
    body = b""
    while (message := await receive()).get("more_body"):
        body += message["body"]
    if scope["path"] == "/slow":
        await asyncio.sleep(3 * SECONDS)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"done"})


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    monkeypatch.setattr(http_protocol, "HEADER_TIMEOUT_SECONDS", SECONDS)
    with serving(app, lifespan="off") as base:
        url = httpx.URL(base)
        yield url.host, url.port or 80


def read_until_closed(client: socket.socket) -> tuple[bytes, float]:
    """Read a connection until it is closed; return the bytes and the seconds."""
    started, received = time.monotonic(), b""
    client.settimeout(10)
    while piece := client.recv(65536):
        received += piece
    return received, time.monotonic() - started


def test_a_connection_without_a_request_is_closed(address: tuple[str, int]):
    with socket.create_connection(address) as client:
        received, seconds = read_until_closed(client)
    assert received == b""
    assert seconds == pytest.approx(SECONDS, abs=0.4)


@pytest.mark.parametrize("first", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"], ids=["first request", "second request"])
@pytest.mark.parametrize("piece", [b"X-Long: a\r\n", b"\r\n"], ids=["header lines", "empty lines"])
def test_a_connection_with_slow_headers_is_closed(address: tuple[str, int], first: bytes, piece: bytes):
    with socket.create_connection(address) as client:
        if first:
            client.sendall(first)
            received = b""
            while not received.endswith(b"done"):
                received += client.recv(65536)
        client.sendall(b"GET / HTTP/1.1\r\n" if piece.strip() else piece)
        started = time.monotonic()
        with pytest.raises(OSError, match=r"reset|pipe"):
            trickle(client, piece)
        assert SECONDS <= time.monotonic() - started + 0.1 < SECONDS + 1


def trickle(client: socket.socket, piece: bytes) -> None:
    for _ in range(200):
        client.sendall(piece)
        time.sleep(0.02)


def test_too_large_headers_are_400(address: tuple[str, int]):
    with socket.create_connection(address) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * http_protocol.MAX_HEADER_BYTES)
        received, seconds = read_until_closed(client)
    assert received.startswith(b"HTTP/1.1 400 ")
    assert seconds < SECONDS


@pytest.mark.parametrize("limited", ["headers", "trailers"])
def test_what_arrives_in_many_packets_is_limited(address: tuple[str, int], limited: str):
    chunked = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Long: "
    with socket.create_connection(address) as client:
        client.sendall(chunked if limited == "trailers" else b"GET / HTTP/1.1\r\nX-Long: ")
        for _ in range(3):
            time.sleep(0.02)
            client.sendall(b"a" * (http_protocol.MAX_HEADER_BYTES // 2))
        received, seconds = read_until_closed(client)
    assert received.startswith(b"HTTP/1.1 400 ")
    assert f"more than {http_protocol.MAX_HEADER_BYTES:,} bytes".encode() in received
    assert seconds < SECONDS


def test_bodies_and_responses_may_take_longer(address: tuple[str, int]):
    host, port = address
    with httpx.Client(base_url=f"http://{host}:{port}") as client:
        for _ in range(3):
            assert client.get("/").text == "done"
        assert client.get("/slow").text == "done"

        def body() -> Iterator[bytes]:
            for _ in range(6):
                time.sleep(SECONDS / 3)
                yield b"a" * 50_000

        assert client.post("/", content=body()).text == "done"
        time.sleep(2 * SECONDS)
        assert client.get("/", headers={"X-Long": "a" * 60_000}).text == "done"
    with socket.create_connection(address) as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert read_until_closed(client)[0].endswith(b"done")


def test_a_websocket_stays_open(address: tuple[str, int]):
    with connect(f"ws://{address[0]}:{address[1]}/") as client:
        assert client.recv(10) == "still there"
