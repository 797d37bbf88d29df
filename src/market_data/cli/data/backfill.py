"""Synthetic history, written from the earliest trades back in time.

There is no record of how far it has come but the trades themselves: each transaction adds one slice of time of all symbols,
the newest first, so whatever interrupts it, the same command goes on from the earliest trades that are there.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from secrets import randbits

import psycopg

from market_data.cli.console import output, progress
from market_data.cli.data import statements
from market_data.cli.data.backward_walk import BackwardWalk, copy_data
from market_data.cli.data.lease import Lease, held
from market_data.cli.data.prefetch import ahead
from market_data.cli.data.progress import Meter, meter
from market_data.database.connection import Connection, connect
from market_data.errors import CommandFailed
from market_data.feed.random_walk import Listing
from market_data.queries.leases import insert_symbols

AGAIN = "the same command goes on where this one stopped"

MICROSECOND = timedelta(microseconds=1)
CHUNK = timedelta(days=7) // MICROSECOND
"""A chunk of trades, in microseconds; chunks are aligned to 1970-01-01."""

BATCH_ROWS = 250_000
"""Of a transaction, at the most: some 20 MB of COPY data."""

HORIZON_DISTANCE = timedelta(hours=1) // MICROSECOND
"""From the retention horizon, which moves on while a batch is under way."""


@dataclass(frozen=True)
class History:
    """What is asked for: one trade of each listing each `rate`, from `reach` before now on."""

    listings: Sequence[Listing]
    reach: timedelta
    rate: timedelta
    seed: int | None


@dataclass(frozen=True)
class _Batch:
    since: int
    rows: int
    data: bytes


async def backfill(database_url: str, history: History) -> int:
    """Write the history that is not there yet, and its candles. Returns the exit status.

    Raises:
        CommandFailed: Another backfill is at work, or something else writes older trades at the same time.
    """
    lease = Lease("backfill", "Another backfill writes to this database; wait for it, or stop it.")
    async with await connect(database_url, 0) as connection, held(database_url, lease):
        await insert_symbols(connection, history.listings)
        now, horizon = await statements.bounds(connection)
        since = now - history.reach // MICROSECOND
        if horizon is not None and horizon + HORIZON_DISTANCE > since:
            since = horizon + HORIZON_DISTANCE
            progress(f"retention is set: the history goes back to {_date(since)}, for older trades would be dropped")
        walks = await _walks(connection, history, now)
        rows = sum(walk.steps_to(since) for walk in walks)
        with meter("trades", rows) as progress:
            try:
                await _write(connection, lease, walks, since, progress)
            except psycopg.errors.UniqueViolation:
                raise CommandFailed(f"Others have stored older trades in the meantime; {AGAIN}.") from None
            await statements.refresh_candles(connection)
            await statements.convert_to_columnstore(connection, since - CHUNK)
            await _report(connection, progress, since)
    return 0


async def _walks(connection: Connection, history: History, now: int) -> list[BackwardWalk]:
    """The walks from the earliest trades; of symbols without one from their first prices, up to now."""
    step = history.rate // MICROSECOND
    seed = randbits(64) if history.seed is None else history.seed
    earliest = await statements.earliest_trades(connection, [listing.symbol for listing in history.listings])
    walks: list[BackwardWalk] = []
    for listing in history.listings:
        moment, cents = now - now % 1_000_000 + step, float(listing.first_cents)
        if listing.symbol in earliest:
            moment, price = earliest[listing.symbol]
            cents = float(price * 100)
        walks.append(BackwardWalk(listing, step, time=moment, cents=cents, seed=seed))
    return walks


def slices(newest: int, since: int, rows_a_chunk: float) -> Iterator[int]:
    """Where the batches begin that lead back from `newest` to `since`: at equal parts of chunks, each beginning included."""
    parts = max(1, -(-int(rows_a_chunk) // BATCH_ROWS))
    chunk = newest // CHUNK
    while chunk * CHUNK + CHUNK > since:
        for part in reversed(range(parts)):
            start = chunk * CHUNK + CHUNK * part // parts
            if start <= newest:
                yield max(start, since)
            if start <= since:
                return
        chunk -= 1


def _batches(walks: Sequence[BackwardWalk], since: int) -> Iterator[_Batch]:
    rows_a_chunk = sum(CHUNK / walk.step for walk in walks)
    for start in slices(max(walk.time for walk in walks), since, rows_a_chunk):
        if rows := sum(walk.steps_to(start) for walk in walks):
            yield _Batch(start, rows, copy_data(walks, start))


async def _write(connection: Connection, lease: Lease, walks: Sequence[BackwardWalk], since: int, progress: Meter) -> None:
    """Store all batches; at the end of each chunk make its candles and then put it into the columnstore."""
    async with aclosing(ahead(_batches(walks, since))) as batches:
        async for batch in batches:
            started = time.monotonic()
            async with connection.transaction():
                await statements.do_not_stream(connection)
                await statements.copy_trades(connection, batch.data)
                await lease.confirm(connection)
            progress.add(batch.rows, time.monotonic() - started)
            if batch.since % CHUNK == 0:
                await statements.refresh_candles(connection)
                await statements.convert_to_columnstore(connection, batch.since)


async def _report(connection: Connection, progress: Meter, since: int) -> None:
    if not progress.rows:
        output(f"nothing to do: the history goes back to {_date(since)} already")
        return
    total, before, after = await statements.disk(connection)
    shrunk = f", {before / 1e6:,.1f} MB of them shrunk to {after / 1e6:,.1f} MB in the columnstore" if after else ""
    output(
        f"{progress.rows:,} trades in {progress.elapsed:,.1f} s ({progress.rate:,.0f} a second while storing), "
        f"back to {_date(since)}; trades take {total / 1e6:,.1f} MB on disk{shrunk}"
    )


def _date(moment: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + moment * MICROSECOND).strftime("%Y-%m-%d %H:%M UTC")
