"""Background task that compares candles and latest prices with the trades, and the trades with the transparency log.

Of all processes on one database only the holder of the lease `audit` works, in short steps with pauses between them, so that
it takes a bounded share of the time. It begins with the newest day and goes back; then it begins again with the day that was
compared longest ago. What differs is logged as an error and kept on record. Candles and latest prices are computed again
from the trades, unless these are not the ones of the log.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

import psycopg

from market_data.database.connection import Connection, connect
from market_data.errors import first_line
from market_data.queries.audit import (
    DAY,
    INTERVALS_OF_DAY,
    CandleDifference,
    CommitDifference,
    Comparison,
    compare_candles,
    compare_commits,
    compare_commits_at,
    compare_latest_prices,
    read_trades_of_commit,
)
from market_data.queries.audit_record import (
    AuditedDay,
    close_candles,
    close_commits,
    close_latest_prices,
    has_open_differences,
    mark_block,
    mark_day,
    read_clock,
    read_next_block,
    read_next_day,
    record_candles,
    record_commit,
    record_latest_price,
    repair_candles,
    repair_latest_price,
)
from market_data.queries.intervals import INTERVALS
from market_data.queries.leases import acquire_lease, new_holder, release_lease
from market_data.queries.log_leaves import read_commits
from market_data.queries.symbols import read_symbols
from market_data.settings import Settings

logger = logging.getLogger(__name__)

AUDIT_LEASE = "audit"
LEASE_SECONDS = 30.0
STATEMENT_SECONDS = 60.0
"""Time-out of a statement, most of which take milliseconds."""

IDLE_SECONDS = 10.0
"""Pause of a process that does not hold the lease, or after a failure."""

MIN_PAUSE_SECONDS = 0.05

COMMITS = 256
"""Commits of a step."""

BLOCK = 10_000
"""Versions of a row of `audit_versions`."""

PASS_SECONDS = 600.0
"""Time after which a day or block is compared again at the earliest: small databases are not compared all the time."""

REPAIR_SECONDS = 5.0
"""Time after which repaired candles are compared again, once they have been refreshed."""

MONDAY = 0


class Unit(NamedTuple):
    """Candles that are compared by one statement: those of a symbol in a day, or its week."""

    source: Literal["trades", "1m", "1d"]
    """Compared with trades, or with finer candles where trades have been dropped, or for a week."""
    symbol: str
    start: datetime
    width: timedelta


class Auditor:
    """The audit of one process. Run `run()` as a task."""

    def __init__(self, database_url: str, settings: Settings) -> None:
        self._database_url = database_url
        self._share = settings.audit_share
        self._holder = new_holder()
        self._problem = ""
        """Last problem that was logged, until a step succeeds."""
        self._repaired: dict[Unit, float] = {}
        """Times at which repaired candles are compared again, by the monotonic clock."""

    async def run(self) -> None:
        """Compare until cancelled; try again later if something fails. Return at once if the audit is off."""
        while self._share:
            try:
                async with await connect(self._database_url, STATEMENT_SECONDS) as connection:
                    try:
                        await self._run_steps(connection)
                    finally:
                        with suppress(psycopg.Error):
                            await release_lease(connection, AUDIT_LEASE, self._holder)
            except psycopg.Error as error:
                if first_line(error) != self._problem:
                    self._problem = first_line(error)
                    logger.warning("the audit is interrupted, retrying: %s", self._problem)
            except Exception:  # a bug must not end the audit, and must be logged
                logger.exception("the audit failed, retrying")
            await asyncio.sleep(IDLE_SECONDS)

    async def _run_steps(self, connection: Connection) -> None:
        """Make steps with pauses while this process holds the lease."""
        async with aclosing(self._steps(connection)) as steps:
            while await acquire_lease(connection, AUDIT_LEASE, self._holder, LEASE_SECONDS):
                began = time.monotonic()
                worked = await anext(steps)
                self._problem = ""
                elapsed = time.monotonic() - began
                pause = elapsed * (1 / self._share - 1) if worked else IDLE_SECONDS
                await asyncio.sleep(min(max(pause, MIN_PAUSE_SECONDS), LEASE_SECONDS / 2))

    async def _steps(self, connection: Connection) -> AsyncGenerator[bool]:
        """Compare forever; yield after each step, False if there is nothing to do for a while."""
        while True:
            worked = False
            async for _ in self.turn(connection, timedelta(seconds=PASS_SECONDS)):
                worked = True
                yield True
            await self.compare_latest_prices(connection)
            yield worked

    async def turn(self, connection: Connection, rest: timedelta = timedelta()) -> AsyncGenerator[None]:
        """Compare repaired candles, a day, and a block of commits; yield after each step.

        Days and blocks that were compared within the time `rest` are left out.
        """
        for unit in [unit for unit, due in self._repaired.items() if due <= time.monotonic()]:
            del self._repaired[unit]
            await self._compare(connection, unit)
            yield
        if day := await read_next_day(connection, rest):
            count = differences = 0
            for unit in await _units(connection, day):
                found = await self._compare(connection, unit)
                count += found.candles
                differences += len(found.differences)
                yield
            await mark_day(connection, day.start, count, differences)
        block = await read_next_block(connection, rest)
        if block is not None:
            async for _ in self._compare_block(connection, block):
                yield

    async def _compare(self, connection: Connection, unit: Unit) -> Comparison:
        began = await read_clock(connection)
        end = unit.start + unit.width
        if unit.source == "1d" and await has_open_differences(connection, unit.symbol, "1d", unit.start, end):
            self._repaired.setdefault(unit, time.monotonic() + REPAIR_SECONDS)  # once the days are right
            return Comparison(0, 0, ())
        found = await compare_candles(connection, unit.source, unit.symbol, unit.start, end)
        if found.differences:
            if await record_candles(connection, unit.symbol, found.differences):
                first = found.differences[0]
                logger.error(
                    "audit: %d candles of %s from %s on differ from the trades, such as %s at %s",
                    len(found.differences),
                    unit.symbol,
                    unit.start.date(),
                    first.interval,
                    first.bucket.isoformat(),
                )
            await self._repair(connection, unit, found.differences)
        if found.unsettled:
            self._repaired.setdefault(unit, time.monotonic() + REPAIR_SECONDS)
        else:
            intervals = ["1w"] if unit.source == "1d" else INTERVALS_OF_DAY
            await close_candles(connection, unit.symbol, unit.start, end, intervals, began)
        return found

    async def _repair(self, connection: Connection, unit: Unit, differences: Sequence[CandleDifference]) -> None:
        """Compute candles again whose trades are there and are those of the log."""
        if unit.source == "1m":
            return
        whole: list[CandleDifference] = []
        for each in differences:
            misfits = await compare_commits_at(connection, each.bucket, each.bucket + INTERVALS[each.interval])
            await self._record_commits(connection, misfits)
            if not misfits:
                whole.append(each)
        if whole:
            await repair_candles(connection, whole)
            self._repaired[unit] = time.monotonic() + REPAIR_SECONDS

    async def compare_latest_prices(self, connection: Connection) -> None:
        """Compare the latest prices with the trades, and repair those that differ."""
        began = await read_clock(connection)
        for each in await compare_latest_prices(connection):
            if await record_latest_price(connection, each):
                logger.error("audit: the latest price of %s is not that of its latest trade", each.symbol)
            misfits: list[CommitDifference] = []
            for moment in filter(None, {each.stored_time, each.expected_time}):
                misfits += await compare_commits_at(connection, moment, moment + timedelta(microseconds=1))
            await self._record_commits(connection, misfits)
            if not misfits:
                await repair_latest_price(connection, each.symbol)
        await close_latest_prices(connection, began)

    async def _compare_block(self, connection: Connection, block: int) -> AsyncGenerator[None]:
        began = await read_clock(connection)
        last = version = block * BLOCK - 1
        count = different = 0
        while commits := await read_commits(connection, version, COMMITS, last + BLOCK):
            found, differences = await compare_commits(connection, commits)
            count += found
            different += len(differences)
            await self._record_commits(connection, differences)
            version = commits[-1].version
            yield
        await close_commits(connection, last + 1, last + BLOCK, began)
        await mark_block(connection, block, count, different)

    async def _record_commits(self, connection: Connection, differences: Sequence[CommitDifference]) -> None:
        for each in differences:
            trades = await read_trades_of_commit(connection, each.version)
            if await record_commit(connection, each, trades):
                logger.error(
                    "audit: the trades of version %d are not those of the transparency log; nothing is repaired from them",
                    each.version,
                )


async def _units(connection: Connection, day: AuditedDay) -> list[Unit]:
    source: Literal["trades", "1m"] = "1m" if day.dropped_before and day.start < day.dropped_before else "trades"
    units: list[Unit] = []
    for symbol in await read_symbols(connection):
        units.append(Unit(source, symbol.symbol, day.start, DAY))
        if day.start.weekday() == MONDAY:
            units.append(Unit("1d", symbol.symbol, day.start, INTERVALS["1w"]))
    return units
