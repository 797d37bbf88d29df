"""Request coalescing (singleflight): one query serves all requests that wait for the same result, or for parts of it."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from market_data.tasks import cancel_and_wait

K = TypeVar("K", bound=Hashable)


class RequestBatcher(Generic[K]):
    """Answer the concurrent calls of a key by one run. Each call is for an item; the run returns the results of all items.

    A call that arrives while one runs waits for the next run, so a result is never older than its call.
    """

    def __init__(self, call: Callable[[K, tuple[Any, ...]], Awaitable[Mapping[Any, Any]]]) -> None:
        self._call = call
        self._waiters: dict[K, _Waiters] = {}

    async def get(self, key: K, item: Hashable = None) -> Any:
        """Return the result for an item of a key, from a run that starts after this call.

        Raises:
            Exception: The run failed; all its waiters get the same error.
        """
        waiters = self._waiters.setdefault(key, _Waiters())
        if not waiters.calls:
            waiters.context = copy_context()  # the run belongs to the trace of its first waiter
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        waiters.calls.append((item, future))
        if waiters.task is None:
            waiters.task = asyncio.create_task(self._run(key, waiters), context=waiters.context)
        return await future

    async def _run(self, key: K, waiters: "_Waiters") -> None:
        calls, waiters.calls = waiters.calls, []
        try:
            by_item = await self._call(key, tuple(dict.fromkeys(item for item, _ in calls)))
            results = [by_item[item] for item, _ in calls]
        except asyncio.CancelledError:
            waiters.calls += calls  # `stop` cancels them
            raise
        except Exception as error:
            calls += waiters.calls  # those that arrived meanwhile fail too, instead of waiting as long again
            waiters.calls = []
            for _, future in calls:
                if not future.done():
                    future.set_exception(error)
        else:
            for (_, future), result in zip(calls, results, strict=True):
                if not future.done():
                    future.set_result(result)
        if waiters.calls:
            waiters.task = asyncio.create_task(self._run(key, waiters), context=waiters.context)
        else:
            self._waiters.pop(key, None)

    async def stop(self) -> None:
        """Cancel all runs and their waiters. Later calls run again, instead of waiting for a run that has ended."""
        stopped = list(self._waiters.values())
        await cancel_and_wait(*(waiters.task for waiters in stopped if waiters.task))
        for _, future in (call for waiters in stopped for call in waiters.calls):
            future.cancel()
        self._waiters.clear()


class RequestCoalescer(RequestBatcher[K]):
    """Answer the concurrent calls of a key by one run, whose result is that of all of them."""

    def __init__(self, call: Callable[[K], Awaitable[Any]]) -> None:
        async def run(key: K, items: tuple[None, ...]) -> Mapping[None, Any]:
            return dict.fromkeys(items, await call(key))

        super().__init__(run)


@dataclass
class _Waiters:
    """Calls with one key: the run under way, and the items and futures of the calls for the next run."""

    task: asyncio.Task[None] | None = None
    calls: list[tuple[Hashable, asyncio.Future[Any]]] = field(default_factory=list[tuple[Hashable, asyncio.Future[Any]]])
    context: Context | None = None
