"""Prepare the next item in a thread while the event loop waits for the database."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator
from typing import TypeVar

T = TypeVar("T")


async def prefetch(items: Iterator[T]) -> AsyncGenerator[T]:
    """Iterate in a background thread, one item ahead.

    The threads are daemons, because one that reads from a terminal may never return.
    """
    upcoming = _next(items)
    while item := await upcoming:
        upcoming = _next(items)
        yield item[0]


def _next(items: Iterator[T]) -> asyncio.Future[tuple[T] | None]:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[tuple[T] | None] = loop.create_future()

    def resolve(item: tuple[T] | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is None:
            future.set_result(item)
        else:
            future.set_exception(error)

    def work() -> None:
        item, failure = None, None
        try:
            for value in items:
                item = (value,)
                break
        except Exception as error:
            failure = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(resolve, item, failure)

    threading.Thread(target=work, daemon=True).start()
    return future
