"""More concurrent requests than a worker can answer."""

import asyncio
import json
import re
import time
from pathlib import Path
from statistics import median

from helpers.service import running

MANY_CONNECTIONS = 400
FEW_CONNECTIONS = 20
ROUNDS = 6
READ = "/symbols"

WARNING = re.compile(r"shedding load: rejected (a request|\d+ requests in \d+ s) \(.+\)")


async def send_requests(port: int, path: str, rounds: int) -> list[tuple[int, dict[str, str], float]]:
    """Send requests one after the other on one connection; return their statuses, headers and seconds."""
    answers: list[tuple[int, dict[str, str], float]] = []
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(rounds):
        begin = time.monotonic()
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        await reader.readexactly(int(headers["content-length"]))
        answers.append((int(first.split()[1]), headers, time.monotonic() - begin))
    writer.close()
    return answers


async def flood(port: int, connections: int) -> tuple[list[tuple[int, dict[str, str], float]], list[int]]:
    """Send requests on many connections at once; return their responses, and the statuses of health checks meanwhile."""
    many = [asyncio.create_task(send_requests(port, READ, ROUNDS)) for _ in range(connections)]
    probes: list[int] = []
    while not all(task.done() for task in many):
        probes += [status for status, _, _ in await send_requests(port, "/health/live", 1)]
        await asyncio.sleep(0.02)
    return [answer for task in many for answer in task.result()], probes


def test_some_requests_are_answered_and_others_rejected_at_once(database_url: str, tmp_path: Path):
    with running(tmp_path, DATABASE_URL=database_url, FEED_ENABLED="false", LOG_LEVEL="WARNING") as (service, client):
        answers, probes = asyncio.run(flood(client.base_url.port or 0, MANY_CONNECTIONS))
        assert {status for status, _, _ in answers} == {200, 503}
        assert all(headers["retry-after"] == "1" for status, headers, _ in answers if status == 503)
        soon, late = (median(seconds for is_, _, seconds in answers if is_ == status) for status in (503, 200))
        assert soon < late, "rejections are faster than answers"
        assert set(probes) == {200}, "health checks are never rejected"
        assert client.get(READ).status_code == 200, "the overload ends with its requests"
        events = [json.loads(line)["event"] for line in service.text.splitlines() if line.startswith("{")]
        assert 1 <= len(events) <= 10
        assert all(WARNING.fullmatch(line) for line in events), events


def test_few_requests_are_never_rejected(database_url: str, tmp_path: Path):
    with running(tmp_path, DATABASE_URL=database_url, FEED_ENABLED="false", LOG_LEVEL="WARNING") as (service, client):
        answers, _ = asyncio.run(flood(client.base_url.port or 0, FEW_CONNECTIONS))
        assert {status for status, _, _ in answers} == {200}
        assert "shedding load" not in service.text
