"""`market-data calendars`: list, show, refresh, import and set. The library needs no network."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from helpers.service import Service, command, error_line, eventually


@pytest.fixture(scope="module")
def own_database(new_migrated_database: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    with new_migrated_database() as url:
        yield url


@pytest.fixture(scope="module")
def exchanges(own_database: str) -> str:
    """A database with the sessions of four exchanges."""
    added = calendars(own_database, "refresh", "XNYS", "XTKS", "XHKG", "XLON").splitlines()
    assert [line.partition(":")[0] for line in added] == ["XNYS", "XTKS", "XHKG", "XLON"]
    return own_database


def calendars(url: str, *arguments: str) -> str:
    """Return the standard output of a command."""
    ended = command("calendars", *arguments, DATABASE_URL=url)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def failure(url: str, *arguments: str) -> str:
    return error_line("calendars", *arguments, DATABASE_URL=url)


def shown(url: str, code: str, start: str, end: str) -> list[dict[str, Any]]:
    return json.loads(calendars(url, "show", code, "--start", start, "--end", end, "--json"))


def version(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT newest_version()").fetchone()
    assert row
    return row[0]


CLOSED = [
    ("XNYS", "2012-10-29"),  # hurricane Sandy
    ("XNYS", "2012-10-30"),
    ("XNYS", "2018-12-05"),  # mourning of George H. W. Bush
    ("XNYS", "2025-01-09"),  # mourning of Jimmy Carter
    ("XNYS", "2025-12-25"),
    ("XLON", "2022-09-19"),  # funeral of Elizabeth II
    ("XTKS", "2024-01-03"),
    ("XHKG", "2024-02-12"),  # lunar new year
]
HOURS = [
    # code, day, open, close and break in UTC
    ("XNYS", "2012-10-31", "13:30", "20:00", None),
    ("XNYS", "2024-07-03", "13:30", "17:00", None),  # half days
    ("XNYS", "2024-11-29", "14:30", "18:00", None),
    ("XNYS", "2025-03-07", "14:30", "21:00", None),
    ("XNYS", "2025-03-10", "13:30", "20:00", None),  # summer time since the 9th
    ("XNYS", "2025-10-31", "13:30", "20:00", None),
    ("XNYS", "2025-11-03", "14:30", "21:00", None),  # until the 2nd
    ("XTKS", "2024-11-01", "00:00", "06:00", ("02:30", "03:30")),
    ("XTKS", "2024-11-05", "00:00", "06:30", ("02:30", "03:30")),  # a longer afternoon
    ("XHKG", "2024-02-14", "01:30", "08:00", ("04:00", "05:00")),
    ("XHKG", "2024-02-09", "01:30", "04:00", None),  # half day
    ("XLON", "2024-12-24", "08:00", "12:30", None),
    ("XLON", "2024-06-03", "07:00", "15:30", None),
]


@pytest.mark.parametrize(("code", "day"), CLOSED)
def test_exchanges_are_closed_on_these_days(exchanges: str, code: str, day: str):
    with psycopg.connect(exchanges) as connection:
        found = connection.execute("SELECT day FROM sessions WHERE calendar = %s AND day = %s", (code, day))
        assert found.fetchall() == []
        found = connection.execute("SELECT count(*) FROM sessions WHERE calendar = %s AND day < %s", (code, day))
        assert found.fetchall()[0][0] > 1000


@pytest.mark.parametrize(("code", "day", "opens", "closes", "pause"), HOURS)
def test_exchanges_are_open_at_these_hours(
    exchanges: str, code: str, day: str, opens: str, closes: str, pause: tuple[str, str] | None
):
    with psycopg.connect(exchanges, options="-c timezone=UTC") as connection:
        found = connection.execute(
            """
            SELECT
                to_char(opens_at, 'HH24:MI'), to_char(closes_at, 'HH24:MI'),
                to_char(break_starts_at, 'HH24:MI'), to_char(break_ends_at, 'HH24:MI')
            FROM sessions WHERE calendar = %s AND day = %s
            """,
            (code, day),
        ).fetchall()
    assert found == [(opens, closes, *(pause or (None, None)))]


def test_sessions_have_the_pre_and_post_market_of_well_known_exchanges(exchanges: str):
    (session,) = shown(exchanges, "XNYS", "2024-11-29", "2024-11-30")
    assert (session["pre_opens_at"], session["post_closes_at"]) == ("2024-11-29T09:00:00Z", "2024-11-29T22:00:00Z")
    assert session["auction_ends_at"] == "2024-11-29T18:01:00Z"
    (session,) = shown(exchanges, "XLON", "2024-12-24", "2024-12-25")
    assert (session["post_closes_at"], session["auction_ends_at"]) == ("2024-12-24T12:30:00Z", "2024-12-24T12:36:00Z")


def test_years_ahead_are_stored(exchanges: str):
    listed = {each["code"]: each for each in json.loads(calendars(exchanges, "list", "--json"))}
    with psycopg.connect(exchanges) as connection:
        row = connection.execute("SELECT extract(year FROM now())::int").fetchone()
    assert row
    assert listed["XNYS"]["first_day"] == "1990-01-02"
    assert int(listed["XNYS"]["last_day"][:4]) >= row[0] + 5
    assert listed["XTKS"]["first_day"] == "1997-01-06"  # the library has no earlier ones


def test_a_refresh_without_differences_takes_no_version(exchanges: str):
    before = version(exchanges)
    assert calendars(exchanges, "refresh", "XTKS") == "XTKS: no session changed\n"
    assert version(exchanges) == before


def test_a_refresh_writes_only_differences_and_the_past_keeps_its_sessions(exchanges: str):
    with psycopg.connect(exchanges, autocommit=True) as connection:
        connection.execute("""
            UPDATE calendar_sessions SET ended_write_id = reference_write() WHERE calendar = 'XHKG' AND day = '2024-02-14'
        """)
        connection.execute("""
            UPDATE calendar_sessions SET closes_at = closes_at - INTERVAL '1 hour'
            WHERE calendar = 'XHKG' AND day = '2024-02-15'
        """)
        before = version(exchanges)
        assert calendars(exchanges, "refresh", "XHKG") == "XHKG: 1 session added, 1 changed, 0 removed\n"
        assert version(exchanges) == before + 1
        found = connection.execute(
            """
            SELECT day::text, is_visible(write_id, ended_write_id, newest, late)
            FROM calendar_sessions, writes_as_of(%s, 'infinity')
            WHERE calendar = 'XHKG' AND day BETWEEN '2024-02-14' AND '2024-02-15'
            ORDER BY day, write_id
            """,
            (before,),
        ).fetchall()
    expected = [("2024-02-14", False), ("2024-02-14", False), ("2024-02-15", True), ("2024-02-15", False)]
    assert found == expected


def test_settings_change_the_sessions_of_all_days_and_take_a_version(exchanges: str):
    before = version(exchanges)
    answer = calendars(exchanges, "set", "XLON", "--pre-market", "60", "--auction", "5", "--name", "London")
    assert answer.startswith("XLON: 0 sessions added, ")
    assert version(exchanges) == before + 1
    (session,) = shown(exchanges, "XLON", "2024-12-24", "2024-12-25")
    assert (session["pre_opens_at"], session["auction_ends_at"]) == ("2024-12-24T07:00:00Z", "2024-12-24T12:35:00Z")
    assert calendars(exchanges, "refresh", "XLON") == "XLON: no session changed\n"
    assert calendars(exchanges, "set", "XLON", "--name", "LSE") == "XLON: no session changed\n"
    assert version(exchanges) == before + 1
    listed = {each["code"]: each for each in json.loads(calendars(exchanges, "list", "--json"))}
    assert (listed["XLON"]["name"], listed["XLON"]["pre_market_minutes"]) == ("LSE", 60)


def test_list_and_show_are_tables(exchanges: str):
    assert "XNYS  New York Stock Exchange" in calendars(exchanges, "list")
    text = calendars(exchanges, "show", "xtks", "--start", "2024-11-01", "--end", "2024-11-06")
    assert "Asia/Tokyo" in text
    assert [line.split() for line in text.splitlines()[1:]] == [
        ["Fri", "2024-11-01", "09:00", "11:30-12:30", "15:00", "15:01"],
        ["Tue", "2024-11-05", "09:00", "11:30-12:30", "15:30", "15:31"],
    ]
    assert "has no sessions" in calendars(exchanges, "show", "XNYS", "--start", "2012-10-29", "--end", "2012-10-31")
    assert len(shown(exchanges, "24/7", "2024-02-28", "2024-03-02")) == 3


def test_errors_name_the_remedy(exchanges: str, tmp_path: Path):
    assert "did you mean XNYS" in failure(exchanges, "refresh", "xnys")
    assert "has no calendar NOPE" in failure(exchanges, "refresh", "NOPE")
    assert "24/7 needs no sessions" in failure(exchanges, "refresh", "24/7")
    assert "`market-data calendars list`" in failure(exchanges, "show", "NOPE")
    assert "`market-data calendars refresh NOPE` adds one" in failure(exchanges, "set", "NOPE", "--auction", "1")
    assert "Give a setting to change" in failure(exchanges, "set", "XNYS")
    assert "24/7 has no sessions" in failure(exchanges, "set", "24/7", "--auction", "1")
    file = tmp_path / "own.csv"
    file.write_text("day,open,close\n2026-02-09,9:00,17:00\n")
    assert "give --time-zone to add it" in failure(exchanges, "import", "NEW", str(file))
    assert "XNYS is no own calendar" in failure(exchanges, "import", "XNYS", str(file))


def test_an_own_calendar_is_imported_in_its_time_zone(own_database: str, tmp_path: Path):
    file = tmp_path / "own.csv"
    file.write_text(
        "\ufeffDay,Open,Close,Break_start,Break_end,remark\n"
        "2025-03-07,09:30,16:00,,,\n"
        "2025-03-10,9:30,16:00:00,12:00,13:00,summer time\n"
        "2025-03-11,2025-03-10T22:00:00Z,2025-03-11T16:00-04:00,,,\n"
    )
    zone = "--time-zone", "America/New_York"
    assert (
        calendars(own_database, "import", "DESK/1", str(file), *zone) == "DESK/1: 3 sessions added, 0 changed, 0 removed\n"
    )
    first, second, third = shown(own_database, "DESK/1", "2025-03-01", "2025-04-01")
    assert (first["opens_at"], second["opens_at"]) == ("2025-03-07T14:30:00Z", "2025-03-10T13:30:00Z")
    assert (second["break_starts_at"], second["break_ends_at"]) == ("2025-03-10T16:00:00Z", "2025-03-10T17:00:00Z")
    assert (third["day"], third["opens_at"], third["closes_at"]) == (
        "2025-03-11",
        "2025-03-10T22:00:00Z",
        "2025-03-11T20:00:00Z",
    )
    before = version(own_database)
    assert calendars(own_database, "import", "DESK/1", str(file)) == "DESK/1: no session changed\n"
    assert version(own_database) == before
    file.write_text("day,opens_at,closes_at\n2025-03-10,09:30,13:00\n2025-03-12,09:30,16:00\n")
    assert calendars(own_database, "import", "DESK/1", str(file)) == "DESK/1: 1 session added, 1 changed, 1 removed\n"
    assert [session["day"][-2:] for session in shown(own_database, "DESK/1", "2025-03-01", "2025-04-01")] == [
        "07",
        "10",
        "12",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "has no column day"),
        ("day,open\n", "has no column close"),
        ("day,open,close\n", "has no sessions"),
        ("day,open,close\n2026-02-30,9:00,10:00\n", "line 2: day: must be a date"),
        ("day,open,close\n2026-02-09,9:00,25:00\n", "line 2: close: must be a time of the day"),
        ("day,open,close\n2026-02-09,9:00,2026-02-09T10:00\n", "line 2: close: must be a time of the day"),
        ("day,open,close\n2026-02-09,9:00,8:00\n", "2026-02-09: the open must be before the close"),
        ("day,open,close\n2026-02-09,9:00,8:00:30Z\n", "line 2: close"),
        ("day,open,close\n2026-03-29,2:30,8:00\n", "02:30 does not exist on 2026-03-29"),
        ("day,open,close,break_start\n2026-02-09,9:00,17:00,12:00\n", "a break needs both"),
        ("day,open,close,break_start,break_end\n2026-02-09,9:00,17:00,12:00,18:00\n", "the break must lie between"),
        ("day,open,close\n2026-02-09,9:00,10:00\n2026-02-09,11:00,12:00\n", "there are two sessions on this day"),
        ("day,open,close\n2026-02-09,9:00,10:00\n2026-02-10,2026-02-09T08:30:00Z,11:00\n", "opens before the session"),
        ("day,open,close\n2026-02-09,2026-02-09T09:00:30Z,10:00\n", "whole minutes"),
    ],
)
def test_an_invalid_file_is_refused_as_a_whole(own_database: str, tmp_path: Path, text: str, problem: str):
    file = tmp_path / "own.csv"
    file.write_text(text)
    before = version(own_database)
    assert problem in failure(own_database, "import", "BAD", str(file), "--time-zone", "Europe/Berlin").replace(
        "2:30 does", "02:30 does"
    )
    assert version(own_database) == before
    assert "BAD" not in calendars(own_database, "list")


@pytest.fixture
def used(new_migrated_database: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """A database with a symbol of XTKS, whose sessions are not stored yet."""
    with new_migrated_database() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("""
                INSERT INTO calendars (code, name, time_zone, source)
                VALUES ('XTKS', 'Tokyo', 'Asia/Tokyo', 'exchange_calendars'), ('XHKG', 'x', 'x', 'exchange_calendars')
            """)
            connection.execute("INSERT INTO symbols (symbol, name, calendar) VALUES ('7203', 'Toyota', 'XTKS')")
        yield url


def session_counts(url: str) -> dict[str, int]:
    with psycopg.connect(url) as connection:
        return dict(connection.execute("SELECT calendar, count(*) FROM sessions GROUP BY calendar").fetchall())


def test_the_service_refreshes_the_calendars_that_symbols_use_at_its_start(used: str, tmp_path: Path):
    service = Service(tmp_path, DATABASE_URL=used, FEED_ENABLED="false", MARKET_DATA_HOME=str(tmp_path))
    try:
        service.wait_until_ready()
        eventually(lambda: session_counts(used).get("XTKS", 0) > 8000, 60)
        assert session_counts(used).keys() == {"XTKS"}
        eventually(lambda: "XTKS: 8," in service.text)
        eventually(lambda: not service.descendants())
    finally:
        service.end()


def test_a_service_that_stops_ends_its_refresh(used: str, tmp_path: Path):
    with psycopg.connect(used, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO leases (name, holder, expires_at) VALUES ('calendars', 'x', now() + INTERVAL '50 s')"
        )
    service = Service(tmp_path, DATABASE_URL=used, FEED_ENABLED="false", MARKET_DATA_HOME=str(tmp_path))
    try:
        service.wait_until_ready()
        eventually(service.descendants)
    finally:
        service.end()
    assert not service.descendants()
    assert session_counts(used) == {}
    assert calendars(used, "refresh", "--used") == ""  # another process holds the lease
    assert "Another process refreshes calendars" in failure(used, "refresh", "XTKS")
    assert session_counts(used) == {}
