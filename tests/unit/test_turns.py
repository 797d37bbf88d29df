"""Turns of streams, and heartbeats at different times."""

import asyncio
import gc
import time
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest

from market_data.middleware import stream_starts
from market_data.middleware.stream_starts import StreamStarts
from market_data.streaming import subscribers
from market_data.streaming.clients import Client
from market_data.streaming.events import EventId
from market_data.streaming.subscribers import Subscribers
from market_data.streaming.subscriptions import Subscription
from market_data.streaming.turns import Turns


async def iterations_of(waits: list[Callable[[], Awaitable[None]]], leaving: frozenset[int] = frozenset()) -> dict[int, int]:
    """Let some waits begin together and cancel some of these; return the iteration of the loop in which each one ended."""
    iteration = 0
    ended: dict[int, int] = {}

    async def wait(number: int) -> None:
        await waits[number]()
        ended[number] = iteration

    tasks = [asyncio.create_task(wait(number)) for number in range(len(waits))]
    await asyncio.sleep(0)
    for number in leaving:
        tasks[number].cancel()
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0)
        iteration += 1
    return ended


def expect_turns(ended: dict[int, int], numbers: list[int], most: int) -> None:
    assert list(ended) == numbers, "all, in their order"
    assert max(Counter(ended.values()).values()) <= most


def test_a_few_take_their_turn_in_each_iteration_in_their_order():
    async def run() -> None:
        turns = Turns(3)
        for _ in range(2):  # also after all have had theirs
            expect_turns(await iterations_of([turns.next] * 20), list(range(20)), 3)

    asyncio.run(run())


def test_those_who_leave_do_not_hold_up_the_others():
    leaving = frozenset(range(0, 20, 3))

    async def run() -> None:
        ended = await iterations_of([Turns(3).next] * 20, leaving)
        expect_turns(ended, [number for number in range(20) if number not in leaving], 3)

    asyncio.run(run())


@pytest.mark.parametrize("path", ["/stream", "/ws"])
def test_streams_start_in_turns_and_prices_at_once(path: str):
    started: list[str] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        started.append(scope["path"])

    async def run() -> None:
        starts: Any = StreamStarts(app)
        paths = [path] * 20 + ["/price/latest"]
        await iterations_of([lambda path=path: starts({"type": "http", "path": path}, None, None) for path in paths])

    asyncio.run(run())
    assert started == ["/price/latest"] + [path] * 20


class Cycle:
    """Refers to itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.mark.parametrize("burst_seconds", [1000, 0])
def test_streams_of_a_burst_are_not_garbage_collected_until_few_are_left(
    monkeypatch: pytest.MonkeyPatch, burst_seconds: float
):
    for name, value in (("FROZEN_TOGETHER", 5), ("FEW", 2), ("BURST_SECONDS", burst_seconds)):
        monkeypatch.setattr(stream_starts, name, value)

    async def run() -> None:
        ended = asyncio.Event()

        async def app(_scope: Any, _receive: Any, _send: Any) -> None:
            await ended.wait()

        starts: Any = StreamStarts(app)
        starts._burst_began = time.monotonic()
        cycle = Cycle()
        kept = weakref.ref(cycle)
        streams = [asyncio.create_task(starts({"type": "http", "path": "/stream"}, None, None)) for _ in range(5)]
        await asyncio.sleep(0.05)
        del cycle
        gc.collect()
        assert (kept() is None) == (burst_seconds == 0)
        ended.set()
        await asyncio.gather(*streams)
        assert kept() is None

    asyncio.run(run())


def test_messages_are_delivered_to_a_few_clients_in_each_iteration():
    async def run() -> None:
        group = Subscribers()
        clients = [Client("sse", Subscription.to(["trades"], None)) for _ in range(100)]
        for client in clients:
            client.wake = group.deliveries.add
            group.add(client)

        async def receive(client: Client) -> None:
            assert len(await client.next_batch()) == 1

        async def send() -> None:
            group.send_heartbeats(10)  # draws their times
            for client in clients:
                client.heartbeat_due = 0.001
            group._next_heartbeats = 0
            group.send_heartbeats(10)

        ended = await iterations_of([*(lambda client=client: receive(client) for client in clients), send])
        del ended[100]
        expect_turns(ended, [clients.index(client) for client in group], subscribers.DELIVERIES)

    asyncio.run(run())


def test_each_client_gets_a_heartbeat_in_time_and_not_all_at_once(monkeypatch: pytest.MonkeyPatch):
    """Clients that came together, 100 s long."""

    async def run() -> None:
        now = 1000.0
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
        group = Subscribers()
        clients = [Client("sse", Subscription.to(["trades"], None)) for _ in range(200)]
        for client in clients:
            client.start_at(EventId(1, 0, 0))
            group.add(client)
        times: dict[Client, list[float]] = {client: [now] for client in clients}
        while now < 1100:
            now += 0.25
            group.send_heartbeats(10)
            beating = [client for client in clients if not client.idle]
            assert len(beating) < 60
            for client in beating:
                await client.next_batch()
                times[client].append(now)
        for each in times.values():
            gaps = [after - before for before, after in pairwise(each)]
            assert len(gaps) >= 8
            assert max(gaps) <= 12

    asyncio.run(run())
