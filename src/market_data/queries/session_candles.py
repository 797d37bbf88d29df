"""Candles of trading sessions: days of an exchange, and buckets that start when a session opens.

The calendar is read first, and the statement gets the segments of its sessions as arrays. It returns the state of the
calendar as well: if that has changed in between, the page has no version.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, LiteralString, NamedTuple

import msgspec

from market_data.queries.adjustment import adjustment_parameters
from market_data.queries.candles import CANDLE_COLUMNS, CandleRange, columns_of, read_candles
from market_data.queries.derived_candles import EARLIEST, FUTURE, read_derived_candles
from market_data.queries.gapfilled_candles import (
    END,
    GAPFILLED_COLUMNS,
    FirstBucket,
    limited_to,
    read_first_bucket,
    read_gapfilled_candles,
)
from market_data.queries.intervals import DERIVED, INTERVALS, LENGTHS, MULTIPLES, WIDTHS, bucket_start
from market_data.queries.past import parameters_of
from market_data.queries.row_pages import BEGINNING, Connection, Page, RowFormat, RowKey, page_from_rows
from market_data.queries.schedules import BucketTimes, Schedule, TradingSession, read_schedule
from market_data.queries.session_spans import (
    Bucket,
    Levels,
    Span,
    bucket_arrays,
    buckets_of,
    candle_arrays,
    fitting_levels,
    segment_arrays,
    span_of_segment,
    span_of_session,
    take_time_arrays,
    two_levels,
)
from market_data.queries.session_statements import SessionStatement, for_symbols, session_statement
from market_data.queries.symbol_rows import ReadPage

DAY = timedelta(days=1)

GROWTH = (1, 8, 64, None)
"""Sizes of the parts of a range that are read, in pages, from its near end until one has enough candles; None for all."""

MAX_SESSIONS = 100_000

SHORTEST_SESSION = timedelta(hours=2)
"""Sessions are nearly always longer; shorter ones make a part smaller than a page, and then a larger one is read."""


def reader_of(candles: CandleRange) -> ReadPage[CandleRange]:
    """Return the function that reads a range."""
    if candles.session != "all":
        return read_session_candles
    if candles.tz or candles.interval not in INTERVALS:
        return read_derived_candles
    return read_candles if candles.fill is None else read_gapfilled_candles


async def read_session_candles(
    connection: Connection, candles: CandleRange, limit: int, after: RowKey | None = None, row_format: RowFormat = "json"
) -> Page:
    """Return candles of a range; with `after`, those that follow that key in the order of the range."""
    first = None
    if candles.start == BEGINNING:
        first = await read_first_bucket(connection, candles.symbol, "1m", candles.as_of)
    start, end = _bounds(candles, first, after)
    page = page_from_rows(row_format, _columns(candles, row_format), None, 0, limit)
    if start >= end:
        return limited_to(first, page)
    for size in GROWTH:
        part = await _read_part(connection, candles, (start, end), size, limit)
        if part is None:
            plain = replace(candles, session="all")
            return await reader_of(plain)(connection, plain, limit, after, row_format)
        if part.spans:
            page = await _read_page(connection, candles, part, limit, row_format, first)
        if page.has_more or part.schedule.is_whole:
            break
    return limited_to(first, page)


def _columns(candles: CandleRange, row_format: RowFormat) -> Sequence[Any]:
    return columns_of(row_format, CANDLE_COLUMNS if candles.fill is None else GAPFILLED_COLUMNS)


def width_of(interval: str) -> timedelta | None:
    """Return the length of buckets within a session; None for buckets of whole sessions."""
    width = WIDTHS[interval]
    return width if width < DAY else None


def _length_of(interval: str) -> LiteralString | None:
    if width_of(interval) is None:
        return None
    stored: dict[str, LiteralString] = {**LENGTHS}
    return stored.get(interval) or {**DERIVED, **MULTIPLES}[interval].length


def _bounds(candles: CandleRange, first: FirstBucket | None, after: RowKey | None) -> tuple[datetime, datetime]:
    """Return the bounds of the timestamps of the rest of a range."""
    now = candles.now
    start, end = max(candles.start, EARLIEST), min(candles.end, now + FUTURE)
    if first and first.start == END:
        return end, end
    earlier = WIDTHS[candles.interval] + 2 * DAY  # than a trade is the label of its session, week or month at most
    if first and first.start - start > earlier:
        start = first.start - earlier
    if after and candles.reading_order == "asc":
        start = after[0] + timedelta(microseconds=1)
    elif after:
        end = min(end, after[0])
    return start, end


@dataclass(frozen=True)
class _Part:
    """Part of a range."""

    schedule: Schedule
    spans: Sequence[Span]
    buckets: Sequence[Bucket] | None
    """Of whole sessions; None for buckets of a width."""


async def _read_part(
    connection: Connection, candles: CandleRange, bounds: tuple[datetime, datetime], size: int | None, limit: int
) -> _Part | None:
    """Return the part of a range that has some pages of buckets; None if the market never closes."""
    start, end = bounds
    width, interval, order = width_of(candles.interval), candles.interval, candles.reading_order
    buckets = size * (limit + 1) if size else MAX_SESSIONS
    if width is None:
        sessions = (buckets + 1) * (WIDTHS[interval] // DAY)
        days = bucket_start(start, interval, None).date(), (bucket_start(end, interval, None) + WIDTHS[interval]).date()
    else:
        sessions = buckets * width // SHORTEST_SESSION + 3
        days = (start - 2 * DAY).date(), (end + 2 * DAY).date()
    sessions = min(sessions, MAX_SESSIONS)
    schedule = await read_schedule(connection, candles.symbol, *days, sessions, order, candles.as_of)
    if schedule.is_always_open:
        return None
    levels = _levels_of(candles, schedule.sessions, width)
    if width is not None:
        clipped = (
            segment.clipped(start, end, width)
            for session in schedule.sessions
            for segment in session.segments(candles.session)
        )
        return _Part(schedule, [span_of_segment(segment, width, levels) for segment in clipped if segment], None)
    spans = [span_of_session(session, candles.session, levels) for session in schedule.sessions]
    found = buckets_of(spans, interval)
    if not schedule.is_whole:  # it may have more sessions
        del found[-1 if order == "asc" else 0]
    found = [bucket for bucket in found if start <= bucket.label < end]
    return _Part(schedule, [span for bucket in found for span in bucket.spans], found)


def _levels_of(candles: CandleRange, sessions: Sequence[TradingSession], width: timedelta | None) -> Levels:
    """Return the stored intervals to read: as of a version, only minutes and one other."""
    levels = fitting_levels(width)
    if candles.as_of is None:
        return levels
    return two_levels(levels, [segment for session in sessions for segment in session.segments(candles.session)], width)


def _filled_buckets(part: _Part, candles: CandleRange, limit: int, first: FirstBucket | None) -> list[BucketTimes]:
    """Return the buckets of a page with one more: those that have begun, from the first candle on."""
    ascending = candles.reading_order == "asc"
    if part.buckets is not None:
        groups = [[BucketTimes(bucket.label, bucket.start, bucket.end)] for bucket in part.buckets]
    else:
        width = WIDTHS[candles.interval]
        groups = ([BucketTimes(start, start, end) for start, end in span.segment.buckets(width)] for span in part.spans)
    found: list[BucketTimes] = []
    for times in groups if ascending else reversed([*groups]):
        found += [
            each
            for each in (times if ascending else reversed(times))
            if each.start < candles.now and not (first and each.end <= first.start)
        ]
        if len(found) > limit:
            break
    return found[: limit + 1]


class SessionDays(NamedTuple):
    """The candles of the newest days of the symbols of a calendar."""

    rows: Sequence[tuple[str, str]]
    """Symbol, and its candles as the elements of a JSON array, newest first."""
    version: int | None


async def read_session_days(
    connection: Connection, symbols: Sequence[str], candles: CandleRange, sessions: Sequence[TradingSession]
) -> SessionDays:
    """Return the candles of the days of some sessions; none of symbols without trades then. `candles` has the properties."""
    levels = _levels_of(candles, sessions, None)
    spans = [span_of_session(session, candles.session, levels) for session in sessions]
    how, parameters = _statement_of(candles, spans, buckets_of(spans, "1d"), [], "json")
    cursor = connection.cursor(binary=True)
    take_time_arrays(cursor)
    await cursor.execute(for_symbols(how), {**parameters, "limit": len(sessions), "symbols": list(symbols)}, prepare=True)
    rows = await cursor.fetchall()
    return SessionDays([row[:2] for row in rows if row[1]], rows[0][2] if rows else None)


async def _read_page(
    connection: Connection, candles: CandleRange, part: _Part, limit: int, row_format: RowFormat, first: FirstBucket | None
) -> Page:
    before, filled = None, _filled_buckets(part, candles, limit, first) if candles.fill else []
    if candles.fill == "previous" and filled:
        before = await _close_before(connection, candles, min(times.label for times in filled))
    how, parameters = _statement_of(candles, part.spans, part.buckets, filled, row_format)
    cursor = connection.cursor(binary=True)
    take_time_arrays(cursor)
    parameters |= {"limit": limit, "close_before": before and before.close}
    # A generic plan of trades would scan every chunk; candles are read by functions with plans of their own.
    await cursor.execute(session_statement(how), parameters, prepare=bool(how.levels))
    ((rows, count, stored, settled, state, calendar_state, version),) = await cursor.fetchall()
    is_same = calendar_state == part.schedule.state and (before is None or before.version == version)
    return page_from_rows(
        row_format,
        _columns(candles, row_format),
        rows,
        count,
        limit,
        state=(*state, *calendar_state, str(before and before.close)),
        from_end=candles.from_end,
        stored=stored,
        settled=settled,
        version=version if is_same else None,
    )


def _statement_of(
    candles: CandleRange,
    spans: Sequence[Span],
    buckets: Sequence[Bucket] | None,
    filled: Sequence[BucketTimes],
    row_format: RowFormat,
) -> tuple[SessionStatement, dict[str, Any]]:
    """Return the statement of a page and its parameters."""
    arrays = candle_arrays(spans)
    past, adjustment = parameters_of(candles.as_of), adjustment_parameters(candles.adjustment)
    how = SessionStatement(
        tuple(arrays),
        _length_of(candles.interval),
        candles.fill,
        candles.order,
        candles.reading_order,
        row_format,
        past=bool(past),
        adjusted=bool(adjustment),
    )
    return how, {
        "symbol": candles.symbol,
        "start": spans[0].segment.start,
        "until": spans[-1].segment.end,
        "filled_labels": [times.label for times in filled],
        "filled_starts": [times.start for times in filled],
        "filled_ends": [times.end for times in filled],
        **{f"candles_{level}": starts for level, starts in arrays.items()},
        **(segment_arrays(spans) if buckets is None else bucket_arrays(buckets)),
        **past,
        **adjustment,
    }


class _CloseBefore(NamedTuple):
    close: str | None
    """None without an earlier candle."""
    version: int | None


async def _close_before(connection: Connection, candles: CandleRange, label: datetime) -> _CloseBefore:
    """Return the last close of a session before a bucket."""
    earlier = replace(candles, start=EARLIEST, end=label, order="desc", from_end=False, fill=None)
    page = await read_session_candles(connection, earlier, 1, None, "arrays")
    return _CloseBefore(msgspec.json.decode(page.rows)[CLOSE] if page.count else None, page.version)


CLOSE = [column.name for column in CANDLE_COLUMNS].index("close")
