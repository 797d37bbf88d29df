"""A client that sends arbitrary bytes over a socket, and functions that build messages."""

import socket
import struct
from types import TracebackType
from urllib.parse import urlsplit


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def startup(version: int = 196608, **parameters: str) -> bytes:
    parameters = {"user": "postgres", "database": "market_data"} | parameters
    body = struct.pack("!i", version)
    for name, value in parameters.items():
        body += name.encode() + b"\0" + value.encode() + b"\0"
    body += b"\0"
    return struct.pack("!i", len(body) + 4) + body


def query(text: str) -> bytes:
    return message(b"Q", text.encode() + b"\0")


def parse(name: str, text: str) -> bytes:
    return message(b"P", f"{name}\0{text}\0".encode() + b"\0\0")


def bind(portal: str, statement: str) -> bytes:
    return message(b"B", f"{portal}\0{statement}\0".encode() + b"\0" * 6)


def execute(portal: str) -> bytes:
    return message(b"E", f"{portal}\0".encode() + b"\0" * 4)


SYNC = message(b"S")
FLUSH = message(b"H")


class RawClient:
    """A socket connected to the engine; with `start`, the start-up is complete."""

    def __init__(self, dsn: str, *, start: bool = True) -> None:
        address = urlsplit(dsn)
        assert address.hostname
        assert address.port
        self.socket = socket.create_connection((address.hostname, address.port), timeout=10)
        if start:
            self.send(startup())
            self.until(b"Z")

    def __enter__(self) -> "RawClient":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def until(self, kind: bytes) -> list[tuple[bytes, bytes]]:
        """Messages up to and including the first of this kind, or until the engine closes the connection."""
        received: list[tuple[bytes, bytes]] = []
        while not received or received[-1][0] != kind:
            head = self._exactly(5)
            if head is None:
                break
            body = self._exactly(struct.unpack("!i", head[1:])[0] - 4)
            if body is None:
                break
            received.append((head[:1], body))
        return received

    def until_closed(self) -> list[tuple[bytes, bytes]]:
        """Messages until the engine closes the connection; times out if it does not."""
        return self.until(b"")

    def _exactly(self, count: int) -> bytes | None:
        data = b""
        while len(data) < count:
            try:
                part = self.socket.recv(count - len(data))
            except ConnectionResetError:
                return None
            if not part:
                return None
            data += part
        return data


def fields(body: bytes) -> dict[str, str]:
    """Fields of an ErrorResponse by their one-letter codes."""
    return {part[:1].decode(): part[1:].decode() for part in body.split(b"\0") if part}
