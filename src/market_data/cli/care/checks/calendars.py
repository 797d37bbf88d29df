"""Check of calendars: sessions that end soon, after which a market would seem closed for good."""

from collections.abc import Iterator
from datetime import date

from market_data.cli.care.checks.finding import CheckContext, Finding, ok, warning
from market_data.cli.console import counted

MIN_DAYS = 30

USED = """
    SELECT calendars.code, calendars.source = 'own', last.day, last.day IS NULL OR last.day < current_date + %s
    FROM calendars
    CROSS JOIN LATERAL (SELECT max(day) FROM sessions WHERE sessions.calendar = calendars.code) AS last (day)
    WHERE calendars.code <> '24/7' AND EXISTS (SELECT FROM symbols WHERE symbols.calendar = calendars.code)
    ORDER BY calendars.code
"""


def calendars(context: CheckContext) -> Iterator[Finding]:
    """Check that the calendars of symbols have sessions for some time ahead."""
    used: list[tuple[str, bool, date | None, bool]] = context.rows(USED, (MIN_DAYS,))  # type: ignore[assignment]
    for code, is_own, last, ends in used:
        if ends:
            remedy = f"market-data calendars refresh {code}, with the newest version of exchange_calendars"
            if is_own:
                remedy = f"add sessions: market-data calendars import {code} FILE"
            finding = f"ends on {last}" if last else "has no sessions"
            yield warning("calendars", f"{code} {finding}; its market then counts as closed", remedy)
    if not any(ends for *_, ends in used):
        finding = "no symbol has a calendar other than 24/7"
        if used:
            finding = f"{counted(len(used), 'calendar')} of symbols with sessions for at least {MIN_DAYS} days"
        yield ok("calendars", finding)
