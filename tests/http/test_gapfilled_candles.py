"""`GET /candles` with `fill`."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from helpers.support import Connection, store, trade
from litestar.testing import TestClient

from market_data.queries.intervals import INTERVALS, WEEK_START

MINUTES = {"symbol": "AAPL", "interval": "1m", "start": "2026-02-08T10:28:00Z", "end": "2026-02-08T10:35:00Z"}


def candles(client: TestClient, **parameters: Any) -> list[dict[str, Any]]:
    response = client.get("/candles", params=MINUTES | parameters)
    assert response.status_code == 200, response.text
    return response.json()["candles"]


@pytest.fixture
def sparse(connection: Connection) -> Connection:
    """Trades in 10:30 and 10:33."""
    store(connection, trade(0, "10"), trade(30, "12", "3"), trade(200, "7"))
    return connection


@pytest.mark.usefixtures("sparse")
def test_previous_close_fills_buckets_after_a_candle_and_null_those_before_the_first(client: TestClient):
    found = candles(client, fill="previous")
    assert [(each["timestamp"][11:16], each["close"], each["filled"]) for each in found] == [
        ("10:28", None, True),
        ("10:29", None, True),
        ("10:30", 12, False),
        ("10:31", 12, True),
        ("10:32", 12, True),
        ("10:33", 7, False),
        ("10:34", 7, True),
    ]
    assert found[3] == {
        "timestamp": "2026-02-08T10:31:00Z",
        "open": 12,
        "high": 12,
        "low": 12,
        "close": 12,
        "volume": 0,
        "vwap": None,
        "trade_count": 0,
        "closed": True,
        "filled": True,
    }
    assert (found[2]["open"], found[2]["high"], found[2]["vwap"], found[2]["trade_count"]) == (10, 12, 11.5, 2)


@pytest.mark.usefixtures("sparse")
def test_null_fills_without_prices(client: TestClient):
    found = candles(client, fill="null")
    assert [each["close"] for each in found] == [None, None, 12, None, None, 7, None]
    assert {each["volume"] for each in found if each["filled"]} == {0}


@pytest.mark.usefixtures("sparse")
def test_without_fill_there_is_no_filled_candle_and_no_filled_field(client: TestClient):
    assert [each["close"] for each in candles(client)] == [12, 7]
    assert "filled" not in candles(client)[0]


@pytest.mark.parametrize("interval", INTERVALS)
def test_close_long_before_the_range_is_used(client: TestClient, connection: Connection, interval: str):
    store(connection, trade(-40 * 86_400, "3"), trade(-300 * 86_400, "2"))
    (first, *_) = candles(client, fill="previous", interval=interval, end="2026-03-08T00:00:00Z", limit=2)
    assert (first["close"], first["filled"]) == (3, True)


@pytest.mark.parametrize("interval", INTERVALS)
def test_close_of_the_first_bucket_of_the_week_is_used(client: TestClient, connection: Connection, interval: str):
    monday = -6 * 86_400 - 37_800
    store(connection, trade(monday, "3"), trade(monday - 1, "2"))
    time_range = {"start": "2026-02-04T00:00:00Z", "end": "2026-03-08T00:00:00Z"}
    (first, *_) = candles(client, fill="previous", interval=interval, limit=2, **time_range)
    assert (first["close"], first["filled"]) == (3, True)


@pytest.mark.parametrize("interval", INTERVALS)
@pytest.mark.parametrize("start", ["2026-02-01T00:00:00Z", "1969-12-20T00:00:00.000001Z", "0001-01-01T00:00:00Z"])
def test_every_bucket_of_every_interval_appears_once(client: TestClient, connection: Connection, interval: str, start: str):
    store(connection, trade(0, "1"))
    found = candles(client, fill="null", interval=interval, start=start, limit=100)
    starts = [datetime.fromisoformat(each["timestamp"]) for each in found]
    assert starts
    assert {later - former for former, later in pairwise(starts)} <= {INTERVALS[interval]}
    assert not (starts[0] - WEEK_START) % INTERVALS[interval]
    assert timedelta() <= starts[0] - datetime.fromisoformat(start) < INTERVALS[interval]


@pytest.mark.usefixtures("sparse")
def test_future_buckets_are_not_filled(client: TestClient):
    now = datetime.now(UTC)
    found = candles(client, fill="previous", interval="1d", order="desc", end="9999-12-31T00:00:00Z", limit=2)
    newest = datetime.fromisoformat(found[0]["timestamp"])
    assert now - timedelta(days=1) <= newest <= datetime.now(UTC)
    assert [each["closed"] for each in found] == [False, True]
    assert candles(client, fill="previous", start="9990-01-01T00:00:00Z", end="9999-12-31T23:59:59Z") == []


@pytest.mark.parametrize("fill", ["previous", "null"])
@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7])
@pytest.mark.usefixtures("sparse")
def test_pages_together_are_the_whole_response(client: TestClient, fill: str, order: str, limit: int):
    whole = candles(client, fill=fill, order=order)
    assert len(whole) == 7
    found, response = [], client.get("/candles", params=MINUTES | {"fill": fill, "order": order, "limit": limit})
    found += response.json()["candles"]
    while "next" in response.links:
        response = client.get(response.links["next"]["url"])
        found += response.json()["candles"]
    assert found == whole
    assert whole == sorted(whole, key=lambda each: each["timestamp"], reverse=order == "desc")


def test_symbol_without_trades_has_buckets_with_nulls(client: TestClient, connection: Connection):
    connection.execute("INSERT INTO symbols (symbol, name) VALUES ('IDLE', 'Never traded')")
    found = candles(client, symbol="IDLE", fill="previous")
    assert (len(found), {each["close"] for each in found}) == (7, {None})


@pytest.mark.usefixtures("sparse")
def test_token_of_another_fill_is_refused(client: TestClient):
    token = client.get("/candles", params=MINUTES | {"fill": "null", "limit": 1}).json()["next_page_token"]
    assert client.get("/candles", params=MINUTES | {"fill": "previous", "page_token": token}).status_code == 400


@pytest.mark.usefixtures("sparse")
@pytest.mark.parametrize("form", ["csv", "arrow"])
def test_response_without_pages_has_a_maximum_number_of_buckets(client: TestClient, form: str):
    ever = MINUTES | {"start": "0001-01-01T00:00:00Z", "end": "9999-12-31T00:00:00Z", "fill": "null", "format": form}
    response = client.get("/candles", params=ever)
    assert response.status_code == 400
    (problem,) = response.json()["errors"]
    assert problem["name"] == "start"
    assert "more than the maximum of 10,000,000; ask for a shorter range" in problem["detail"]
    assert client.get("/candles", params=ever | {"limit": "5"}).status_code == 200
    assert client.get("/candles", params=ever | {"interval": "1w"}).status_code == 200
    assert client.get("/candles", params={**ever, "format": "json"}).status_code == 200
