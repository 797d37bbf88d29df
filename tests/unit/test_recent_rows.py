"""The rows that a worker keeps for clients that return."""

import asyncio

import pytest
from helpers.support import T0

from market_data.queries.stream import Commit, StreamRange, StreamRow
from market_data.streaming import recent_rows
from market_data.streaming.events import EventId
from market_data.streaming.recent_rows import RecentRows


def row(version: int, number: int = 1) -> StreamRow:
    return StreamRow(version, T0, number, "trade", "AAPL", T0, None, T0, False, "{}")


END = EventId(10, 0, 0)


def test_rows_after_a_position_are_complete_or_unknown():
    recent = RecentRows()
    recent.start_after(EventId(4, 2, 0))
    recent.add([row(4, 3), row(5), row(7)], EventId(8, 0, 0))
    assert recent.between(4, 2, END) is None, "the rows of version 8 and 9 are not known"
    recent.add([row(8)], END)
    assert recent.between(4, 1, END) is None
    assert recent.between(4, 2, END) == [row(4, 3), row(5), row(7), row(8)]
    assert recent.between(5, 1, END) == recent.between(6, -1, END) == [row(7), row(8)]
    assert recent.between(9, 0, END) == []
    recent.start_after(EventId(9, 0, 0))
    recent.add([], END)
    assert recent.between(9, -1, END) == []  # before the first row of a commit, as well as at its number 0
    assert recent.between(8, 1, END) is None


def test_oldest_rows_are_dropped(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(recent_rows, "MAX_ROWS", 3)
    recent = RecentRows()
    recent.add([row(version) for version in range(1, 7)], EventId(7, 0, 0))
    assert recent.between(0, 0, EventId(7, 0, 0)) is not None
    recent.add([row(7)], END)
    assert recent.between(4, 1, END) == [row(5), row(6), row(7)]
    assert recent.between(3, 1, END) is None


@pytest.mark.parametrize("count", [5, 4000])
def test_a_worker_that_starts_reads_the_newest_rows_unless_they_are_very_many(monkeypatch: pytest.MonkeyPatch, count: int):
    monkeypatch.setattr(recent_rows, "MAX_ROWS", 1000)
    stored = [row(version) for version in range(1, count + 1)]

    async def read(version: int, number: int, *, until: int) -> list[StreamRow]:
        return [each for each in stored if (version, number) < (each.version, each.number) and each.version <= until][:300]

    async def read_range() -> StreamRange:
        return StreamRange(0, Commit(count, T0))

    recent = RecentRows()
    asyncio.run(recent.load(read, read_range, asyncio.run(read_range())))
    assert recent.between(0, 0, EventId.after(count)) == (stored if count == 5 else None)
    assert recent.between(count + 1, -1, EventId.after(count)) == []


def test_rows_that_were_deleted_while_a_worker_read_them_are_not_taken_for_complete():
    stored = [row(version, number) for version in range(1, 10) for number in (1, 2)]
    first = 0

    async def read(version: int, number: int, *, until: int) -> list[StreamRow]:
        nonlocal first
        page = [each for each in stored if (version, number) < (each.version, each.number) and each.version <= until][:5]
        first = 6  # `trim_stream` runs after the first page
        stored[:] = [each for each in stored if each.version >= first]
        return page

    async def read_range() -> StreamRange:
        return StreamRange(first, Commit(9, T0))

    recent = RecentRows()
    asyncio.run(recent.load(read, read_range, StreamRange(0, Commit(9, T0))))
    for version in range(6):
        assert recent.between(version, 2, END) is None, "rows of versions 3 to 5 are missing"
    assert recent.between(6, -1, END) == stored
