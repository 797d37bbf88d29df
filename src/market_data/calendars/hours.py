"""Sessions, derived from the hours of regular trading and the settings of a calendar. No I/O."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from operator import attrgetter
from typing import NamedTuple

from market_data.models_calendars import Session


class Hours(NamedTuple):
    """Regular trading of a day."""

    day: date
    opens_at: datetime
    closes_at: datetime
    break_starts_at: datetime | None = None
    break_ends_at: datetime | None = None


class Minutes(NamedTuple):
    """Lengths that a calendar adds to regular trading."""

    pre_market: int
    post_market: int
    auction: int


DEFAULT_MINUTES = Minutes(0, 0, 1)
MINUTES = {
    "24/5": Minutes(0, 0, 0),
    "XNYS": Minutes(330, 240, 1),
    "XNAS": Minutes(330, 240, 1),
    "XLON": Minutes(0, 0, 6),
    "XHKG": Minutes(0, 0, 10),
}
"""Lengths of well-known calendars. New York trades from 4:00 to 20:00; the closing auctions of London and Hong Kong end at a
random time within the last minutes."""

NAMES = {
    "CMES": "CME Globex",
    "XAMS": "Euronext Amsterdam",
    "XASX": "Australian Securities Exchange",
    "XBOM": "BSE India",
    "XETR": "Xetra",
    "XHKG": "Hong Kong Stock Exchange",
    "XKRX": "Korea Exchange",
    "XLON": "London Stock Exchange",
    "XNAS": "Nasdaq",
    "XNYS": "New York Stock Exchange",
    "XPAR": "Euronext Paris",
    "XSES": "Singapore Exchange",
    "XSHG": "Shanghai Stock Exchange",
    "XSWX": "SIX Swiss Exchange",
    "XTAI": "Taiwan Stock Exchange",
    "XTKS": "Tokyo Stock Exchange",
    "XTSE": "Toronto Stock Exchange",
}
"""Names of well-known calendars; that of others is their code."""


def hours_of(session: Session) -> Hours:
    """Return the regular trading of a session."""
    return Hours(session.day, session.opens_at, session.closes_at, session.break_starts_at, session.break_ends_at)


def derive_sessions(hours: Iterable[Hours], minutes: Minutes) -> list[Session]:
    """Return sessions by their days.

    None overlaps the next one: its auction and post-market end when that opens at the latest, and a pre-market begins when
    the post-market before has ended.
    """
    ordered = sorted(hours, key=attrgetter("day"))
    sessions: list[Session] = []
    ended: datetime | None = None
    for each, following in zip(ordered, [*ordered[1:], None], strict=True):
        limit = following and following.opens_at
        auction = _at_most(each.closes_at + timedelta(minutes=minutes.auction), limit)
        post = _at_most(each.closes_at + timedelta(minutes=minutes.post_market), limit)
        pre = each.opens_at - timedelta(minutes=minutes.pre_market)
        if ended and pre < ended:
            pre = ended
        sessions.append(Session(*each, pre, post, auction))
        ended = max(auction, post)
    return sessions


def _at_most(time: datetime, limit: datetime | None) -> datetime:
    return min(time, limit) if limit else time


def find_problem(hours: Sequence[Hours]) -> str | None:
    """Return the first problem of hours that are sorted by day: an impossible session, or one that overlaps another."""
    previous: Hours | None = None
    for each in hours:
        problem = _problem_of(each)
        if previous and previous.day == each.day:
            problem = "there are two sessions on this day; give one, with a break"
        elif not problem and previous and previous.closes_at > each.opens_at:
            problem = f"opens before the session of {previous.day} closes"
        if problem:
            return f"{each.day}: {problem}"
        previous = each
    return None


def _problem_of(hours: Hours) -> str | None:
    _, opens_at, closes_at, break_starts_at, break_ends_at = hours
    if any(time and (time.second or time.microsecond) for time in hours[1:]):
        return "times must be whole minutes"
    if opens_at >= closes_at:
        return "the open must be before the close"
    if (break_starts_at is None) != (break_ends_at is None):
        return "a break needs both a start and an end"
    if break_starts_at and break_ends_at and not opens_at < break_starts_at < break_ends_at < closes_at:
        return "the break must lie between the open and the close"
    return None


class Difference(NamedTuple):
    """Sessions to store instead of present ones, and the days whose present ones end."""

    added: list[Session]
    """Sessions of days that had none."""
    changed: list[Session]
    removed: list[date]

    def __bool__(self) -> bool:
        """Return True if anything differs."""
        return bool(self.added or self.changed or self.removed)


def find_difference(present: Iterable[Session], wanted: Iterable[Session]) -> Difference:
    """Return what to change in the present sessions of some days so that they are the wanted ones."""
    before = {session.day: session for session in present}
    added: list[Session] = []
    changed: list[Session] = []
    for session in wanted:
        known = before.pop(session.day, None)
        if known is None:
            added.append(session)
        elif known != session:
            changed.append(session)
    return Difference(added, changed, sorted(before))
