"""Reads of the past: the trades, latest trades and candles as of a version, by functions of the database."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, LiteralString, NamedTuple

import psycopg
from psycopg import AsyncConnection

from market_data.errors import FutureVersion, Gone
from market_data.queries.adjustment import adjusted_candles_of
from market_data.queries.prepared import fetch

NO_SUCH_VERSION: Final = "MD001"
DROPPED: Final = "MD002"
"""SQLSTATEs of the functions, which `alembic/sql/past.sql` raises."""


class AsOf(NamedTuple):
    """A version, and what a read as of it needs to know."""

    version: int
    time: datetime
    """Current time of the answer: open buckets end later, and a range without an end ends here."""
    newest_time: datetime
    """No trade of that version has a later time."""
    grace: timedelta | None = None
    """Each candle is the one of this long after its bucket had ended; None for all as of the version."""

    def clipped_end(self, start: datetime, end: datetime) -> datetime:
        """Return the end of a range without times at which there was no trade yet; its start if nothing is left."""
        return max(start, min(end, self.newest_time + timedelta(microseconds=1)))


def translate_error(error: psycopg.DatabaseError) -> Exception:
    """Return the error of the service for one of these functions, any other error as it is."""
    if error.sqlstate == NO_SUCH_VERSION:
        return FutureVersion(error.diag.message_detail or "")
    if error.sqlstate == DROPPED:
        return Gone(
            "Trades that the answer needs have been dropped. The earliest version that can be answered is "
            f"{error.diag.message_detail}."
        )
    return error


# Python has no infinite times, which are those of version 0; earlier ones than this leave no room for 24 hours before.
AS_OF = """
    SELECT %(version)s::bigint, greatest(committed_at, '1970-01-01Z'), greatest(newest_time, '1970-01-01Z')
    FROM writes_as_of(%(version)s, 'infinity')
"""


async def read_as_of(connection: AsyncConnection[Any], version: int, time: datetime | None = None) -> AsOf:
    """Return a version for a read. `time` is the one that it was found by, by default that of its commit.

    Raises:
        FutureVersion: There is no such version yet.
        Gone: All trades of that version have been dropped.
    """
    (row,) = await fetch(connection, AS_OF, {"version": version})
    found = AsOf(*row)
    return found if time is None else found._replace(time=time)


# A time that is relative to now may be ahead of the clock of the server.
VERSION_AT: Mapping[bool, LiteralString] = {
    False: "SELECT version_at(%(time)s)",
    True: "SELECT version_at(least(%(time)s, clock_timestamp()))",
}


async def read_version_at(connection: AsyncConnection[Any], time: datetime, *, is_relative: bool) -> int:
    """Return the newest version that was committed by a time. On a replica, it is one that the replica has replayed.

    Raises:
        FutureVersion: The time is in the future.
    """
    ((version,),) = await fetch(connection, VERSION_AT[is_relative], {"time": time})
    return version


VERSION: LiteralString = "(SELECT max(version) FROM data_version)"
"""SQL expression of the newest version, in the snapshot of the statement."""


async def read_version(connection: AsyncConnection[Any]) -> int:
    """Return the newest version."""
    ((version,),) = await fetch(connection, f"SELECT {VERSION}", {})
    return version


def candles_of(
    interval: LiteralString,
    *,
    past: bool,
    at_close: bool = False,
    adjusted: bool = False,
    since: LiteralString = "%(start)s",
    until: LiteralString = "%(end)s",
    symbol: LiteralString = "%(symbol)s",
) -> LiteralString:
    """Return the SQL of the candles of a stored interval: a view, or those of a symbol and range as of a version.

    With `at_close`, each of the latter is as it stood some time after its close. Adjusted ones are not rounded.
    """
    if adjusted:
        return adjusted_candles_of(interval, symbol, since, until, past=past)
    if not past:
        return f"candles_{interval}"
    rest: LiteralString = f"%(as_of)s::bigint, {symbol}, {since}, {until}"
    found: LiteralString = f"candles_as_of('{interval}', {rest})"
    if at_close:
        found = f"candles_as_of_close('{interval}', %(grace)s::interval, {rest})"
    return f"(SELECT {symbol}::text AS symbol, found.* FROM {found} AS found)"


def now_of(*, past: bool) -> LiteralString:
    """Return the SQL of the current time of an answer."""
    return "%(now)s::timestamptz" if past else "now()"


def version_of(*, past: bool) -> LiteralString:
    """Return the SQL of the version of an answer."""
    return "%(as_of)s::bigint" if past else VERSION


def settled_version_of(before: LiteralString, *, past: bool) -> LiteralString:
    """Return the SQL of the version of an answer that depends on candles before a time; null while one is not settled."""
    stale: LiteralString = f"stale_times(8) && tstzrange(NULL, {before})"
    return version_of(past=True) if past else f"CASE WHEN NOT {stale} THEN {VERSION} END"


def parameters_of(as_of: AsOf | None) -> dict[str, object]:
    """Return the parameters of a statement that these parts add."""
    return {"as_of": as_of.version, "now": as_of.time, "grace": as_of.grace} if as_of else {}
