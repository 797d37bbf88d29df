"""Wait for a service that is busy with what was stored before it started."""

import time
from http.client import HTTPConnection

QUIET_SECONDS = 15


def get(connection: HTTPConnection, path: str) -> tuple[int, bytes]:
    """Return the status and the body of a response."""
    connection.request("GET", path)
    response = connection.getresponse()
    return response.status, response.read()


def wait_for_log(port: int, quiet_seconds: float = QUIET_SECONDS) -> float:
    """Wait until the transparency log has not grown for a while, and return the seconds for which it grew."""
    start = grown = time.perf_counter()
    size = b""
    while time.perf_counter() < grown + quiet_seconds:
        status, checkpoint = get(HTTPConnection("127.0.0.1", port, timeout=60), "/log/checkpoint")
        now = checkpoint.split(b"\n")[1] if status == 200 else b""  # below the name of the log
        if not now or now != size:
            size, grown = now, time.perf_counter()
        time.sleep(0.5)
    return grown - start
