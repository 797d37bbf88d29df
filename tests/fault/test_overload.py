"""More requests at once than a worker can answer."""

import asyncio
import json
import time
from pathlib import Path
from statistics import median

from helpers.service import running

MANY = 400
FEW = 20
ROUNDS = 6
READ = "/symbols"


async def ask(port: int, path: str, rounds: int) -> list[tuple[int, dict[str, str], float]]:
    """The statuses, headers and seconds of requests that follow each other on one connection."""
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
    """What so many are answered who all ask at once, and what a probe is meanwhile."""
    many = [asyncio.create_task(ask(port, READ, ROUNDS)) for _ in range(connections)]
    probes: list[int] = []
    while not all(task.done() for task in many):
        probes += [status for status, _, _ in await ask(port, "/health/live", 1)]
        await asyncio.sleep(0.02)
    return [answer for task in many for answer in task.result()], probes


def test_some_are_answered_and_others_refused_at_once(database_url: str, tmp_path: Path):
    with running(tmp_path, DATABASE_URL=database_url, FEED_ENABLED="false", LOG_LEVEL="WARNING") as (service, client):
        answers, probes = asyncio.run(flood(client.base_url.port or 0, MANY))
        assert {status for status, _, _ in answers} == {200, 503}
        assert all(headers["retry-after"] == "1" for status, headers, _ in answers if status == 503)
        soon, late = (median(seconds for is_, _, seconds in answers if is_ == status) for status in (503, 200))
        assert soon < late, "nobody waits to be refused"
        assert set(probes) == {200}, "who watches over the service is never refused"
        assert client.get(READ).status_code == 200, "it is over with the last of them"
        told = [json.loads(line)["event"] for line in service.text.splitlines() if line.startswith("{")]
        assert 1 <= len(told) <= 10
        assert all(line.startswith("shedding load: rejected ") for line in told)


def test_few_are_never_refused(database_url: str, tmp_path: Path):
    with running(tmp_path, DATABASE_URL=database_url, FEED_ENABLED="false", LOG_LEVEL="WARNING") as (service, client):
        answers, _ = asyncio.run(flood(client.base_url.port or 0, FEW))
        assert {status for status, _, _ in answers} == {200}
        assert "too many" not in service.text
