"""End of background tasks."""

import asyncio
from typing import Any

CANCEL_AGAIN_SECONDS = 1.0


async def cancel_and_wait(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks until they have ended.

    One cancellation is not enough: in Python 3.11, `asyncio.wait_for` drops one that arrives together with its result, and
    the connection pool waits with it. The task would run on, and its service never stop.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_SECONDS)
