"""End of background tasks."""

import asyncio
from contextlib import suppress

from market_data.tasks import cancel_and_wait


async def _drop_first_cancellation() -> None:
    with suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    await asyncio.Event().wait()


def test_task_that_drops_a_cancellation_ends():
    async def run() -> asyncio.Task[None]:
        task = asyncio.create_task(_drop_first_cancellation())
        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await cancel_and_wait(task)
        return task

    assert asyncio.run(run()).cancelled()


def test_no_task_is_no_wait():
    asyncio.run(cancel_and_wait())
