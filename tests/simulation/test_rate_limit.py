"""Rate limiter under random schedules: no client gets more than its budget, and Retry-After is right."""

import asyncio
import os
from collections import Counter, defaultdict
from random import Random
from typing import Any

import pytest
from helpers.simulation.loop import run_schedules

from market_data.auth.api_keys import ApiKey
from market_data.middleware import shared_buckets
from market_data.middleware.rate_limit import SECOND, RateLimit, RateLimiter
from market_data.middleware.shared_buckets import FILE, SLOTS_PER_BUCKET, SharedBuckets, shared_buckets_file
from market_data.settings import Settings

CLIENTS = (1, 2, "10.0.0.1", "10.0.0.2", "2001:db8:0:1::5", "2001:db8:0:2::5")
"""Ids of keys, and addresses, of which each has its own limit."""


async def answer(_scope: Any, _receive: Any, send: Any) -> None:
    await asyncio.sleep(0)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


class Workers:
    """Worker processes of one service, each with its own limiter over the shared table."""

    def __init__(self, random: Random, limit: int, seconds: float) -> None:
        self.random = random
        self.limit = limit
        loop = asyncio.get_running_loop()
        self.now = lambda: 1_000 * SECOND + round(loop.time() * SECOND)
        settings = Settings(rate_limit=limit, rate_limit_seconds=seconds)
        self._workers = [RateLimit(answer, settings) for _ in range(3)]
        for worker in self._workers:
            worker._limiter = RateLimiter(limit, seconds, SharedBuckets.shared(os.environ[FILE]), self.now)
        self.step = int(seconds * SECOND) // limit
        self.granted: defaultdict[int | str, list[int]] = defaultdict(list)
        """Times of granted requests, by client."""

    async def request(self, client: int | str) -> tuple[int, dict[str, int]]:
        """Return the status and the headers about the limit."""
        scope: dict[str, Any] = {
            "type": "http",
            "method": "GET",
            "path": "/price/latest",
            "headers": [],
            "client": (client if isinstance(client, str) else "192.0.2.1", 1),
            "state": {"key": ApiKey(client, "", frozenset(), None) if isinstance(client, int) else None},
        }
        messages: list[Any] = []

        async def send(message: Any) -> None:
            messages.append(message)

        at = self.now()
        await self.random.choice(self._workers)(scope, receive, send)  # type: ignore[arg-type] # the used part of a scope
        headers = {name.decode(): int(value) for name, value in messages[0]["headers"] if value.isdigit()}
        if messages[0]["status"] == 200:
            self.granted[client].append(at)
        return messages[0]["status"], headers

    def check_budgets(self) -> None:
        """Fail if a client got more in any window than the limit and the regained part."""
        for client, times in self.granted.items():
            for first, begin in enumerate(times):
                for count, end in enumerate(times[first:], start=1):
                    assert count <= self.limit + (end - begin) // self.step, f"{client} got {count} in {end - begin} ns"


async def use(workers: Workers, client: int | str, seen: Counter[str]) -> None:
    """Send bursts and single requests; a client that waits as long as it is told is served."""
    random = workers.random
    for _ in range(random.randint(3, 10)):
        await asyncio.sleep(random.choice([0, random.expovariate(0.5)]))
        for _ in range(random.choice([1, 1, workers.limit, 2 * workers.limit])):
            status, headers = await workers.request(client)
            seen[str(status)] += 1
            if status == 429:
                await asyncio.sleep(headers["retry-after"])
                status, headers = await workers.request(client)
                assert status == 200, "a client that waited for Retry-After was rejected"
            elif headers["ratelimit-remaining"] and random.random() < 0.3:
                status, headers = await workers.request(client)
                assert status == 200, "RateLimit-Remaining was too high"
            elif random.random() < 0.05:
                await asyncio.sleep(headers["ratelimit-reset"])
                _, headers = await workers.request(client)
                assert headers["ratelimit-remaining"] == workers.limit - 1, "RateLimit-Reset was too early"


def test_no_client_gets_more_than_its_budget(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shared_buckets, "BUCKETS", 1)  # all clients share a bucket, whose slots suffice
    assert len(CLIENTS) <= SLOTS_PER_BUCKET
    seen: Counter[str] = Counter()

    async def scenario(random: Random) -> None:
        with shared_buckets_file():
            workers = Workers(random, random.choice([1, 2, 5, 30]), random.choice([0.5, 1.0, 10.0, 60.0]))
            async with asyncio.TaskGroup() as clients:
                for client in CLIENTS:
                    clients.create_task(use(workers, client, seen))
        workers.check_budgets()

    run_schedules(scenario, 100)
    assert min(seen["200"], seen["429"]) > 100
