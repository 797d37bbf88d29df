"""Write synthetic history, backward in time from the earliest trades.

The stored trades are the only record of progress: each transaction adds one time slice of all symbols, the newest slice
first. After an interruption, the same command therefore continues from the earliest trades.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import inf
from secrets import randbits

import psycopg

from market_data.cli import runner
from market_data.cli.console import counted, output, progress
from market_data.cli.data import statements
from market_data.cli.data.backward_walk import BackwardWalk, copy_data
from market_data.cli.data.lease import Lease
from market_data.cli.data.prefetch import prefetch
from market_data.cli.data.progress import Meter, meter
from market_data.cli.durations import duration_between, number_between
from market_data.database.connection import Connection, connect
from market_data.errors import CommandFailed
from market_data.feed.random_walk import LISTINGS, Listing
from market_data.queries.symbols import insert_symbols
from market_data.settings import Settings

AGAIN = "the same command continues where this one stopped"

MICROSECOND = timedelta(microseconds=1)
CHUNK = timedelta(days=7) // MICROSECOND
"""Length of a chunk of trades in microseconds. Chunks are aligned to 1970-01-01."""

MAX_BATCH_ROWS = 250_000
"""Rows of a transaction: some 20 MB of COPY data."""

HORIZON_MARGIN = timedelta(hours=1) // MICROSECOND
"""Distance from the retention horizon, which advances while a batch is written."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Write one trade per symbol and RATE, backward from the earliest stored trade (or from now), with the "
        "volatility of the feed, and materialize its candles. After an interruption, the same command continues where "
        "it stopped; it does nothing once the history is complete. The service may run and feed meanwhile."
    )
    parser.add_argument("--days", type=number_between(1, 36_500), required=True, help="length of the history, back from now")
    parser.add_argument(
        "--rate",
        type=duration_between("1ms", "7d"),
        required=True,
        help="time between two trades of a symbol: a number with ms, s, m, h or d, such as 1s or 500ms",
    )
    parser.add_argument("--seed", type=number_between(0, 10**18 - 1), help="seed of the prices, to repeat a history")
    parser.add_argument(
        "--symbols",
        type=_read_listings,
        default=LISTINGS,
        help=f"symbols to write, separated by commas (default: {','.join(item.symbol for item in LISTINGS)})",
    )
    parser.set_defaults(command=_run)


def _read_listings(text: str) -> tuple[Listing, ...]:
    known = {listing.symbol: listing for listing in LISTINGS}
    wanted = dict.fromkeys(symbol.strip().upper() for symbol in text.split(","))
    if unknown := [symbol for symbol in wanted if symbol not in known]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not a symbol of the feed; give any of {', '.join(known)}")
    return tuple(known[symbol] for symbol in wanted)


def _run(settings: Settings, parsed: argparse.Namespace) -> int:
    history = History(parsed.symbols, timedelta(days=parsed.days), parsed.rate, parsed.seed)
    with runner.migrated_database(settings) as database_url:
        return runner.run_async(backfill(database_url, history), again=AGAIN)


@dataclass(frozen=True)
class History:
    """History to write: one trade per listing and `rate`, from `reach` before now."""

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
    """Write the missing part of the history, then its candles. Returns the exit status.

    Raises:
        CommandFailed: Another backfill runs, or another client stores older trades meanwhile.
    """
    lease = Lease("backfill", "Another backfill writes to this database; wait for it, or stop it.")
    async with await connect(database_url, 0) as connection, lease.held(database_url):
        await insert_symbols(connection, history.listings)
        now, horizon = await statements.read_bounds(connection)
        since = now - history.reach // MICROSECOND
        if horizon is not None and horizon + HORIZON_MARGIN > since:
            since = horizon + HORIZON_MARGIN
            progress(f"retention is set: the history starts at {_date(since)}, because older trades would be dropped")
        walks = await _walks(connection, history, now)
        rows = sum(walk.steps_to(since) for walk in walks)
        with meter("trades", rows) as counter:
            try:
                await _write(connection, lease, walks, since, counter)
            except psycopg.errors.UniqueViolation:
                raise CommandFailed(f"Another client has stored older trades meanwhile; {AGAIN}.") from None
            await statements.refresh_candles(connection)
            await statements.convert_to_columnstore(connection, -inf)
            await _report(connection, counter, since)
    return 0


async def _walks(connection: Connection, history: History, now: int) -> list[BackwardWalk]:
    """Return the walks that end at the earliest trades or, for symbols without one, now at the first price."""
    step = history.rate // MICROSECOND
    seed = randbits(64) if history.seed is None else history.seed
    earliest = await statements.read_earliest_trades(connection, [listing.symbol for listing in history.listings])
    walks: list[BackwardWalk] = []
    for listing in history.listings:
        moment, cents = now - now % 1_000_000 + step, float(listing.first_cents)
        if listing.symbol in earliest:
            moment, price = earliest[listing.symbol]
            cents = float(price * 100)
        walks.append(BackwardWalk(listing, step, time=moment, cents=cents, seed=seed))
    return walks


def slices(newest: int, since: int, rows_per_chunk: float) -> Iterator[int]:
    """Yield the start of each batch, backward from `newest` to `since`. Each chunk is divided into equal parts."""
    parts = max(1, -(-int(rows_per_chunk) // MAX_BATCH_ROWS))
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
    rows_per_chunk = sum(CHUNK / walk.step for walk in walks)
    for start in slices(max(walk.time for walk in walks), since, rows_per_chunk):
        if rows := sum(walk.steps_to(start) for walk in walks):
            yield _Batch(start, rows, copy_data(walks, start))


async def _write(connection: Connection, lease: Lease, walks: Sequence[BackwardWalk], since: int, counter: Meter) -> None:
    """Store all batches. After each chunk, refresh its candles and convert it to the columnstore."""
    async with aclosing(prefetch(_batches(walks, since))) as batches:
        async for batch in batches:
            started = time.monotonic()
            async with connection.transaction():
                await statements.disable_streaming(connection)
                await statements.copy_trades(connection, batch.data)
                await lease.confirm(connection)
            counter.add(batch.rows, time.monotonic() - started)
            if batch.since % CHUNK == 0:
                await statements.refresh_candles(connection)
                await statements.convert_to_columnstore(connection, batch.since)


async def _report(connection: Connection, counter: Meter, since: int) -> None:
    if not counter.rows:
        output(f"nothing to do: the history already starts at {_date(since)}")
        return
    total, before, after = await statements.read_disk_usage(connection)
    saved = f", with {before / 1e6:,.1f} MB compressed to {after / 1e6:,.1f} MB in the columnstore" if after else ""
    output(
        f"{counted(counter.rows, 'trade')} in {counter.elapsed:,.1f} s ({counter.rate:,.0f} per second while storing), "
        f"back to {_date(since)}; trades take {total / 1e6:,.1f} MB on disk{saved}"
    )


def _date(moment: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + moment * MICROSECOND).strftime("%Y-%m-%d %H:%M UTC")
