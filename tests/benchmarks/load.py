"""HTTP load from one thread over keep-alive connections; each sends its next request when a response is complete.

A request takes two or three system calls here, so that the service is the bottleneck. All responses to one request have the
same length, measured on the first. Every request is answered before the load ends, so that no work is left for the server
during another contender's turn.
"""

import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle
from selectors import EVENT_READ, DefaultSelector

BUFFER = 1 << 20
SILENCE_SECONDS = 30


@dataclass(frozen=True)
class Answered:
    """Responses to requests."""

    a_second: float
    latencies: list[float]
    """Seconds from each request to the last byte of its response."""


def requests_a_second(port: int, paths: Sequence[str], connections: int, seconds: float) -> float:
    """Request these paths, one on each connection, as fast as possible, and return the requests a second."""
    return ask(port, paths, connections, seconds).a_second


def ask(port: int, paths: Sequence[str], connections: int, seconds: float) -> Answered:
    """Run the same load and return the latencies as well."""
    requests = [f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode() for path in paths]
    lengths = [_length(port, request) for request in requests]
    buffer = bytearray(BUFFER)
    missing: dict[int, int] = {}
    sent: dict[int, float] = {}
    latencies: list[float] = []
    with DefaultSelector() as selector, ExitStack() as stack:
        start = moment = time.perf_counter()
        for _, request, length in zip(range(connections), cycle(requests), cycle(lengths), strict=False):
            each = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            selector.register(each, EVENT_READ, (each, request, length))
            missing[each.fileno()] = length
            sent[each.fileno()] = time.perf_counter()
            each.sendall(request)
        while sent:
            if not (ready := selector.select(SILENCE_SECONDS)):
                raise RuntimeError(f"no answer within {SILENCE_SECONDS} s")
            for key, _ in ready:
                each, request, length = key.data
                received = each.recv_into(buffer)
                if not received or (missing[key.fd] == length and not buffer.startswith(b"HTTP/1.1 200 ")):
                    raise RuntimeError(f"{request!r} was answered {bytes(buffer[:received])!r}")
                missing[key.fd] -= received
                if missing[key.fd] == 0:
                    moment = time.perf_counter()
                    latencies.append(moment - sent[key.fd])
                    if moment < start + seconds:
                        missing[key.fd] = length
                        sent[key.fd] = moment
                        each.sendall(request)
                    else:
                        del sent[key.fd]
    return Answered(len(latencies) / (moment - start), latencies)


def _length(port: int, request: bytes) -> int:
    """Return the number of bytes of the complete response to a request."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            if not (received := connection.recv(BUFFER)):
                raise RuntimeError(f"the service closed the connection after {answer!r}")
            answer += received
    head = answer.partition(b"\r\n\r\n")[0]
    (size,) = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return len(head) + 4 + size
