"""Own calendars as rows: the view `sessions` takes changes, and former sessions stay for reads of the past."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, LiteralString

import psycopg
import pytest
from helpers.support import Connection, one, store
from psycopg import errors

from market_data.models_calendars import Session
from market_data.queries.calendars import (
    MarketMoment,
    read_calendar_moment,
    read_calendars,
    read_sessions,
    read_symbol_moment,
)
from market_data.queries.status import read_newest_trade

START, END = date(2026, 2, 1), date(2026, 3, 1)


@pytest.fixture
def own(connection: Connection) -> Iterator[Connection]:
    """Connect to a database with the own calendar OWN without sessions, and LIB of the library."""
    connection.execute("""
        INSERT INTO calendars (code, name, time_zone, source, pre_market_minutes, post_market_minutes, auction_minutes)
        VALUES ('OWN', 'Own', 'UTC', 'own', 60, 120, 5), ('LIB', 'Library', 'UTC', 'exchange_calendars', 0, 0, 0)
    """)
    yield connection
    connection.execute("UPDATE symbols SET calendar = '24/7'")
    connection.execute("TRUNCATE calendar_sessions, symbol_calendars")
    connection.execute("DELETE FROM calendars WHERE code <> '24/7'")


def run(connection: Connection, read: Any, *arguments: Any) -> Any:
    """Return the result of a function of `queries`."""

    async def result() -> Any:
        async with await psycopg.AsyncConnection.connect(connection.info.dsn, autocommit=True) as opened:
            return await read(opened, *arguments)

    return asyncio.run(result())


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 2, day, hour, minute, tzinfo=UTC)


def add(connection: Connection, day: int, opens: int = 9, closes: int = 17) -> None:
    connection.execute(
        "INSERT INTO sessions (calendar, day, opens_at, closes_at) VALUES ('OWN', %s, %s, %s)",
        (date(2026, 2, day), at(day, opens), at(day, closes)),
    )


def version(connection: Connection) -> int:
    return one(connection, "SELECT newest_version()")


def days(sessions: list[Session]) -> list[int]:
    return [session.day.day for session in sessions]


def test_an_added_session_gets_the_settings_of_its_calendar(own: Connection):
    add(own, 9)
    expected = Session(date(2026, 2, 9), at(9, 9), at(9, 17), None, None, at(9, 8), at(9, 19), at(9, 17, 5))
    assert run(own, read_sessions, "OWN", START, END) == [expected]


def test_each_change_takes_a_version_and_reads_of_the_past_have_the_former_sessions(own: Connection):
    versions = [version(own)]
    statements: list[LiteralString] = [
        "INSERT INTO sessions (calendar, day, opens_at, closes_at) "
        "VALUES ('OWN', '2026-02-09', '2026-02-09 09:00Z', '2026-02-09 17:00Z')",
        "UPDATE sessions SET closes_at = '2026-02-09 13:00Z' WHERE calendar = 'OWN' AND day = '2026-02-09'",
        "DELETE FROM sessions WHERE calendar = 'OWN'",
    ]
    for statement in statements:
        assert own.execute(statement).rowcount == 1
        versions.append(version(own))
    assert len(set(versions)) == 4
    assert own.execute("SELECT kind FROM commits ORDER BY version DESC LIMIT 3").fetchall() == [("reference",)] * 3
    found = [run(own, read_sessions, "OWN", START, END, number) for number in versions]
    assert [[session.closes_at for session in sessions] for sessions in found] == [[], [at(9, 17)], [at(9, 13)], []]
    (_, _, (halved,), _) = found
    assert (halved.auction_ends_at, halved.post_closes_at, halved.pre_opens_at) == (at(9, 13, 5), at(9, 15), at(9, 8))
    assert run(own, read_sessions, "OWN", START, END) == []


def test_changes_of_one_transaction_take_one_version(own: Connection):
    with own.transaction():
        add(own, 9)
        add(own, 10)
        own.execute("UPDATE sessions SET opens_at = opens_at + INTERVAL '1 hour' WHERE calendar = 'OWN'")
        own.execute("DELETE FROM sessions WHERE day = '2026-02-10'")
        add(own, 10)
    assert one(own, "SELECT count(*) FROM commits WHERE kind = 'reference'") == 1
    found = run(own, read_sessions, "OWN", START, END)
    assert [(session.day.day, session.opens_at.hour) for session in found] == [(9, 10), (10, 9)]
    assert one(own, "SELECT count(*) FROM calendar_sessions") == 2


def test_an_update_without_a_difference_takes_no_version(own: Connection):
    add(own, 9)
    before = version(own)
    own.execute("UPDATE sessions SET opens_at = opens_at")
    assert version(own) == before


def test_pre_and_post_markets_of_neighbours_do_not_overlap(own: Connection):
    own.execute("UPDATE calendars SET pre_market_minutes = 1440, post_market_minutes = 1440 WHERE code = 'OWN'")
    for day in (9, 11, 10):
        add(own, day)
    found = run(own, read_sessions, "OWN", START, END)
    assert [(session.pre_opens_at, session.post_closes_at) for session in found] == [
        (at(8, 9), at(10, 9)),
        (at(10, 9), at(10, 17, 5)),
        (at(10, 17, 5), at(12, 17)),
    ]
    assert all(session.auction_ends_at == session.closes_at + timedelta(minutes=5) for session in found)


def test_a_change_of_a_calendar_of_the_library_or_to_another_day_is_refused(own: Connection):
    refused: list[tuple[type[psycopg.Error], LiteralString]] = [
        (errors.CheckViolation, "INSERT INTO sessions (calendar, day) VALUES ('LIB', '2026-02-09')"),
        (errors.CheckViolation, "INSERT INTO sessions (calendar, day) VALUES ('24/7', '2026-02-09')"),
        (errors.ForeignKeyViolation, "INSERT INTO sessions (calendar, day) VALUES ('NONE', '2026-02-09')"),
        (errors.CheckViolation, "UPDATE sessions SET day = '2026-02-10'"),
        (errors.CheckViolation, "UPDATE sessions SET closes_at = opens_at"),
        (errors.CheckViolation, "UPDATE sessions SET closes_at = closes_at + INTERVAL '1 second'"),
        (errors.NotNullViolation, "INSERT INTO sessions (calendar, day) VALUES ('OWN', '2026-02-10')"),
        (
            errors.ExclusionViolation,
            "INSERT INTO sessions (calendar, day, opens_at, closes_at) "
            "VALUES ('OWN', '2026-02-10', '2026-02-09 16:00Z', '2026-02-10 17:00Z')",
        ),
        (
            errors.UniqueViolation,
            "INSERT INTO sessions (calendar, day, opens_at, closes_at) "
            "VALUES ('OWN', '2026-02-09', '2026-02-09 16:00Z', '2026-02-09 17:00Z')",
        ),
    ]
    add(own, 9)
    before = version(own)
    for error, statement in refused:
        with pytest.raises(error):
            own.execute(statement)
    assert version(own) == before


@pytest.mark.parametrize(
    ("moment", "status", "next_open", "next_close"),
    [
        (at(8, 12), "closed", at(9, 9), at(9, 12)),
        (at(9, 7, 59), "closed", at(9, 9), at(9, 12)),
        (at(9, 8), "pre", at(9, 9), at(9, 12)),
        (at(9, 9), "open", at(9, 13), at(9, 12)),
        (at(9, 11, 59), "open", at(9, 13), at(9, 12)),
        (at(9, 12), "break", at(9, 13), at(9, 17)),
        (at(9, 13), "open", at(10, 9), at(9, 17)),
        (at(9, 17), "post", at(10, 9), at(10, 12)),
        (at(9, 18, 59), "post", at(10, 9), at(10, 12)),
        (at(9, 19), "closed", at(10, 9), at(10, 12)),
        (at(10, 16), "open", None, at(10, 17)),
        (at(10, 19), "closed", None, None),
        (at(27, 12), "closed", None, None),
    ],
)
def test_state_of_a_market_at_its_boundaries(
    own: Connection, moment: datetime, status: str, next_open: datetime | None, next_close: datetime | None
):
    for day in (9, 10):
        add(own, day)
    own.execute("""
        UPDATE sessions SET break_starts_at = opens_at + INTERVAL '3 hours', break_ends_at = opens_at + INTERVAL '4 hours'
    """)
    own.execute("INSERT INTO symbols (symbol, name, calendar) VALUES ('AAPL', 'Apple', 'OWN')")
    expected = MarketMoment("OWN", status, next_open, next_close)  # type: ignore[arg-type]
    assert run(own, read_symbol_moment, "AAPL", moment) == expected
    assert run(own, read_calendar_moment, "OWN", moment) == expected


def test_the_closing_auction_counts_as_after_the_close(own: Connection):
    own.execute("UPDATE calendars SET post_market_minutes = 0 WHERE code = 'OWN'")
    add(own, 9)
    found = [run(own, read_calendar_moment, "OWN", at(9, 17, minute)).status for minute in (0, 4, 5)]
    assert found == ["post", "post", "closed"]


def test_unknown_symbols_and_calendars_have_no_state(own: Connection):
    assert run(own, read_symbol_moment, "NONE", at(9, 12)) is None
    assert run(own, read_calendar_moment, "NONE", at(9, 12)) is None
    assert run(own, read_calendar_moment, "24/7", at(9, 12)) == MarketMoment("24/7", "open", None, None)
    assert run(own, read_calendar_moment, "LIB", at(9, 12)) == MarketMoment("LIB", "closed", None, None)


def test_calendars_are_listed_in_the_order_of_their_codes(own: Connection):
    add(own, 9)
    found = run(own, read_calendars)
    assert [(each.code, each.session_count) for each in found] == [("24/7", 0), ("LIB", 0), ("OWN", 1)]


@pytest.mark.parametrize(
    ("now", "open_hours"),
    [
        (at(9, 18), 0),  # the last trade was after the close
        (at(10, 9), 0),
        (at(10, 12), 3),
        (at(10, 12, 30), 3),
        (at(10, 14), 4),
        (at(10, 23), 7),
        (at(20, 23), 7),
    ],
)
def test_open_time_since_the_newest_trade(own: Connection, now: datetime, open_hours: float):
    for day in (9, 10):
        add(own, day)
    own.execute("""
        UPDATE sessions SET break_starts_at = opens_at + INTERVAL '3 hours', break_ends_at = opens_at + INTERVAL '4 hours'
    """)
    own.execute("INSERT INTO symbols (symbol, name, calendar) VALUES ('AAPL', 'Apple', 'OWN'), ('BTC', 'Bitcoin', '24/7')")
    store(own, (at(9, 17), "AAPL", 0, Decimal(1), Decimal(1)))
    newest = run(own, read_newest_trade, now)
    assert newest.open_age(now) == open_hours * 3600
    assert newest.age(now) == (now - at(9, 17)).total_seconds()
    store(own, (at(9, 16), "BTC", 0, Decimal(1), Decimal(1)))
    assert run(own, read_newest_trade, now).open_age(now) == newest.age(now)


PLANS: dict[str, LiteralString] = {
    "now": "SELECT day FROM sessions WHERE calendar = 'OWN' AND day >= '2026-02-09' ORDER BY day LIMIT 8",
    "of a version": """
        SELECT day FROM calendar_sessions WHERE calendar = 'OWN' AND day >= '2026-02-09' AND day < '2026-02-11' ORDER BY day
    """,
}


@pytest.mark.parametrize("statement", PLANS.values(), ids=PLANS)
def test_sessions_are_found_by_an_index(own: Connection, statement: LiteralString):
    own.execute("""
        INSERT INTO calendar_sessions
            (calendar, day, opens_at, closes_at, pre_opens_at, post_closes_at, auction_ends_at, write_id)
        SELECT
            'OWN', day, day + INTERVAL '9 hours', day + INTERVAL '17 hours', day + INTERVAL '9 hours',
            day + INTERVAL '17 hours', day + INTERVAL '17 hours', (SELECT reference_write())
        FROM generate_series('1990-01-01Z'::timestamptz, '2030-01-01Z', '1 day') AS day
    """)
    own.execute("ANALYZE calendar_sessions")
    plan = "\n".join(line for (line,) in own.execute(b"EXPLAIN " + statement.encode()))
    assert "Index" in plan
    assert "Seq Scan" not in plan
