"""Request coalescing (singleflight): one query serves all requests that wait for the same result."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from market_data.tasks import cancel_and_wait

K = TypeVar("K", bound=Hashable)


class RequestCoalescer(Generic[K]):
    """Coalesce concurrent calls with the same key.

    A call that arrives while one runs waits for the next run, so a result is never older than its call.
    """

    def __init__(self, call: Callable[[K], Awaitable[Any]]) -> None:
        self._call = call
        self._waiters: dict[K, _Waiters] = {}

    async def get(self, key: K) -> Any:
        """Return the result for a key, from a run that starts after this call.

        Raises:
            Exception: The run failed; all its waiters get the same error.
        """
        waiters = self._waiters.setdefault(key, _Waiters())
        if not waiters.futures:
            waiters.context = copy_context()  # the run belongs to the trace of its first waiter
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        waiters.futures.append(future)
        if waiters.task is None:
            waiters.task = asyncio.create_task(self._run(key, waiters), context=waiters.context)
        return await future

    async def _run(self, key: K, waiters: "_Waiters") -> None:
        futures, waiters.futures = waiters.futures, []
        try:
            result = await self._call(key)
        except asyncio.CancelledError:
            waiters.futures += futures  # `stop` cancels them
            raise
        except Exception as error:
            futures += waiters.futures  # calls that arrived meanwhile fail too, instead of waiting as long again
            waiters.futures = []
            for future in futures:
                if not future.done():
                    future.set_exception(error)
        else:
            for future in futures:
                if not future.done():
                    future.set_result(result)
        if waiters.futures:
            waiters.task = asyncio.create_task(self._run(key, waiters), context=waiters.context)
        else:
            self._waiters.pop(key, None)

    async def stop(self) -> None:
        """Cancel all runs and their waiters. Later calls run again, instead of waiting for a run that has ended."""
        stopped = list(self._waiters.values())
        await cancel_and_wait(*(waiters.task for waiters in stopped if waiters.task))
        for future in (future for waiters in stopped for future in waiters.futures):
            future.cancel()
        self._waiters.clear()


@dataclass
class _Waiters:
    """Calls with one key: the run under way, and the futures that the next run resolves."""

    task: asyncio.Task[None] | None = None
    futures: list[asyncio.Future[Any]] = field(default_factory=list[asyncio.Future[Any]])
    context: Context | None = None
