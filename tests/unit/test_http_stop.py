"""Clients of a service that stops, on the wire: those that wait for a response, that still send, and that do not read."""

import asyncio
import json
import logging
import select
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from helpers.raw_http import connect, read_all, request, statuses
from helpers.service import eventually
from helpers.support import serving
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect as open_websocket

from market_data.middleware.timeout import STOPPING, STOPPING_WRITE, RequestTimeout
from market_data.server.stop import REQUESTS_STOP_SECONDS


class Application:
    """Application whose requests take longer than a stop."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.paths.append(scope["path"])
        await getattr(self, scope["path"][1:])(receive, send)

    async def wait(self, receive: Any, _send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await asyncio.sleep(60)

    async def large(self, _receive: Any, send: Any) -> None:
        body = b"x" * 20_000_000
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    async def endless(self, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/csv")]})
        await send({"type": "http.response.body", "body": b"a,b\n", "more_body": True})
        await asyncio.sleep(60)

    async def socket(self, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()

    async def handshake(self, receive: Any, send: Any) -> None:
        await receive()
        await asyncio.sleep(1)
        await send({"type": "websocket.accept"})


class Clients(logging.Handler):
    """Clients at a stop, what they received, and what was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.received: dict[str, Any] = {}
        self.records: list[logging.LogRecord] = []
        self.seconds = 0.0
        self.stack = ExitStack()

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def start(self, client: Callable[[str], Any], address: str) -> None:
        thread = threading.Thread(target=lambda: self.received.update({client.__name__: client(address)}))
        thread.start()
        self.stack.callback(thread.join)


def waiting(address: str) -> bytes:
    with connect(address) as client:
        client.sendall(request("/wait"))
        return read_all(client)


def sending(address: str) -> bytes:
    """Send 20 more pieces of a body after the response has arrived, and only then read it."""
    with connect(address) as client:
        client.sendall(request("/wait", b"x" * 100_000_000)[:1000])
        left = 20
        while left:
            client.sendall(b"x" * 10_000)
            left -= bool(select.select([client], [], [], 0.005)[0])
        return read_all(client)


def reading(address: str) -> bytes:
    with connect(address) as client:
        client.sendall(request("/endless"))
        return read_all(client)


def not_reading(address: str) -> None:
    with connect(address) as client:
        client.sendall(request("/large") + request("/wait"))
        time.sleep(REQUESTS_STOP_SECONDS + 1)


def websocket(address: str) -> Any:
    with open_websocket(address.replace("http", "ws") + "/socket") as client:
        try:
            client.recv(timeout=20)
        except ConnectionClosed as closed:
            return closed.rcvd


def handshaking(address: str) -> Any:
    try:
        open_websocket(address.replace("http", "ws") + "/handshake")
    except InvalidStatus as refused:
        return refused.response


@pytest.fixture(scope="module")
def stopped() -> Clients:
    application, clients, logger = Application(), Clients(), logging.getLogger()
    logger.addHandler(clients)
    with clients.stack:
        app: Any = RequestTimeout(application, 60)
        with serving(app, lifespan="off", timeout_graceful_shutdown=REQUESTS_STOP_SECONDS) as address:
            for client in (waiting, sending, reading, not_reading, websocket, handshaking):
                clients.start(client, address)
            eventually(lambda: len(application.paths) == 7)
            started = time.monotonic()
        clients.seconds = time.monotonic() - started
    logger.removeHandler(clients)
    return clients


def test_it_ends_in_time_without_an_error_in_the_log(stopped: Clients):
    assert stopped.seconds < REQUESTS_STOP_SECONDS + 1
    assert [record.getMessage() for record in stopped.records if record.levelno > logging.INFO] == []


@pytest.mark.parametrize(("client", "detail"), [("waiting", STOPPING), ("sending", STOPPING_WRITE)])
def test_a_request_without_a_response_gets_503(stopped: Clients, client: str, detail: str):
    head, _, body = stopped.received[client].partition(b"\r\n\r\n")
    assert statuses(head) == [503]
    assert b"\r\nretry-after: " in head
    assert json.loads(body)["detail"] == detail


def test_an_incomplete_response_does_not_look_complete(stopped: Clients):
    assert stopped.received["reading"].endswith(b"\r\n\r\n4\r\na,b\n\r\n")


def test_websockets_are_told_to_try_again(stopped: Clients):
    assert stopped.received["websocket"].code == 1013
    refusal = stopped.received["handshaking"]
    assert (refusal.status_code, refusal.headers["Retry-After"]) == (503, "1")
    assert json.loads(refusal.body)["detail"] == STOPPING
