"""HTTP as bytes on a socket, for what client libraries do not send."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx


def connect(address: str, receive_buffer: int | None = None) -> socket.socket:
    """Return a connection to a service, with a receive buffer of this size."""
    url = httpx.URL(address)
    connection = socket.socket()
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(20)
    connection.connect((url.host, url.port or 80))
    return connection


def read_all(connection: socket.socket) -> bytes:
    """Return everything until the service closes the connection."""
    received = b""
    while piece := connection.recv(65536):
        received += piece
    return received


def read_until(connection: socket.socket, text: bytes) -> bytes:
    """Return what the service sends up to the packet with a text."""
    received = b""
    while text not in received:
        piece = connection.recv(65536)
        assert piece, received
        received += piece
    return received


def exchange(address: str, *pieces: bytes, half_close: bool = False) -> bytes:
    """Send pieces, each in a packet of its own, and return the response until the service closes the connection."""
    with connect(address) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(0.05)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        return read_all(connection)


def request(path: str, body: bytes = b"", *headers: str, version: str = "1.1") -> bytes:
    """Return the bytes of a request, a POST if it has a body."""
    lines = [f"{'POST' if body else 'GET'} {path} HTTP/{version}", "Host: localhost", *headers]
    lines += [f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join([*lines, "", ""]).encode() + body


@contextmanager
def half_closed(address: str, sent: bytes) -> Iterator[socket.socket]:
    """Yield a connection whose client has closed its side after sending, as `nc -N` does."""
    with connect(address) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        yield connection


def statuses(received: bytes) -> list[int]:
    """Return the statuses of all responses."""
    return [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]
