"""`GET /status/ingestion`."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from helpers.support import Connection, store, trade
from litestar.testing import TestClient

from market_data.queries.intervals import INTERVALS
from market_data.settings import Settings

MakeClient = Callable[[Settings], TestClient]


def status(client: TestClient) -> dict[str, Any]:
    answer = client.get("/status/ingestion")
    assert answer.status_code == 200
    return answer.json()


def traded(connection: Connection, seconds_ago: float) -> None:
    store(connection, (datetime.now(UTC) - timedelta(seconds=seconds_ago), *trade(0, "1")[1:]))


def lease(connection: Connection, seconds: float) -> None:
    connection.execute(
        "INSERT INTO leases (name, holder, expires_at) VALUES ('feed', 'there:17:a1b2', now() + make_interval(secs => %s))",
        (seconds,),
    )


@pytest.mark.parametrize(
    ("seconds_ago", "feeds_for", "expected"),
    [
        (None, None, "disabled"),
        (60, None, "disabled"),
        (60, -1, "disabled"),
        (60, 30, "stale"),
        (None, 30, "stale"),
        (1, None, "alive"),
        (1, 30, "alive"),
        (-60, None, "alive"),
    ],
)
def test_status_depends_on_trades_of_any_source_and_on_the_lease(
    client: TestClient, connection: Connection, seconds_ago: float | None, feeds_for: float | None, expected: str
):
    """The feed of this service is disabled."""
    if seconds_ago is not None:
        traded(connection, seconds_ago)
    if feeds_for is not None:
        lease(connection, feeds_for)
    body = status(client)
    assert body["ingestion_status"] == expected
    assert body["threshold_seconds"] == 9
    assert body["feeding_replica"] == ("a1b2" if feeds_for == 30 else None)
    assert (body["last_trade"] is None) == (body["seconds_since_last_trade"] is None) == (seconds_ago is None)
    if seconds_ago is not None:
        assert max(seconds_ago, 0) <= body["seconds_since_last_trade"] < max(seconds_ago, 0) + 5


def test_service_with_a_feed_is_stale_without_trades(settings: Settings, make_client: MakeClient, connection: Connection):
    lease(connection, 30)  # the feed of this service waits for the lease
    feeding = msgspec.structs.replace(settings, feed_enabled=True, ingestion_interval_seconds=0.5)
    with make_client(feeding) as client:
        assert (status(client)["ingestion_status"], status(client)["threshold_seconds"]) == ("stale", 1.5)


def test_intervals_and_jobs_are_listed(client: TestClient):
    body = status(client)
    assert [level["interval"] for level in body["candles"]] == list(INTERVALS)
    assert {(job["job"], job["table"]) for job in body["jobs"]} >= {
        ("refresh_candles", None),
        ("policy_refresh_continuous_aggregate", "candles_5m"),
        ("policy_refresh_continuous_aggregate", "candles_1w"),
        ("policy_compression", "trades"),
        ("drop_old_trades", None),
    }
    assert {job["last_status"] for job in body["jobs"]} <= {None, "Success", "Failed"}
    states = {job["job"]: job["state"] for job in body["jobs"]}
    assert set(states.values()) == {"stopped", "unused"}, "the tests stop all jobs"
    assert states["drop_old_trades"] == "unused"


def test_stale_ranges_are_counted(client: TestClient, connection: Connection):
    assert (status(client)["stale_ranges"], status(client)["seconds_since_stale"]) == (0, None)
    connection.execute("""
        INSERT INTO stale_ranges (since, until, write_id, created_at)
        VALUES (now(), now(), 0, now() - INTERVAL '1 minute'), (now(), now(), 0, now())
    """)
    body = status(client)
    assert body["stale_ranges"] == 2
    assert 60 <= body["seconds_since_stale"] < 90


ADD_SESSION = """
    INSERT INTO sessions (calendar, day, opens_at, closes_at, break_starts_at, break_ends_at)
    SELECT
        'OWN', (opens_at AT TIME ZONE 'UTC')::date, opens_at, opens_at + INTERVAL '1 hour', opens_at + INTERVAL '10 minutes',
        opens_at + INTERVAL '20 minutes'
    FROM (SELECT date_trunc('minute', now() - make_interval(mins => %s)) AS opens_at) AS given
"""


@pytest.fixture
def own_calendar(known: Connection) -> Iterator[Connection]:
    """Connect to a database whose symbol AAPL has a calendar without sessions."""
    known.execute("INSERT INTO calendars (code, name, time_zone, source) VALUES ('OWN', 'Own', 'UTC', 'own')")
    known.execute("UPDATE symbols SET calendar = 'OWN' WHERE symbol = 'AAPL'")
    yield known
    known.execute("UPDATE symbols SET calendar = '24/7'")
    known.execute("TRUNCATE calendar_sessions, symbol_calendars")
    known.execute("DELETE FROM calendars WHERE code <> '24/7'")


def test_time_in_which_the_market_was_closed_makes_nothing_stale(client: TestClient, own_calendar: Connection):
    lease(own_calendar, 30)
    traded(own_calendar, 3 * 3600)
    body = status(client)
    assert body["ingestion_status"] == "alive"
    assert body["open_seconds_since_last_trade"] < 5
    assert body["seconds_since_last_trade"] >= 3 * 3600
    own_calendar.execute(ADD_SESSION, (120,))  # it was open for 50 minutes since
    body = status(client)
    assert (body["ingestion_status"], round(body["open_seconds_since_last_trade"], -1)) == ("stale", 3000)
    metrics = client.get("/metrics").text
    (age,) = re.findall(r"^market_data_last_trade_open_age_seconds (.*)$", metrics, re.MULTILINE)
    assert 2990 < float(age) < 3010


def test_symbols_that_are_always_traded_count_as_before(client: TestClient, own_calendar: Connection):
    traded(own_calendar, 3600)
    store(own_calendar, trade(0, "1", symbol="MSFT"))
    body = status(client)
    assert body["open_seconds_since_last_trade"] == body["seconds_since_last_trade"] >= 3600
    own_calendar.execute("UPDATE symbols SET active = false WHERE symbol = 'MSFT'")
    assert status(client)["open_seconds_since_last_trade"] < 5
