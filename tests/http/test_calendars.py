"""`/calendars`, `/market/status`, and names with slashes in the middle of a path."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from helpers.support import Connection, one
from litestar.testing import TestClient

ADD_SESSIONS = """
    INSERT INTO calendar_sessions
        (calendar, day, opens_at, closes_at, break_starts_at, break_ends_at, pre_opens_at, post_closes_at, auction_ends_at,
        write_id)
    SELECT
        'TEST/1', day, day + INTERVAL '9 hours', day + INTERVAL '15 hours', day + INTERVAL '11 hours',
        day + INTERVAL '12 hours', day + INTERVAL '8 hours', day + INTERVAL '16 hours', day + INTERVAL '15 hours',
        reference_write()
    FROM unnest(%s::timestamptz[]) AS day
"""


@pytest.fixture
def calendar(known: Connection) -> Iterator[Connection]:
    """Connect to a database with the calendar TEST/1 of Tokyo, open from 9 to 15 UTC with a break, on two days."""
    known.execute("INSERT INTO calendars (code, name, time_zone, source) VALUES ('TEST/1', 'Test', 'Asia/Tokyo', 'own')")
    known.execute(ADD_SESSIONS, (["2026-02-09T00:00Z", "2026-02-10T00:00Z"],))
    yield known
    known.execute("UPDATE symbols SET calendar = '24/7'")
    known.execute("DELETE FROM calendar_sessions")
    known.execute("DELETE FROM calendars WHERE code <> '24/7'")


FIRST = {
    "day": "2026-02-09",
    "opens_at": "2026-02-09T09:00:00Z",
    "closes_at": "2026-02-09T15:00:00Z",
    "break_starts_at": "2026-02-09T11:00:00Z",
    "break_ends_at": "2026-02-09T12:00:00Z",
    "pre_opens_at": "2026-02-09T08:00:00Z",
    "post_closes_at": "2026-02-09T16:00:00Z",
    "auction_ends_at": "2026-02-09T15:00:00Z",
}


def get(client: TestClient, path: str, **query: str) -> Any:
    response = client.get(path, params=query)
    assert response.status_code == 200, response.text
    return response.json()


def problem(client: TestClient, status: int, path: str, **query: str) -> str:
    response = client.get(path, params=query)
    assert response.status_code == status, response.text
    return response.json()["detail"]


def test_calendars_are_listed_with_their_days(client: TestClient, calendar: Connection):
    answer = get(client, "/calendars")
    assert answer["count"] == 2
    always, test = answer["calendars"]
    assert (always["code"], always["session_count"], always["first_day"]) == ("24/7", 0, None)
    assert test == {
        "code": "TEST/1",
        "name": "Test",
        "time_zone": "Asia/Tokyo",
        "source": "own",
        "pre_market_minutes": 0,
        "post_market_minutes": 0,
        "auction_minutes": 0,
        "session_count": 2,
        "first_day": "2026-02-09",
        "last_day": "2026-02-10",
    }


@pytest.mark.parametrize("code", ["TEST/1", "TEST%2F1", "test/1", "TEST//1"])
def test_sessions_of_days_from_start_until_before_end(client: TestClient, calendar: Connection, code: str):
    answer = get(client, f"/calendars/{code}/sessions", start="2026-02-01", end="2026-02-10")
    assert answer == {
        "calendar": "TEST/1",
        "time_zone": "Asia/Tokyo",
        "start": "2026-02-01",
        "end": "2026-02-10",
        "count": 1,
        "sessions": [FIRST],
    }
    assert get(client, f"/calendars/{code}/sessions", start="2026-02-10")["count"] == 1


@pytest.mark.parametrize("code", ["24/7", "24%2F7", "24%2f7"])
def test_each_utc_day_is_a_session_of_the_calendar_that_is_always_open(client: TestClient, code: str):
    answer = get(client, f"/calendars/{code}/sessions", start="2026-02-27", end="2026-03-02")
    assert [session["day"] for session in answer["sessions"]] == ["2026-02-27", "2026-02-28", "2026-03-01"]
    first = answer["sessions"][0]
    assert (first["opens_at"], first["closes_at"]) == ("2026-02-27T00:00:00Z", "2026-02-28T00:00:00Z")
    assert first["break_starts_at"] is None


def test_by_default_sessions_are_those_of_a_year_from_today_on(client: TestClient):
    before = datetime.now(UTC).date()
    answer = get(client, "/calendars/24/7/sessions")
    assert before.isoformat() <= answer["start"] <= datetime.now(UTC).date().isoformat()
    assert answer["count"] == 366
    assert get(client, "/calendars/24/7/sessions", start="9999-12-30")["count"] == 1


def test_sessions_of_a_version_are_those_of_then(client: TestClient, calendar: Connection):
    version = one(calendar, "SELECT newest_version()")
    calendar.execute("""
        UPDATE calendar_sessions SET ended_write_id = reference_write() WHERE day = '2026-02-10'
    """)
    days = {"start": "2026-02-09", "end": "2026-03-01"}
    assert get(client, "/calendars/TEST/1/sessions", **days)["count"] == 1
    response = client.get("/calendars/TEST/1/sessions", params=days | {"as_of": version})
    assert response.json()["count"] == 2
    assert response.headers["data-version"] == str(version)
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert client.get("/calendars/TEST/1/sessions", params=days | {"as_of": version + 1}).json()["count"] == 1


def test_errors_name_the_parameter_and_the_remedy(client: TestClient, calendar: Connection):
    path = "/calendars/TEST/1/sessions"
    assert "There is no calendar NONE; GET /calendars lists" in problem(client, 404, "/calendars/NONE/sessions")
    assert "code: must be the code of a calendar, such as XNYS" in problem(client, 400, "/calendars/a*b/sessions")
    assert "start: must be before end" in problem(client, 400, path, start="2026-02-09", end="2026-02-09")
    assert "start: must be a day such as 2026-02-08" in problem(client, 400, path, start="2026-02-09T00:00:00Z")
    assert "end: names a day that does not exist" in problem(client, 400, path, end="2026-02-30")
    assert "at most 10,000 days before end" in problem(client, 400, path, start="1990-01-01", end="2026-01-01")
    assert "did you mean end" in problem(client, 400, path, ende="2026-01-01")
    assert "There is no symbol NONE" in problem(client, 404, "/market/status", symbol="NONE")
    assert "symbol" in problem(client, 400, "/market/status")
    assert problem(client, 404, "/calendars/TEST/1").startswith("There is nothing at /calendars/")


def test_market_status_of_a_symbol_that_is_always_traded(client: TestClient, known: Connection):
    before = datetime.now(UTC)
    answer = get(client, "/market/status", symbol="aapl")
    assert before <= datetime.fromisoformat(answer.pop("timestamp")) <= datetime.now(UTC)
    assert answer == {"symbol": "AAPL", "calendar": "24/7", "status": "open", "next_open": None, "next_close": None}


def test_market_status_follows_the_calendar_of_the_symbol(client: TestClient, calendar: Connection):
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date()
    calendar.execute("UPDATE symbols SET calendar = 'TEST/1' WHERE symbol = 'AAPL'")
    calendar.execute("DELETE FROM calendar_sessions")
    assert get(client, "/market/status", symbol="AAPL")["next_open"] is None
    calendar.execute(ADD_SESSIONS, ([f"{tomorrow + timedelta(days=1)}T00:00Z"],))
    answer = get(client, "/market/status", symbol="AAPL")
    assert (answer["calendar"], answer["status"]) == ("TEST/1", "closed")
    assert answer["next_open"] == f"{tomorrow + timedelta(days=1)}T09:00:00Z"
    assert answer["next_close"] == f"{tomorrow + timedelta(days=1)}T11:00:00Z"


def test_head_of_sessions_has_no_body(client: TestClient):
    head = client.head("/calendars/24/7/sessions")
    assert (head.status_code, head.content) == (200, b"")
