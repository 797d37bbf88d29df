"""Load over HTTP from one thread: so many connections kept alive, on each the next request as soon as an answer is whole.

It does next to nothing for a request (two or three system calls), so that the service is what is measured. All
answers to one request have one length here, which is learned from the first.
"""

import socket
import time
from collections.abc import Sequence
from itertools import cycle
from selectors import EVENT_READ, DefaultSelector

BUFFER = 1 << 20


def requests_a_second(port: int, paths: Sequence[str], connections: int, seconds: float) -> float:
    """Ask for these paths, each connection for one of them, as often as it goes."""
    requests = [f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode() for path in paths]
    lengths = [_length(port, request) for request in requests]
    buffer = bytearray(BUFFER)
    missing: dict[int, int] = {}
    answered = 0
    with DefaultSelector() as selector:
        sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
        for each, request, length in zip(sockets, cycle(requests), cycle(lengths), strict=False):
            selector.register(each, EVENT_READ, (each, request, length))
            missing[each.fileno()] = length
            each.sendall(request)
        start = time.perf_counter()
        while (now := time.perf_counter()) < start + seconds:
            for key, _ in selector.select(timeout=10):
                each, request, length = key.data
                received = each.recv_into(buffer)
                if missing[key.fd] == length and not buffer.startswith(b"HTTP/1.1 200 "):
                    raise RuntimeError(f"{request!r} was answered {bytes(buffer[:received])!r}")
                missing[key.fd] -= received
                if missing[key.fd] == 0:
                    answered += 1
                    missing[key.fd] = length
                    each.sendall(request)
        for each in sockets:
            each.close()
    return answered / (now - start)


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
