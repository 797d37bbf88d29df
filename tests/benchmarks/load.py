"""Load over HTTP from one thread: so many connections kept alive, on each the next request as soon as an answer is whole.

It does next to nothing for a request (two or three system calls), so that the service is what is measured. All
answers to one request have one length here, which is learned from the first. All that is asked is answered to the end: when
another one's turn comes, nothing is left for the server to do.
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
    """How requests were answered."""

    a_second: float
    latencies: list[float]
    """Seconds from sending each request to the last byte of its answer."""


def requests_a_second(port: int, paths: Sequence[str], connections: int, seconds: float) -> float:
    """Ask for these paths, each connection for one of them, as often as it goes."""
    return ask(port, paths, connections, seconds).a_second


def ask(port: int, paths: Sequence[str], connections: int, seconds: float) -> Answered:
    """The same, with how long each answer took."""
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
    """Bytes of the whole answer to a request."""
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
