"""Request coalescing."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from market_data.database.coalescing import RequestBatcher, RequestCoalescer


class Runs:
    """Runs whose results the test sets."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.results: list[asyncio.Future[int]] = []

    async def call(self, key: str) -> int:
        self.started.append(key)
        result: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.results.append(result)
        return await result


def run_scenario(scenario: Callable[[Runs, RequestCoalescer[str]], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        runs = Runs()
        await scenario(runs, RequestCoalescer(runs.call))

    asyncio.run(run())


async def get(coalescer: RequestCoalescer[str], times: int, key: str = "AAPL") -> list["asyncio.Task[int]"]:
    tasks = [asyncio.create_task(coalescer.get(key)) for _ in range(times)]
    await asyncio.sleep(0.01)
    return tasks


def test_a_call_during_a_run_waits_for_the_next_run():
    async def scenario(runs: Runs, coalescer: RequestCoalescer[str]) -> None:
        first, (second, third) = await get(coalescer, 1), await get(coalescer, 2)
        assert runs.started == ["AAPL"]
        runs.results[0].set_result(1)
        assert await first[0] == 1
        await asyncio.sleep(0.01)
        assert not second.done()
        assert runs.started == ["AAPL", "AAPL"]
        runs.results[1].set_result(2)
        assert (await second, await third) == (2, 2)

    run_scenario(scenario)


def test_other_keys_run_concurrently():
    async def scenario(runs: Runs, coalescer: RequestCoalescer[str]) -> None:
        await get(coalescer, 1, "AAPL")
        (other,) = await get(coalescer, 1, "MSFT")
        runs.results[1].set_result(2)
        assert await other == 2
        await coalescer.stop()

    run_scenario(scenario)


def test_a_run_gets_each_item_that_waits_once():
    async def scenario() -> None:
        runs: list[tuple[str, tuple[str, ...]]] = []

        async def read(key: str, items: tuple[str, ...]) -> dict[str, str]:
            runs.append((key, items))
            await asyncio.sleep(0)
            return {item: f"{item} of run {len(runs)}" for item in items}

        batcher = RequestBatcher(read)
        results = await asyncio.gather(*(batcher.get("prices", item) for item in ("AAPL", "MSFT", "MSFT")))
        assert results == ["AAPL of run 1", "MSFT of run 1", "MSFT of run 1"]
        assert runs == [("prices", ("AAPL", "MSFT"))]

    asyncio.run(scenario())


def test_a_result_that_is_missing_is_an_error_of_the_run():
    async def scenario() -> None:
        async def read(_: str, items: tuple[str, ...]) -> dict[str, str]:
            return {item: item for item in items if item != "NOPE"}

        batcher = RequestBatcher(read)
        async with asyncio.timeout(1):
            with pytest.raises(KeyError):
                await batcher.get("prices", "NOPE")
            assert await batcher.get("prices", "AAPL") == "AAPL"

    asyncio.run(scenario())


def test_all_waiters_get_the_error_and_the_next_call_runs_again():
    async def scenario(runs: Runs, coalescer: RequestCoalescer[str]) -> None:
        tasks = await get(coalescer, 1) + await get(coalescer, 2)
        runs.results[0].set_exception(LookupError("gone"))
        for task in tasks:
            with pytest.raises(LookupError, match="gone"):
                await task
        (again,) = await get(coalescer, 1)
        runs.results[1].set_result(3)
        assert await again == 3

    run_scenario(scenario)


def test_a_cancelled_waiter_does_not_affect_the_others():
    async def scenario(runs: Runs, coalescer: RequestCoalescer[str]) -> None:
        leaving, staying = await get(coalescer, 2)
        leaving.cancel()
        await asyncio.sleep(0.01)
        runs.results[0].set_result(1)
        assert await staying == 1
        assert leaving.cancelled()

    run_scenario(scenario)


def test_stop_ends_all_waiters():
    async def scenario(runs: Runs, coalescer: RequestCoalescer[str]) -> None:
        tasks = await get(coalescer, 1) + await get(coalescer, 2)
        await coalescer.stop()
        done, waiting = await asyncio.wait(tasks, timeout=1)
        assert not waiting
        assert all(task.cancelled() or task.exception() for task in done)
        assert runs.started == ["AAPL"]

    run_scenario(scenario)


def test_a_call_after_a_stop_does_not_wait_for_a_stopped_run():
    async def scenario(runs: Runs, coalescer: RequestCoalescer[str]) -> None:
        (stopped,) = await get(coalescer, 1)
        await coalescer.stop()
        await asyncio.wait([stopped], timeout=1)
        (later,) = await get(coalescer, 1)
        runs.results[1].set_result(2)
        async with asyncio.timeout(1):
            assert await later == 2

    run_scenario(scenario)
