"""The sessions of a symbol's calendar, and the segments of time that they consist of."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, LiteralString, NamedTuple, get_args

from psycopg.types.string import ByteaBinaryLoader

from market_data.queries.calendars import ALWAYS_OPEN, COLUMNS
from market_data.queries.candles import SessionKind
from market_data.queries.past import AsOf, parameters_of
from market_data.queries.row_pages import PACKED_EPOCH, Connection, Order


class BucketTimes(NamedTuple):
    """A bucket within sessions, or of whole ones."""

    label: datetime
    """Its `timestamp`."""
    start: datetime
    end: datetime


class Segment(NamedTuple):
    """A part of a session without a break: a bucket never reaches beyond it."""

    start: datetime
    end: datetime
    """After the closing auction."""
    close: datetime
    """Trades from here to the end, those of the closing auction, belong to the bucket before."""
    anchor: datetime
    """Buckets start at multiples of their length after this time, except for the first if the segment starts later."""

    def clipped(self, start: datetime, end: datetime, width: timedelta) -> "Segment | None":
        """Return the part whose buckets start in a range; None if there is none."""
        first, until = self.start, self.end
        if start > first:
            first = self.anchor + -((self.anchor - start) // width) * width
            if first >= self.close:
                return None
        if first >= end:
            return None
        beyond = self.anchor + -((self.anchor - end) // width) * width
        if beyond < self.close:
            until = beyond
        return Segment(first, until, min(self.close, until), self.anchor)

    def buckets(self, width: timedelta) -> Iterator[tuple[datetime, datetime]]:
        """Yield the start and the end of each bucket."""
        start = self.start
        grid = self.anchor + (start - self.anchor) // width * width
        while grid < self.close:
            grid += width
            yield start, grid if grid < self.close else self.end
            start = grid


class TradingSession(NamedTuple):
    """A row of the view `sessions`."""

    day: date
    opens_at: datetime
    closes_at: datetime
    break_starts_at: datetime | None
    break_ends_at: datetime | None
    pre_opens_at: datetime
    post_closes_at: datetime
    auction_ends_at: datetime

    @property
    def label(self) -> datetime:
        """Timestamp of the candle of the session: its date, at midnight UTC."""
        return datetime.combine(self.day, time(), UTC)

    def segments(self, kind: SessionKind) -> list[Segment]:
        """Return the parts of the session, in order."""
        auction = self.auction_ends_at - self.closes_at
        found: list[Segment] = []
        start = self.opens_at
        if kind == "extended" and self.pre_opens_at < start:
            found.append(Segment(self.pre_opens_at, start, start, self.pre_opens_at))
        if self.break_starts_at and self.break_ends_at:
            end = min(self.break_starts_at + auction, self.break_ends_at)
            found.append(Segment(start, end, self.break_starts_at, start))
            start = self.break_ends_at
        found.append(Segment(start, self.auction_ends_at, self.closes_at, start))
        if kind == "extended" and self.auction_ends_at < self.post_closes_at:
            found.append(Segment(self.auction_ends_at, self.post_closes_at, self.post_closes_at, self.closes_at))
        return found


@dataclass(frozen=True)
class Schedule:
    """Sessions of a symbol within some days."""

    calendar: str
    state: Sequence[int]
    """Changes with the calendar of the symbol and with its sessions."""
    sessions: list[TradingSession]
    """By rising day."""
    is_whole: bool
    """False if there are more sessions within the days."""

    @property
    def is_always_open(self) -> bool:
        """True if each UTC day is a session."""
        return self.calendar == ALWAYS_OPEN


STATE: LiteralString = """
    ARRAY(
        SELECT unnest(ARRAY[assigned.write_id, calendars.write_id])
        FROM symbol_calendars AS assigned
        JOIN calendars ON calendars.code = assigned.calendar
        WHERE assigned.symbol = %(symbol)s AND assigned.ended_write_id IS NULL
    )
"""
"""SQL expression of `Schedule.state`."""


def _schedule(order: Order, *, past: bool) -> LiteralString:
    writes: LiteralString = "writes AS MATERIALIZED (SELECT newest, late FROM writes_as_of(%(as_of)s, 'infinity'))"
    visible: LiteralString = "ended_write_id IS NULL"
    if past:
        visible = "is_visible(write_id, ended_write_id, (SELECT newest FROM writes), (SELECT late FROM writes))"
    return f"""
        WITH {f"{writes}, " if past else ""} chosen AS (
            SELECT code
            FROM calendars
            WHERE code = coalesce((SELECT calendar FROM symbol_calendars WHERE symbol = %(symbol)s AND {visible}), '24/7')
        )
        SELECT code, {"'{}'::bigint[]" if past else STATE}, {COLUMNS}
        FROM chosen
        LEFT JOIN LATERAL (
            SELECT {COLUMNS}
            FROM calendar_sessions
            WHERE calendar = code AND day >= %(first)s AND day <= %(last)s AND {visible}
            ORDER BY day {"DESC" if order == "desc" else ""}
            LIMIT %(limit)s + 1
        ) AS session ON true
        ORDER BY day
    """


SCHEDULES: dict[tuple[Order, bool], LiteralString] = {
    (order, past): _schedule(order, past=past) for order in get_args(Order) for past in (False, True)
}


CACHED_SESSIONS = 10_000
"""Four calendars with ten years each."""


@lru_cache(CACHED_SESSIONS)
def _session(day: bytes, *times: bytes | None) -> TradingSession:
    """Return a row from values in PostgreSQL's binary form: a year of them takes a millisecond to decode."""
    first = PACKED_EPOCH.date() + timedelta(days=int.from_bytes(day, signed=True))
    return TradingSession(first, *map(_time, times))


def _time(value: bytes | None) -> Any:
    return value and PACKED_EPOCH + timedelta(microseconds=int.from_bytes(value, signed=True))


async def read_schedule(
    connection: Connection, symbol: str, first: date, last: date, limit: int, order: Order, as_of: AsOf | None
) -> Schedule:
    """Return at most `limit` sessions from the first to the last day, the first or the last of them by order."""
    cursor = connection.cursor(binary=True)
    for name in ("date", "timestamptz"):
        cursor.adapters.register_loader(name, ByteaBinaryLoader)
    past = parameters_of(as_of)
    parameters: dict[str, Any] = {"symbol": symbol, "first": first, "last": last, "limit": limit, **past}
    await cursor.execute(SCHEDULES[order, bool(past)], parameters, prepare=True)
    rows = await cursor.fetchall()
    calendar, state, *_ = rows[0]
    sessions = [_session(*row[2:]) for row in rows if row[2] is not None]
    is_whole = len(sessions) <= limit
    if not is_whole:
        sessions = sessions[1:] if order == "desc" else sessions[:-1]
    return Schedule(calendar, state, sessions, is_whole)
