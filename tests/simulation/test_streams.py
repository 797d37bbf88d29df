"""Streams under random schedules: each client receives each event once and in order, or is told that it lost events."""

import asyncio
import logging
from collections import Counter
from random import Random
from unittest.mock import patch

import pytest
from helpers.simulation.connection import Network, SimulatedConnection, SimulatedPool
from helpers.simulation.loop import run_schedules
from helpers.simulation.stream_client import StreamClient
from helpers.simulation.stream_database import StreamDatabase

from market_data.settings import Settings
from market_data.streaming import clients, hub, recent_rows, replay
from market_data.streaming.clients import TOO_SLOW
from market_data.streaming.disconnections import AWAY, STOPPING
from market_data.streaming.events import EventId
from market_data.streaming.hub import HEARTBEAT_SECONDS, Hub
from market_data.streaming.replay import TOO_OLD

SETTINGS = Settings(query_timeout_seconds=1, pool_timeout_seconds=1, pool_size=2)
MAX_RECOVERY_SECONDS = 300.0
"""Time after the last commit and fault until all clients have all events: small pages travel through a slow network."""

KEPT_SECONDS = 30
"""Age at which events are deleted; an hour in a real database."""

SMALL = {
    (hub, "PAGE_ROWS"): 4,
    (replay, "PAGE_ROWS"): 4,
    (hub, "MAX_AWAITING_ROWS"): 12,
    (replay, "MAX_VERSIONS"): 7,
    (recent_rows, "MAX_ROWS"): 12,
    (recent_rows, "RECENT_VERSIONS"): 5,
    (hub, "KEEP_SECONDS"): 5,
    (clients, "MAX_PENDING_BYTES"): 1_000,
    (clients, "BATCH_BYTES"): 500,
}
"""Limits that a short schedule reaches."""


class Workers:
    """Workers of a service on one simulated database, and their clients."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.database = StreamDatabase(random)
        self.network = Network(random)
        self.hubs: list[Hub] = []
        self._running: list[asyncio.Task[None]] = []
        self.clients = [StreamClient(random, self.database, self.hubs) for _ in range(4)]

    def start(self) -> None:
        """Start two workers and the clients."""
        for _ in range(2):
            self._start_worker()
        self._following = [asyncio.create_task(each.run()) for each in self.clients]

    def _start_worker(self) -> None:
        hub = Hub("", SETTINGS, SimulatedPool(self.network, self.database))  # type: ignore[arg-type]
        self.hubs.append(hub)
        self._running.append(asyncio.create_task(hub.run()))

    def restart_worker(self) -> None:
        """Stop a worker, and start another one."""
        self.hubs.pop(0).clients.stop()
        self._running.pop(0).cancel()
        self._start_worker()

    async def connect(self, _url: str, _timeout: float) -> SimulatedConnection:
        return await SimulatedConnection.open(self.network, self.database)

    async def write(self) -> None:
        """Commit one to three trades at a time, seldom many, or cancels, or bulk history."""
        for _ in range(self.random.randint(10, 30)):
            await asyncio.sleep(self.random.choice([0, self.random.expovariate(2), self.random.expovariate(0.3)]))
            match self.random.randrange(16):
                case 0 | 1 | 2 | 3:
                    self.database.cancel()
                case 4 | 5:
                    self.database.store_in_bulk()
                case 6:
                    await self.turn_of_the_minute()
                case _:
                    self.database.store(self.random.choice([1, 1, 1, 2, 3, 15]))

    async def turn_of_the_minute(self) -> None:
        """Commit a trade and its cancel just before candles close."""
        now = self.database.now
        await asyncio.sleep(60 - self.random.uniform(0, 1) - now.second - now.microsecond / 1e6)
        self.database.store(1)
        await asyncio.sleep(self.random.uniform(0, 1))
        self.database.cancel()

    async def disturb(self) -> None:
        for _ in range(self.random.randint(0, 4)):
            await asyncio.sleep(self.random.uniform(0, 8))
            seconds = self.random.uniform(0, 4)
            match self.random.randrange(5):
                case 0:
                    self.network.cut()
                case 1:
                    self.network.stalled = True
                case 2:
                    self.network.reachable = False
                    self.network.cut()
                    seconds = self.random.choice([seconds, 2 * KEPT_SECONDS])
                case 3:
                    self.restart_worker()
                case _:
                    pass
            await asyncio.sleep(seconds)
            self.database.trim(KEPT_SECONDS)
            self.network.stalled, self.network.reachable = False, True

    async def recovery(self) -> None:
        """Wait until the last heartbeats say that all clients have all events."""
        deadline = self.database.loop.time() + MAX_RECOVERY_SECONDS
        quiet = self.database.loop.time() + 2 * HEARTBEAT_SECONDS
        newest = EventId(0, 0, 0)
        while min(each.position or EventId(0, 0, 0) for each in self.clients) < newest or newest.version == 0:
            await asyncio.sleep(1)
            for task in (*self._running, *self._following):
                if task.done():
                    task.result()
            assert self.database.loop.time() < deadline, "a client does not get all events"
            if self.database.loop.time() > quiet:
                newest = EventId.after(self.database.version)
        assert [each._state for each in self.hubs] == ["following"] * len(self.hubs)

    async def leave(self) -> None:
        """Let all clients leave; fail if a worker keeps one."""
        for task in self._following:
            task.cancel()
        await asyncio.gather(*self._following, return_exceptions=True)
        assert not any(each._subscribers or len(each.clients) for each in self.hubs)


async def follow(random: Random, seen: Counter[str]) -> None:
    workers = Workers(random)
    with patch.object(hub, "connect", workers.connect):
        workers.start()
        async with asyncio.TaskGroup() as writing:
            writing.create_task(workers.write())
            writing.create_task(workers.disturb())
        for client in workers.clients:
            client.calm()
        await workers.recovery()
        newest = EventId.after(workers.database.version)
        for client in workers.clients:
            client.check_end(newest)
            seen.update(client.seen)
        await workers.leave()


def test_each_client_receives_each_event_once_and_in_order(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    seen: Counter[str] = Counter()

    async def scenario(random: Random) -> None:
        await follow(random, seen)
        assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []

    for (module, name), value in SMALL.items():
        monkeypatch.setattr(module, name, value)
    run_schedules(scenario, 200)
    assert seen.keys() >= {"trade", "candle", "reload", "removed", "heartbeat", "left", "lost", "subscribed", "unavailable"}
    assert 10 * seen["fast client disconnected"] < seen[TOO_SLOW]
    assert seen.keys() >= {TOO_SLOW, STOPPING, AWAY, TOO_OLD}
