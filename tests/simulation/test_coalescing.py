"""Request coalescing under random schedules: each waiter gets a result that is not older than its call, or its error."""

import asyncio
from collections import Counter
from random import Random

from helpers.simulation.loop import run_schedules

from market_data.database.coalescing import RequestBatcher

KEYS = ("prices", "trades")
ITEMS = ("AAPL", "MSFT", "NVDA")
MAX_RUN_SECONDS = 1.0


class RunFailed(Exception):
    def __init__(self, run: int) -> None:
        super().__init__(run)
        self.run = run


class Reader:
    """The call that is coalesced. It takes a random time, and fails in one of five runs."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.started: Counter[str] = Counter()
        self.running: set[str] = set()

    async def read(self, key: str, items: tuple[str, ...]) -> dict[str, tuple[str, str, int]]:
        assert key not in self.running, "two runs for one key at the same time"
        assert len(items) == len(set(items)) > 0
        self.running.add(key)
        self.started[key] += 1
        run = self.started[key]
        try:
            await asyncio.sleep(self.random.choice([0, self.random.uniform(0, MAX_RUN_SECONDS)]))
        finally:
            self.running.discard(key)
        if self.random.random() < 0.2:
            raise RunFailed(run)
        return {item: (key, item, run) for item in items}


async def call(batcher: RequestBatcher[str], reader: Reader, results: Counter[str]) -> None:
    """Make a call at a random time; some calls give up before they have a result."""
    random, loop = reader.random, asyncio.get_running_loop()
    await asyncio.sleep(random.uniform(0, 6))
    key, item = random.choice(KEYS), random.choice(ITEMS)
    before, began = reader.started[key], loop.time()
    waiting = asyncio.create_task(batcher.get(key, item))
    await asyncio.sleep(0)
    if random.random() < 0.3:
        await asyncio.sleep(random.uniform(0, MAX_RUN_SECONDS))
        waiting.cancel()
    try:
        *answered, run = await waiting
    except asyncio.CancelledError:
        results["cancelled"] += 1
    except RunFailed as error:
        results["failed"] += 1
        assert error.run >= before, "an error of a run that had ended before the call"  # noqa: PT017 - expected of some calls
    else:
        results["answered"] += 1
        assert answered == [key, item]
        assert run > before, "a result of a run that had started before the call"
    assert loop.time() - began <= 2 * MAX_RUN_SECONDS + 0.001, "waited for more than the current and the next run"


def test_each_waiter_gets_a_result_that_is_not_older_than_its_call():
    results: Counter[str] = Counter()

    async def scenario(random: Random) -> None:
        reader = Reader(random)
        batcher = RequestBatcher(reader.read)
        async with asyncio.timeout(60), asyncio.TaskGroup() as calls:
            for _ in range(30):
                calls.create_task(call(batcher, reader, results))
        await asyncio.sleep(2 * MAX_RUN_SECONDS)
        assert batcher._waiters == {}, "entries of keys without waiters remain"

    run_schedules(scenario, 300)
    assert min(results[outcome] for outcome in ("cancelled", "failed", "answered")) > 0


def test_a_stop_ends_all_waiters_and_later_calls_do_not_wait_for_them():
    async def scenario(random: Random) -> None:
        reader = Reader(random)
        batcher = RequestBatcher(reader.read)
        results: Counter[str] = Counter()
        calls = [asyncio.create_task(call(batcher, reader, results)) for _ in range(20)]
        await asyncio.sleep(random.uniform(0, 6))
        await batcher.stop()
        async with asyncio.timeout(10):
            await asyncio.gather(*calls)

    run_schedules(scenario, 100)
