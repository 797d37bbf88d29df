"""Working ahead: what a thread makes while the database is busy with what was made before."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator
from typing import TypeVar

T = TypeVar("T")


async def ahead(items: Iterator[T]) -> AsyncGenerator[T]:
    """The items, the next of which is always being made already.

    In threads that nobody waits for at the end: one that reads from a terminal may never come back.
    """
    upcoming = _next(items)
    while item := await upcoming:
        upcoming = _next(items)
        yield item[0]


def _next(items: Iterator[T]) -> asyncio.Future[tuple[T] | None]:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[tuple[T] | None] = loop.create_future()

    def settle(item: tuple[T] | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is None:
            future.set_result(item)
        else:
            future.set_exception(error)

    def make() -> None:
        item, failure = None, None
        try:
            for made in items:
                item = (made,)
                break
        except Exception as error:
            failure = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, item, failure)

    threading.Thread(target=make, daemon=True).start()
    return future
