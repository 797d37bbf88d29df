"""The sessions of several symbols at once, by calendar, and the bucket of a session to which a time belongs."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any, LiteralString, NamedTuple

from market_data.queries.calendars import ALWAYS_OPEN, COLUMNS
from market_data.queries.candles import SessionKind
from market_data.queries.intervals import INTERVALS, bucket_start
from market_data.queries.past import AsOf, parameters_of, version_of
from market_data.queries.row_pages import Connection
from market_data.queries.schedules import BucketTimes, Segment, TradingSession

DAY = timedelta(days=1)


@dataclass(frozen=True)
class MarketSchedule:
    """The sessions of a calendar, and the symbols that have it."""

    calendar: str
    symbols: Sequence[str]
    version: int
    sessions: Sequence[TradingSession]
    """By rising day."""

    @property
    def is_always_open(self) -> bool:
        """True if each UTC day is a session."""
        return self.calendar == ALWAYS_OPEN


def _market_schedules(*, past: bool) -> LiteralString:
    seen: LiteralString = ", writes_as_of(%(as_of)s, 'infinity') AS seen" if past else ""
    visible: LiteralString = "ended_write_id IS NULL"
    if past:
        visible = "is_visible(write_id, ended_write_id, seen.newest, seen.late)"
    return f"""
        WITH assigned AS (
            SELECT symbol, calendar FROM symbol_calendars{seen} WHERE {visible}
        ), wanted AS (
            SELECT coalesce(assigned.calendar, '{ALWAYS_OPEN}') AS code, array_agg(symbol) AS symbols
            FROM symbols
            LEFT JOIN assigned USING (symbol)
            WHERE %(symbols)s::text[] IS NULL OR symbol = ANY (%(symbols)s)
            GROUP BY code
        )
        SELECT code, CASE WHEN row_number() OVER (PARTITION BY code) = 1 THEN symbols END, {version_of(past=past)}, {COLUMNS}
        FROM wanted
        LEFT JOIN (
            SELECT calendar, {COLUMNS}
            FROM calendar_sessions{seen}
            WHERE day >= %(first)s AND day <= %(last)s AND {visible}
        ) AS session ON session.calendar = code
        ORDER BY code, day
    """


MARKET_SCHEDULES: Mapping[bool, LiteralString] = {past: _market_schedules(past=past) for past in (False, True)}
"""By whether they are those of a version."""


async def read_market_schedules(
    connection: Connection, symbols: Sequence[str] | None, first: date, last: date, as_of: AsOf | None = None
) -> list[MarketSchedule]:
    """Return the sessions from the first to the last day of each calendar that some symbols have, or all symbols."""
    cursor = connection.cursor(binary=True)
    past = parameters_of(as_of)
    parameters: dict[str, Any] = {"symbols": symbols and list(symbols), "first": first, "last": last, **past}
    await cursor.execute(MARKET_SCHEDULES[bool(past)], parameters, prepare=True)
    found: dict[str, list[Any]] = {}
    for code, some, version, *session in await cursor.fetchall():
        schedule = found.setdefault(code, [[], version, []])
        schedule[0] += some or []
        if session[0] is not None:
            schedule[2].append(TradingSession(*session))
    return [MarketSchedule(code, *schedule) for code, schedule in found.items()]


class _Open(NamedTuple):
    segment: Segment
    label: datetime
    """Timestamp of the day of the session."""


class SessionBuckets:
    """The buckets of some successive sessions."""

    def __init__(self, sessions: Sequence[TradingSession], kind: SessionKind) -> None:
        """Weeks are right only if all of their sessions are given."""
        self._sessions = sessions
        self._kind: SessionKind = kind
        self._blocks: dict[str, dict[datetime, BucketTimes]] = {}

    @cached_property
    def _open(self) -> list[_Open]:
        return sorted(_Open(part, each.label) for each in self._sessions for part in each.segments(self._kind))

    def at(self, time: datetime, interval: str) -> BucketTimes | None:
        """Return the bucket of a trade; None if the market was closed."""
        found = self._open_at(time)
        if found is None:
            return None
        segment, width = found.segment, INTERVALS[interval]
        if width >= DAY:
            return self._blocks_of(interval)[bucket_start(found.label, interval, None)]
        last = segment.close - timedelta(microseconds=1)
        grid = segment.anchor + (min(time, last) - segment.anchor) // width * width
        start, end = max(grid, segment.start), grid + width
        return BucketTimes(start, start, end if end < segment.close else segment.end)

    def is_open(self, time: datetime) -> bool:
        """Return True if a trade at a time belongs to a session."""
        return self._open_at(time) is not None

    def _open_at(self, time: datetime) -> _Open | None:
        index = bisect_right(self._open, time, key=_start_of) - 1
        if index < 0 or time >= self._open[index].segment.end:
            return None
        return self._open[index]

    def _blocks_of(self, interval: str) -> Mapping[datetime, BucketTimes]:
        if interval not in self._blocks:
            blocks: dict[datetime, BucketTimes] = {}
            for session in self._sessions:
                parts, label = session.segments(self._kind), bucket_start(session.label, interval, None)
                start = blocks[label].start if label in blocks else parts[0].start
                blocks[label] = BucketTimes(label, start, parts[-1].end)
            self._blocks[interval] = blocks
        return self._blocks[interval]


def _start_of(found: _Open) -> datetime:
    return found.segment.start
