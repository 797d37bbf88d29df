"""Answers that many ask for at once."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from market_data.database.coalescing import RequestCoalescer


class Search:
    """Searches that end when they are told to."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ends: list[asyncio.Future[int]] = []

    async def find(self, key: str) -> int:
        self.begun.append(key)
        end: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.ends.append(end)
        return await end


def scene(play: Callable[[Search, RequestCoalescer[str]], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        search = Search()
        await play(search, RequestCoalescer(search.find))

    asyncio.run(run())


async def ask(flights: RequestCoalescer[str], times: int, key: str = "AAPL") -> list["asyncio.Task[int]"]:
    asked = [asyncio.create_task(flights.get(key)) for _ in range(times)]
    await asyncio.sleep(0.01)
    return asked


def test_who_asks_while_one_is_found_waits_for_the_next():
    async def play(search: Search, flights: RequestCoalescer[str]) -> None:
        first, (second, third) = await ask(flights, 1), await ask(flights, 2)
        assert search.begun == ["AAPL"]
        search.ends[0].set_result(1)
        assert await first[0] == 1
        await asyncio.sleep(0.01)
        assert not second.done()
        assert search.begun == ["AAPL", "AAPL"]
        search.ends[1].set_result(2)
        assert (await second, await third) == (2, 2)

    scene(play)


def test_other_keys_are_found_at_the_same_time():
    async def play(search: Search, flights: RequestCoalescer[str]) -> None:
        await ask(flights, 1, "AAPL")
        (other,) = await ask(flights, 1, "MSFT")
        search.ends[1].set_result(2)
        assert await other == 2
        await flights.stop()

    scene(play)


def test_a_failure_is_told_to_all_who_wait_and_the_next_is_found_anew():
    async def play(search: Search, flights: RequestCoalescer[str]) -> None:
        asked = await ask(flights, 1) + await ask(flights, 2)
        search.ends[0].set_exception(LookupError("gone"))
        for task in asked:
            with pytest.raises(LookupError, match="gone"):
                await task
        (again,) = await ask(flights, 1)
        search.ends[1].set_result(3)
        assert await again == 3

    scene(play)


def test_who_gives_up_takes_nothing_from_the_others():
    async def play(search: Search, flights: RequestCoalescer[str]) -> None:
        leaving, staying = await ask(flights, 2)
        leaving.cancel()
        await asyncio.sleep(0.01)
        search.ends[0].set_result(1)
        assert await staying == 1
        assert leaving.cancelled()

    scene(play)


def test_nobody_is_left_waiting_when_it_is_stopped():
    async def play(search: Search, flights: RequestCoalescer[str]) -> None:
        asked = await ask(flights, 1) + await ask(flights, 2)
        await flights.stop()
        done, waiting = await asyncio.wait(asked, timeout=1)
        assert not waiting
        assert all(task.cancelled() or task.exception() for task in done)
        assert search.begun == ["AAPL"]

    scene(play)
