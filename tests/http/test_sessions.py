"""`GET /candles` with `session`."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from helpers.calendars import store_calendar
from helpers.support import Connection, Trade, store
from litestar.testing import TestClient

WEEK = {"symbol": "AAPL", "session": "regular", "start": "2025-03-03", "end": "2025-03-15"}
"""Summer time begins on 9 March in New York."""


def at(time: str, price: str, volume: str = "1", *, symbol: str = "AAPL") -> Trade:
    return datetime.fromisoformat(time).replace(tzinfo=UTC), symbol, 0, Decimal(price), Decimal(volume)


def get(client: TestClient, **parameters: Any) -> dict[str, Any]:
    given = {name: value for name, value in (WEEK | parameters).items() if value is not None}
    response = client.get("/candles", params=given)
    assert response.status_code == 200, response.text
    return response.json()


def shown(body: dict[str, Any]) -> list[tuple[str, float, float, float]]:
    """Return the time, open, close and volume of candles."""
    return [(each["timestamp"][5:16], each["open"], each["close"], each["volume"]) for each in body["candles"]]


@pytest.fixture
def market(connection: Connection) -> Connection:
    """Trades of AAPL around the sessions of 7 and 10 March 2025."""
    store_calendar(connection, "XNYS", date(2025, 1, 1), date(2025, 12, 31))
    connection.execute("INSERT INTO symbols (symbol, name, calendar) VALUES ('AAPL', 'Apple', 'XNYS')")
    store(
        connection,
        at("2025-03-07 14:29:59", "1"),  # pre-market
        at("2025-03-07 14:30", "2"),
        at("2025-03-07 15:29", "3"),
        at("2025-03-07 15:30", "4"),
        at("2025-03-07 21:00:59", "5"),  # closing auction
        at("2025-03-07 21:01", "6"),  # post-market
        at("2025-03-08 00:59:59", "7"),
        at("2025-03-08 01:00", "8"),  # closed
        at("2025-03-10 08:00", "9"),  # pre-market
        at("2025-03-10 13:30", "10"),
        at("2025-03-10 20:00", "11"),  # closing auction
        at("2025-03-10 23:59:59", "12"),
    )
    return connection


@pytest.mark.usefixtures("market")
def test_a_day_is_a_session_labelled_by_its_date(client: TestClient):
    assert shown(get(client, interval="1d")) == [("03-07T00:00", 2, 5, 4), ("03-10T00:00", 10, 11, 2)]
    assert shown(get(client, interval="1d", session="extended")) == [("03-07T00:00", 1, 7, 7), ("03-10T00:00", 9, 12, 4)]
    assert shown(get(client, interval="1d", session="all"))[1] == ("03-08T00:00", 7, 8, 2)
    assert shown(get(client, interval="1w")) == [("03-03T00:00", 2, 5, 4), ("03-10T00:00", 10, 11, 2)]
    assert shown(get(client, interval="1M", start="2025-03-01")) == [("03-01T00:00", 2, 11, 6)]


@pytest.mark.usefixtures("market")
def test_hours_start_at_the_open_and_the_closing_auction_belongs_to_the_last_one(client: TestClient):
    assert shown(get(client, interval="1h")) == [
        ("03-07T14:30", 2, 3, 2),
        ("03-07T15:30", 4, 4, 1),
        ("03-07T20:30", 5, 5, 1),
        ("03-10T13:30", 10, 10, 1),
        ("03-10T19:30", 11, 11, 1),
    ]
    extended = [each[0] for each in shown(get(client, interval="1h", session="extended"))]
    assert extended == [
        *("03-07T14:00", "03-07T14:30", "03-07T15:30", "03-07T20:30", "03-07T21:01", "03-08T00:00"),
        *("03-10T08:00", "03-10T13:30", "03-10T19:30", "03-10T23:00"),
    ]


@pytest.mark.usefixtures("market")
def test_filling_leaves_out_nights_weekends_and_holidays(client: TestClient):
    filled = get(client, interval="1h", fill="previous")["candles"]
    assert len(filled) == 10 * 7
    assert {each["timestamp"][8:10] for each in filled} == {*("03", "04", "05", "06", "07", "10", "11", "12", "13", "14")}
    monday = [each for each in filled if each["timestamp"].startswith("2025-03-10")]
    assert [each["close"] for each in monday] == [10, 10, 10, 10, 10, 10, 11]
    later = get(client, interval="1h", fill="previous", start="2025-03-10T00:00:00Z", limit=2)["candles"]
    assert [each["close"] for each in later] == [10, 10]
    before = get(client, interval="1d", fill="previous", start="2025-03-11")["candles"]
    assert [each["close"] for each in before] == [11] * 4, "the close of the regular session, not of the post-market"
    new_year = get(client, interval="1d", fill="null", start="2025-01-06", end="2025-01-11")["candles"]
    assert [each["timestamp"][8:10] for each in new_year] == ["06", "07", "08", "10"], "closed on 9 January"


@pytest.mark.usefixtures("market")
@pytest.mark.parametrize("fill", [{}, {"fill": "previous"}])
@pytest.mark.parametrize("interval", ["1h", "1d"])
@pytest.mark.parametrize("start", [{}, {"start": None}])
def test_pages_make_up_the_whole_range(client: TestClient, interval: str, fill: dict[str, str], start: dict[str, Any]):
    whole = get(client, interval=interval, **fill, **start)["candles"]
    pages: list[list[Any]] = []
    token: dict[str, str] = {}
    while True:
        page = get(client, interval=interval, limit=2, **fill, **start, **token)
        pages.append(page["candles"])
        if not page["next_page_token"]:
            break
        token = {"page_token": page["next_page_token"]}
    newest_first = "start" in start
    assert [each for page in (reversed(pages) if newest_first else pages) for each in page] == whole
    assert all(len(page) == 2 for page in pages[:-1])


@pytest.mark.usefixtures("market")
def test_several_symbols_have_the_sessions_of_their_own_calendars(client: TestClient, connection: Connection):
    store(connection, at("2025-03-08 01:00", "50", symbol="BTC"), at("2025-03-09 01:00", "51", symbol="BTC"))
    found = get(client, symbol=None, symbols="AAPL,BTC", interval="1d")["candles"]
    assert [(each["symbol"], each["timestamp"][8:10]) for each in found] == [
        *(("AAPL", "07"), ("AAPL", "10"), ("BTC", "08"), ("BTC", "09"))
    ]


@pytest.mark.usefixtures("market")
def test_all_formats_have_the_same_candles(client: TestClient):
    expected = [(each["timestamp"], each["close"]) for each in get(client, interval="1d")["candles"]]
    csv = client.get("/candles", params=WEEK | {"interval": "1d", "format": "csv"}).text.splitlines()
    header, *lines = [line.split(",") for line in csv]
    rows = [dict(zip(header, line, strict=True)) for line in lines]
    assert [(row["timestamp"], float(row["close"])) for row in rows] == expected
    for name in ("arrow", "parquet", "ndjson"):
        assert client.get("/candles", params=WEEK | {"interval": "1d", "format": name}).status_code == 200


def test_an_answer_has_the_version_of_its_calendar(client: TestClient, market: Connection):
    parameters = WEEK | {"interval": "1d"}
    before = client.get("/candles", params=parameters)
    again = {"If-None-Match": before.headers["etag"]}
    assert client.get("/candles", params=parameters, headers=again).status_code == 304
    # Monday becomes a half day.
    market.execute("UPDATE calendars SET source = 'own' WHERE code = 'XNYS'")
    market.execute("""
        UPDATE sessions
        SET closes_at = '2025-03-10 17:00Z', auction_ends_at = '2025-03-10 17:01Z', post_closes_at = '2025-03-10 21:00Z'
        WHERE calendar = 'XNYS' AND day = '2025-03-10'
    """)
    after = client.get("/candles", params=parameters, headers=again)
    assert after.status_code == 200
    assert shown(after.json())[1] == ("03-10T00:00", 10, 10, 1)
    assert int(after.headers["data-version"]) > int(before.headers["data-version"])
    past = client.get("/candles", params=parameters | {"as_of": before.headers["data-version"]})
    assert past.json()["candles"] == before.json()["candles"]
    # The symbol had no calendar at first.
    first = client.get("/candles", params=parameters | {"as_of": "1"})
    assert first.json()["candles"] == []
    market.execute("UPDATE symbols SET calendar = '24/7'")
    assert len(get(client, interval="1d")["candles"]) == 3
    past = client.get("/candles", params=parameters | {"as_of": after.headers["data-version"]})
    assert past.json()["candles"] == after.json()["candles"]


def test_as_of_has_the_trades_of_a_version(client: TestClient, market: Connection):
    for interval in ("1m", "1h", "1d", "1w"):
        before = client.get("/candles", params=WEEK | {"interval": interval, "session": "extended", "fill": "previous"})
        store(market, at(f"2025-03-10 20:00:0{len(interval)}", "99"), at("2025-03-10 15:00", interval[0] + "7", "5"))
        market.execute("UPDATE trades SET price = price + 1 WHERE time = '2025-03-07 15:29Z'")
        market.execute("DELETE FROM trades WHERE price = 99")
        parameters = WEEK | {"interval": interval, "session": "extended", "fill": "previous"}
        now = client.get("/candles", params=parameters)
        assert now.json()["candles"] != before.json()["candles"]
        past = client.get("/candles", params=parameters | {"as_of": before.headers["data-version"]})
        assert past.json()["candles"] == before.json()["candles"], interval
        market.execute("DELETE FROM trades WHERE time = '2025-03-10 15:00Z'")


def test_sessions_are_adjusted_to_splits(client: TestClient, market: Connection):
    market.execute("""
        INSERT INTO corporate_actions (symbol, id, type, ex_date, numerator, denominator)
        VALUES ('AAPL', 's', 'split', '2025-03-10', 2, 1)
    """)
    assert shown(get(client, interval="1d", adjustment="split")) == [("03-07T00:00", 1, 2.5, 8), ("03-10T00:00", 10, 11, 2)]
    hours = get(client, interval="1h", session="extended", adjustment="split")
    assert [each[1:] for each in shown(hours)][5:7] == [(3.5, 3.5, 2), (9, 9, 1)]
    filled = get(client, interval="1d", start="2025-03-11", adjustment="split", fill="previous")["candles"]
    assert filled[0]["close"] == 11


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({"session": "night"}, "session"),
        ({"tz": "America/New_York", "interval": "1d"}, "tz"),
        ({"as_of": "close"}, "as_of"),
    ],
)
def test_wrong_combinations_are_named(client: TestClient, parameters: dict[str, str], name: str):
    response = client.get("/candles", params=WEEK | {"interval": "1h"} | parameters)
    assert response.status_code == 400
    assert [each["name"] for each in response.json()["errors"]] == [name]


@pytest.mark.usefixtures("market")
def test_open_sessions_are_not_closed(client: TestClient, connection: Connection):
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    connection.execute("INSERT INTO calendars (code, name, time_zone, source) VALUES ('OWN', 'Own', 'UTC', 'own')")
    connection.execute(
        """
        INSERT INTO sessions (calendar, day, opens_at, closes_at, pre_opens_at, post_closes_at, auction_ends_at)
        VALUES ('OWN', %s, %s, %s, %s, %s, %s)
        """,
        (now.date(), *(now + timedelta(hours=hours) for hours in (-1, 1, -1, 1, 1))),
    )
    connection.execute("INSERT INTO symbols (symbol, name, calendar) VALUES ('X', 'X', 'OWN')")
    store(connection, (now - timedelta(minutes=30), "X", 0, Decimal(5), Decimal(1)))
    for interval, closed in (("1d", False), ("1w", False), ("1m", True)):
        answer = client.get("/candles", params={"symbol": "X", "interval": interval, "session": "regular"}).json()
        assert [each["closed"] for each in answer["candles"]] == [closed], interval
