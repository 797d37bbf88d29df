"""A service that answers as it is told, for clients to be tested with what a real one seldom says."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

STREAM = {"Content-Type": "text/event-stream"}
PROBLEM = {"Content-Type": "application/problem+json"}


class Reply(NamedTuple):
    """How the service is to answer a connection."""

    body: str
    status: int = 200
    headers: dict[str, str] = STREAM
    holds: bool = False
    """Whether it then says nothing more, but keeps the connection."""


class Scripted(ThreadingHTTPServer):
    """A service that answers each connection as it is told, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self, *replies: Reply) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies = list(replies)
        self.asked: list[tuple[str, str | None]] = []
        self.ended = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Scripted  # type: ignore[reportIncompatibleVariableOverride]  # the one class of servers that it is used with

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Last-Event-ID")))
        reply = self.server.replies.pop(0)
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body.encode())
        self.wfile.flush()
        if reply.holds:
            self.server.ended.wait(30)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - what it is called there
        pass


@contextmanager
def scripted(*replies: Reply) -> Iterator[Scripted]:
    """Such a service for the length of a `with`."""
    with Scripted(*replies) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.ended.set()
            server.shutdown()
            thread.join()
