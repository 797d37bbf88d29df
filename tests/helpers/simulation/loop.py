"""An asyncio event loop with virtual time, whose order of callbacks depends on a seed.

Time passes only while nothing is ready, so an hour of sleeps takes milliseconds. Callbacks that are ready run in a random
order, which asyncio permits for the tasks of independent connections. A seed repeats its schedule exactly.

simloop does the same and more, but needs Python 3.12; the project supports 3.11.
"""

import asyncio
import os
import random
import selectors
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

FIRST_SEED = int(os.environ.get("SCHEDULE_SEED", "1"))
"""SCHEDULE_SEED=17 repeats the schedule that failed with seed 17."""


class Deadlock(AssertionError):
    """All tasks wait for each other forever."""


class SeededLoop(asyncio.SelectorEventLoop):
    """A loop that skips the time until its next timer. `random` is the source of all random values of the schedule."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self._virtual_time = 0.0
        super().__init__(_TimeSkipper(self._skip))

    def time(self) -> float:
        return self._virtual_time

    def _skip(self, seconds: float | None) -> None:
        if seconds is None:
            raise Deadlock(", ".join(sorted(str(task.get_coro()) for task in asyncio.all_tasks(self))))
        self._virtual_time += seconds
        self.random.shuffle(self._ready)  # type: ignore[attr-defined] # there is no public way to the callbacks


class _TimeSkipper(selectors.SelectSelector):
    """Selector without sockets that does not wait."""

    def __init__(self, skip: Callable[[float | None], None]) -> None:
        super().__init__()
        self._skip = skip

    def select(self, timeout: float | None = None) -> list[Any]:
        self._skip(timeout)
        return []


def run_schedules(scenario: Callable[[Random], Coroutine[Any, Any, None]], count: int) -> None:
    """Run a scenario with `count` seeds, or with those of SCHEDULE_SEED and SCHEDULES; a failure names its seed."""
    count = int(os.environ.get("SCHEDULES", 1 if "SCHEDULE_SEED" in os.environ else count))
    for seed in range(FIRST_SEED, FIRST_SEED + count):
        random.seed(seed)  # the code under test has no source of its own
        loop = SeededLoop(seed)
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:  # noqa: B023 - called at once
                runner.run(scenario(loop.random))
        except BaseException as error:
            error.add_note(f"seed {seed}, virtual time {loop.time():g} s; SCHEDULE_SEED={seed} repeats this schedule")
            raise
