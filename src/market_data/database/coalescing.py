"""Answers that many ask for at once, each found for all of them together."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from contextvars import Context, copy_context
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class RequestCoalescer(Generic[K]):
    """Finds answers, one at a time for each key: who asks while one is being found waits for the next one.

    So no answer is older than its question, and however many ask, there is one search at a time.
    """

    def __init__(self, find: Callable[[K], Awaitable[Any]]) -> None:
        self._find = find
        self._lines: dict[K, _Line] = {}

    async def join(self, key: K) -> Any:
        """The answer for a key, which is searched for from now on.

        Raises:
            Exception: The search has failed, with the same for all who waited for it.
        """
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line()
        if not line.waiting:
            line.context = copy_context()  # the search is part of what the first of them does
        waiter: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        line.waiting.append(waiter)
        if line.flight is None:
            line.flight = asyncio.create_task(self._fly(key, line), context=line.context)
        return await waiter

    async def _fly(self, key: K, line: "_Line") -> None:
        waiters, line.waiting = line.waiting, []
        try:
            answer = await self._find(key)
        except asyncio.CancelledError:
            line.waiting += waiters  # for `stop` to tell
            raise
        except Exception as error:
            waiters += line.waiting  # rather than have those who came since wait as long again
            line.waiting = []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_exception(error)
        else:
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(answer)
        if line.waiting:
            line.flight = asyncio.create_task(self._fly(key, line), context=line.context)
        else:
            del self._lines[key]

    async def stop(self) -> None:
        """End all searches. Those who wait get what they end with, or are cancelled too."""
        lines = list(self._lines.values())
        flying = [line.flight for line in lines if line.flight]
        for flight in flying:
            flight.cancel()
        await asyncio.gather(*flying, return_exceptions=True)
        for waiter in (waiter for line in lines for waiter in line.waiting):
            waiter.cancel()


class _Line:
    """Those who wait for one answer."""

    def __init__(self) -> None:
        self.flight: asyncio.Task[None] | None = None
        self.waiting: list[asyncio.Future[Any]] = []
        self.context: Context | None = None
        """Of the first of them."""
