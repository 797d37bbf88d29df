"""`/snapshots` with `session`."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from helpers.calendars import store_own_calendar
from helpers.support import Connection, current_trade, store
from litestar.testing import TestClient

from market_data.queries.schedules import TradingSession

ADD_SYMBOLS = """
    INSERT INTO symbols (symbol, name, calendar) VALUES ('DESK1', 'Shares', 'DESK'), ('DESK2', 'Other shares', 'DESK')
"""
BEGINNINGS = (-2, -1, 0, 1)
"""Days from now; the one of today is open."""


class Desk:
    """A market whose sessions last from three hours ago to an hour ahead, each day. It is where it is noon now."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.minute = datetime.now(UTC).replace(second=0, microsecond=0)
        hours = 12 - self.minute.hour
        self.today = self.minute.astimezone(timezone(timedelta(hours=hours))).date()
        sessions = [self._session(day) for day in BEGINNINGS]
        store_own_calendar(connection, *sessions, time_zone=f"Etc/GMT{-hours:+d}")  # its sign is that west of Greenwich
        connection.execute(ADD_SYMBOLS)

    def _session(self, day: int) -> TradingSession:
        opens_at, closes_at, *times = [self.at(day, hours) for hours in (-3, 1, -4, 3, 1.5)]
        return TradingSession(self.today + timedelta(days=day), opens_at, closes_at, None, None, *times)

    def at(self, day: int, hours: float) -> datetime:
        return self.minute + timedelta(days=day, hours=hours)

    def store(self, *trades: tuple[int, float, str], symbol: str = "DESK1") -> None:
        """Store trades by day, hour and price."""
        rows = [(self.at(day, hours), symbol, 0, Decimal(price), Decimal(1)) for day, hours, price in trades]
        store(self._connection, *rows)


@pytest.fixture
def desk(connection: Connection) -> Desk:
    return Desk(connection)


def snapshots(client: TestClient, **parameters: str) -> dict[str, dict[str, Any]]:
    response = client.get("/snapshots", params=parameters)
    assert response.status_code == 200, response.text
    return {each["symbol"]: each for each in response.json()["snapshots"]}


def closes(snapshot: dict[str, Any]) -> tuple[Any, ...]:
    day, before = snapshot["day"], snapshot["previous_day"]
    return day and day["close"], before and before["close"], snapshot["previous_close"]


TRADES = (-2, -1, "1"), (-1, -3.5, "2"), (-1, -2, "3"), (-1, 1.2, "4"), (-1, 2, "5"), (0, -3.5, "6"), (0, -1, "7")
"""Of two days ago; before the open, in the session, in the auction and after it; before the open and in the session."""


@pytest.mark.parametrize(("session", "expected"), [("regular", (7, 4, 4)), ("extended", (7, 5, 5))])
def test_days_are_the_newest_two_sessions(client: TestClient, desk: Desk, session: str, expected: tuple[int, ...]):
    desk.store(*TRADES)
    for parameters in ({"symbols": "DESK1"}, {}):
        snapshot = snapshots(client, session=session, **parameters)["DESK1"]
        assert closes(snapshot) == expected
        start, end = desk.at(-3, 0).isoformat(), desk.at(1, 0).isoformat()
        candles = client.get(
            "/candles", params={"symbol": "DESK1", "interval": "1d", "session": session, "start": start, "end": end}
        )
        assert [snapshot["previous_day"], snapshot["day"]] == candles.json()["candles"][-2:]
        assert snapshot["latest"]["price"] == 7


def test_session_without_a_trade_has_no_candle(client: TestClient, desk: Desk):
    desk.store(*TRADES[:5])
    assert closes(snapshots(client, session="regular")["DESK1"]) == (None, 4, 4)
    desk.store((0, -1, "7"), symbol="DESK2")
    assert closes(snapshots(client, session="regular")["DESK2"]) == (7, None, None)


def test_other_symbols_have_utc_days(client: TestClient, connection: Connection, desk: Desk):
    desk.store(*TRADES)
    store(connection, current_trade("300"))
    both = {session: snapshots(client, session=session) for session in ("regular", "all")}
    assert both["regular"]["AAPL"] == both["all"]["AAPL"]
    assert both["regular"].keys() == {"AAPL", "DESK1"}


def test_days_of_the_past_have_the_sessions_and_actions_of_then(client: TestClient, connection: Connection, desk: Desk):
    desk.store(*TRADES)
    (version,) = connection.execute("SELECT newest_version()").fetchone() or (0,)
    connection.execute("DELETE FROM stale_ranges")
    before = snapshots(client, session="regular", adjustment="split")["DESK1"]
    connection.execute(
        "INSERT INTO corporate_actions (symbol, id, type, ex_date, numerator, denominator) "
        "VALUES ('DESK1', 'a', 'split', %s, 2, 1)",
        (desk.today,),
    )
    connection.execute(
        "UPDATE sessions SET closes_at = %s WHERE calendar = 'DESK' AND opens_at = %s", (desk.at(-1, 0), desk.at(-1, -3))
    )
    after = snapshots(client, session="regular", adjustment="split")["DESK1"]
    assert (closes(before), closes(after)) == ((7, 4, 4), (7, 1.5, 1.5))
    then = snapshots(client, session="regular", adjustment="split", as_of=str(version))["DESK1"]
    assert closes(then) == closes(before)
    assert client.get("/snapshots", params={"session": "regular", "as_of": version}).headers["data-version"] == str(version)


def test_wrong_session_is_rejected(client: TestClient):
    response = client.get("/snapshots", params={"session": "night"})
    assert (response.status_code, response.json()["errors"][0]["name"]) == (400, "session")
