"""Store the batches of a trade file, over one connection or several."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import NamedTuple

import psycopg

from market_data.cli.console import progress
from market_data.cli.data import statements
from market_data.cli.data.prefetch import prefetch
from market_data.cli.data.trade_batches import Batch, Part
from market_data.database.connection import Connection, application_name_is_visible, connect
from market_data.errors import CommandFailed
from market_data.queries.names import resolve_staged_names
from market_data.trade_validation import FutureLimit, unsigned_price

AGAIN = "stored trades stay, and the same command stores the rest"

TOO_OLD = "timestamp: is beyond the retention horizon, before which trades have been dropped"
CANCELLED = "trade_id: this trade was cancelled; see trade_changes for when, by whom and why"
CONFLICT = "trade_id: this trade is stored already, with another price or volume"


class Outcome(NamedTuple):
    """Result of storing a part, or a batch. Valid rows are rejected if they contradict stored trades."""

    stored: int
    present: int
    rejected: dict[int, str]
    new_symbols: list[str]


@asynccontextmanager
async def opened(database_url: str, count: int) -> AsyncGenerator[Sequence[Connection]]:
    """Open connections; only one on the embedded engine, which executes one statement at a time."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(await connect(database_url, 0))
        if count > 1 and not await application_name_is_visible(first):
            progress(f"the embedded engine executes one statement at a time: --jobs {count} is --jobs 1 there")
            count = 1
        others = [await stack.enter_async_context(await connect(database_url, 0)) for _ in range(count - 1)]
        yield [first, *others]


async def store_batches(
    connections: Sequence[Connection],
    batches: Iterator[Batch],
    future_tolerance: float,
    record: Callable[[Batch, Outcome, float], None],
) -> None:
    """Store each part of a batch in a transaction on its connection.

    `record` gets the batches in the order of the file, each once all of its parts are committed, and the seconds that it
    took. If one transaction fails, the others are rolled back. If the file can't be read on, those of the rows before end.
    """
    turns = [asyncio.Lock() for _ in connections]  # locks are fair, so parts keep the order of the file on each connection
    running = asyncio.Semaphore(min(len(connections), 2))  # batches in memory, besides the one that is read

    async def store(connection: Connection, turn: asyncio.Lock, part: Part) -> Outcome:
        async with turn:
            return await _store(connection, part, future_tolerance)

    async def finish(
        batch: Batch, parts: Sequence[asyncio.Task[Outcome]], started: float, before: asyncio.Task[float] | None
    ) -> float:
        """Record a batch after the one before. Return the monotonic time at which it was recorded."""
        outcomes = [await part for part in parts]
        since = max(started, await before) if before else started
        now = time.monotonic()
        record(batch, _joined(outcomes), now - since)
        running.release()
        return now

    unreadable: CommandFailed | None = None
    try:
        async with asyncio.TaskGroup() as tasks, aclosing(prefetch(batches)) as validated:
            last: asyncio.Task[float] | None = None
            await running.acquire()
            try:
                async for batch in validated:
                    parts = [
                        tasks.create_task(store(connection, turn, part))
                        for connection, turn, part in zip(connections, turns, batch.parts, strict=True)
                        if part.rows
                    ]
                    last = tasks.create_task(finish(batch, parts, time.monotonic(), last))
                    await running.acquire()
            except CommandFailed as error:
                unreadable = error
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    if unreadable:
        raise unreadable


def _joined(outcomes: Sequence[Outcome]) -> Outcome:
    return Outcome(
        sum(outcome.stored for outcome in outcomes),
        sum(outcome.present for outcome in outcomes),
        {index: reason for outcome in outcomes for index, reason in outcome.rejected.items()},
        [symbol for outcome in outcomes for symbol in outcome.new_symbols],
    )


async def _store(connection: Connection, part: Part, future_tolerance: float) -> Outcome:
    """Store the rows of a part that are not stored yet.

    Locks are taken in the order of tables (symbols, trades, latest trades) and in each of them in the order of keys, so
    there is no deadlock between connections.
    """
    try:
        async with connection.transaction():
            await statements.disable_streaming(connection)
            await statements.stage(connection, part.data)
            await resolve_staged_names(connection)
            rejected = dict.fromkeys(await statements.delete_staged_too_old(connection), TOO_OLD)
            limit = FutureLimit(await statements.read_clock(connection), future_tolerance)
            later = await statements.delete_staged_later(connection, limit.latest)
            rejected |= {index: str(limit.reject(time)) for index, time in later}
            rejected |= dict.fromkeys(await statements.delete_staged_cancelled(connection), CANCELLED)
            new_symbols = await statements.add_staged_symbols(connection)
            unsigned = await statements.delete_staged_unsigned(connection)
            rejected |= {index: str(unsigned_price(symbol, price)) for index, symbol, price in unsigned}
            stored = await statements.store_staged(connection)
            if stored + len(rejected) < part.rows:
                rejected |= dict.fromkeys(await statements.read_conflicts(connection), CONFLICT)
            return Outcome(stored, part.rows - stored - len(rejected), rejected, new_symbols)
    except psycopg.errors.CheckViolation as error:
        raise CommandFailed(f"The database rejected a trade: {error.diag.message_primary}; {AGAIN}.") from None
