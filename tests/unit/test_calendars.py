"""Sessions from hours and settings, without a database; and the library when it is missing."""

import importlib.util
from datetime import UTC, date, datetime, timedelta

import pytest

from market_data.calendars.hours import Hours, Minutes, derive_sessions, find_difference, find_problem
from market_data.calendars.library import is_installed, read_calendar
from market_data.errors import CommandFailed
from market_data.queries.calendars import market_moment


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 2, day, tzinfo=UTC) + timedelta(hours=hour, minutes=minute)


def test_sessions_that_follow_each_other_do_not_overlap():
    """As of futures, which close only for an hour or not at all."""
    hours = [Hours(date(2026, 2, day), at(day, -6), at(day, 18)) for day in (10, 9, 11)]
    sessions = derive_sessions(hours, Minutes(60, 60, 1))
    assert [session.day.day for session in sessions] == [9, 10, 11]
    assert [session.pre_opens_at for session in sessions] == [at(9, -7), at(10, -6), at(11, -6)]
    assert [session.post_closes_at for session in sessions] == [at(9, 18), at(10, 18), at(11, 19)]
    assert [session.auction_ends_at for session in sessions] == [at(9, 18), at(10, 18), at(11, 18, 1)]


def test_a_pre_market_begins_after_the_post_market_before():
    hours = [Hours(date(2026, 2, day), at(day, 8), at(day, 20)) for day in (9, 10)]
    first, second = derive_sessions(hours, Minutes(600, 480, 5))
    assert first.post_closes_at == second.pre_opens_at == at(10, 4)


def test_only_sessions_that_differ_are_stored_again():
    hours = [Hours(date(2026, 2, day), at(day, 8), at(day, 20)) for day in (9, 10, 11)]
    present = derive_sessions(hours, Minutes(0, 0, 1))
    wanted = derive_sessions([hours[0], hours[1]._replace(closes_at=at(10, 12))], Minutes(0, 0, 1))
    assert not find_difference(present, present)
    difference = find_difference(present, wanted)
    assert difference
    assert (difference.added, difference.changed, difference.removed) == ([], [wanted[1]], [date(2026, 2, 11)])
    assert find_difference(wanted, present).added == [present[2]]


def test_neighbours_that_touch_are_no_problem():
    assert find_problem([Hours(date(2026, 2, day), at(day, 0), at(day, 24)) for day in (9, 10)]) is None
    problem = find_problem([Hours(date(2026, 2, 9), at(9, 0), at(9, 25)), Hours(date(2026, 2, 10), at(10, 0), at(10, 24))])
    assert problem == "2026-02-10: opens before the session of 2026-02-09 closes"


def test_open_wins_over_a_post_market_of_the_session_before():
    first, second = derive_sessions(
        [Hours(date(2026, 2, 9), at(9, 8), at(9, 20)), Hours(date(2026, 2, 10), at(9, 21), at(10, 20))], Minutes(0, 0, 0)
    )
    found = [market_moment("X", [first, second], at(9, hour)).status for hour in (7, 8, 20, 21)]
    assert found == ["closed", "open", "closed", "open"]


def test_a_missing_library_has_a_remedy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert not is_installed()
    with pytest.raises(CommandFailed, match=r"pip install 'market-data-platform\[calendars\]'"):
        read_calendar("XNYS", date(2026, 2, 8))
