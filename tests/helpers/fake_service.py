"""Fake service with scripted responses, for client tests with responses that a real service rarely sends."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

STREAM = {"Content-Type": "text/event-stream"}
PROBLEM = {"Content-Type": "application/problem+json"}


class Reply(NamedTuple):
    """Response to one connection."""

    body: str
    status: int = 200
    headers: dict[str, str] = STREAM
    holds: bool = False
    """True to keep the connection open and silent after the body."""


class FakeService(ThreadingHTTPServer):
    """Sends one reply per connection, in order, and records the requests."""

    daemon_threads = True

    def __init__(self, *replies: Reply) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies = list(replies)
        self.requests: list[tuple[str, str | None]] = []
        self.ended = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: FakeService  # type: ignore[reportIncompatibleVariableOverride]  # the handler is only used with this class

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers.get("Last-Event-ID")))
        reply = self.server.replies.pop(0)
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body.encode())
        self.wfile.flush()
        if reply.holds:
            self.server.ended.wait(30)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        pass


@contextmanager
def fake_service(*replies: Reply) -> Iterator[FakeService]:
    """Run a fake service for the block."""
    with FakeService(*replies) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.ended.set()
            server.shutdown()
            thread.join()
