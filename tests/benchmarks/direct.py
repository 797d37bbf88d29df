"""Reads without HTTP in a separate process: the same statements through the same pool with the same concurrency.

Each line of standard input is a task: number of the case, number of tasks, seconds, and `encoded` to encode the results.
Each line of output is a rate in reads a second.
"""

import asyncio
import os
import sys
import time

import uvloop
from cases import ALL_CASES

from market_data.api.http.handlers import encode
from market_data.database.pool import Database
from market_data.settings import Settings


async def main() -> None:
    database_url = os.environ["DATABASE_URL"]
    async with Database(database_url, Settings(database_url=database_url)) as database:
        while line := await asyncio.to_thread(sys.stdin.readline):
            number, tasks, seconds, encoded = line.split()
            print(await reads_a_second(database, int(number), int(tasks), float(seconds), encoded == "encoded"), flush=True)


async def reads_a_second(database: Database, number: int, tasks: int, seconds: float, encoded: bool) -> float:
    read = ALL_CASES[number].read
    done = 0

    async def repeat() -> None:
        nonlocal done
        while time.perf_counter() < start + seconds:
            answer = await read(database)
            if encoded:
                encode(answer)
            done += 1

    start = time.perf_counter()
    await asyncio.gather(*[repeat() for _ in range(tasks)])
    return done / (time.perf_counter() - start)


if __name__ == "__main__":
    uvloop.run(main())
