"""A client that sends arbitrary bytes over a socket, and functions that build messages."""

import base64
import hashlib
import hmac
import socket
import struct
from pathlib import Path
from types import TracebackType

from psycopg.conninfo import conninfo_to_dict


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
        address = conninfo_to_dict(dsn)
        self.passfile = Path(str(address["passfile"]))
        self.sent = b""
        self.socket = socket.create_connection((str(address["host"]), int(str(address["port"]))), timeout=10)
        if start:
            self.send(startup())
            self.authenticate()
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
        self.sent += data
        self.socket.sendall(data)

    def authenticate(self, password: str = "") -> list[tuple[bytes, bytes]]:
        """Send the messages of SCRAM-SHA-256 after a start-up message.

        The default password is that of the file. Returns the messages up to the last of the authentication or an error.
        """
        password = password or self.passfile.read_text().strip().rpartition(":")[2]
        received = self.until(b"R")
        if received[-1][0] == b"E":
            return received
        bare = "n=,r=nonce-of-the-test"
        self.send(message(b"p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(bare) + 3) + b"n,," + bare.encode()))
        ((_, body),) = self.until(b"R")
        challenge = body[4:].decode()
        nonce, salt, iterations = (field[2:] for field in challenge.split(","))
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(iterations))
        key = hmac.digest(salted, b"Client Key", "sha256")
        final = f"c=biws,r={nonce}"
        signed = f"{bare},{challenge},{final}".encode()
        signature = hmac.digest(hashlib.sha256(key).digest(), signed, "sha256")
        proof = bytes(a ^ b for a, b in zip(key, signature, strict=True))
        self.send(message(b"p", f"{final},p={base64.b64encode(proof).decode()}".encode()))
        answer = self.until(b"R")
        if answer[-1][0] == b"R":
            verifier = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), signed, "sha256")
            assert answer[-1][1][4:] == b"v=" + base64.b64encode(verifier)
        return received + answer

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
