"""`GET /trades`."""

import json
from typing import Any

import pytest
from helpers.support import Connection, store, trade
from litestar.testing import TestClient

HOUR = {"symbol": "AAPL", "start": "2026-02-08T10:00:00Z", "end": "2026-02-08T11:00:00Z"}


def prices(client: TestClient, **parameters: Any) -> list[float]:
    return [each["price"] for each in client.get("/trades", params=HOUR | parameters).json()["trades"]]


def test_trades_are_newest_first_by_time_then_trade_id(client: TestClient, connection: Connection):
    store(connection, trade(1, "2", trade_id=-1), trade(1, "3", trade_id=5), trade(0.5, "104.90", "12.5"))
    response = client.get("/trades", params=HOUR | {"symbol": "aapl"})
    assert response.headers["content-type"] == "application/json"
    assert "link" not in response.headers
    assert response.text == (
        '{"symbol":"AAPL","start":"2026-02-08T10:00:00Z","end":"2026-02-08T11:00:00Z","limit":100,"count":3,"trades":['
        '{"symbol":"AAPL","price":3,"volume":1,"timestamp":"2026-02-08T10:30:01Z","trade_id":5},'
        '{"symbol":"AAPL","price":2,"volume":1,"timestamp":"2026-02-08T10:30:01Z","trade_id":-1},'
        '{"symbol":"AAPL","price":104.9,"volume":12.5,"timestamp":"2026-02-08T10:30:00.500000Z","trade_id":0}'
        '],"next_page_token":null}'
    )


def test_start_is_inclusive_and_end_is_exclusive(client: TestClient, connection: Connection):
    store(connection, trade(-0.000001, "1"), trade(0, "2"), trade(9.999999, "3"), trade(10, "4"))
    assert prices(client, start="2026-02-08T10:30:00Z", end="2026-02-08T10:30:10Z") == [3, 2]
    # Digits beyond the microsecond are cut off.
    assert prices(client, start="2026-02-08T10:30:00.0000009Z", end="2026-02-08T10:30:10.0000009Z") == [3, 2]


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("body", ["{}", "[{}]", '[{}, {{"symbol": "AAPL"}}]'])
def test_trade_written_with_nanoseconds_is_found_by_its_own_time(writer: TestClient, body: str):
    time = "2026-02-08T10:30:00.123456789Z"
    written = {"symbol": "AAPL", "price": 1.5, "volume": 2, "timestamp": time, "trade_id": 7}
    for stored in (1, 0):
        answer = writer.post(
            "/trades?partial=true",
            content=body.format(json.dumps(written)),
            headers={"Content-Type": "application/json"},
        )
        assert (answer.json()["stored"], answer.json()["existing"]) == (stored, 1 - stored)
    (found,) = writer.get("/trades", params=HOUR | {"start": time}).json()["trades"]
    assert (found["trade_id"], found["timestamp"]) == (7, "2026-02-08T10:30:00.123456Z")
    assert prices(writer, end=time) == []
    cancel = {"symbol": "AAPL", "timestamp": time, "trade_id": 7, "reason": "a test"}
    assert writer.post("/trades/cancel", json=cancel).json()["changed"]


@pytest.mark.parametrize("start", ["2026-02-08T11:30:00+01:00", "2026-02-08T11:30:00 01:00", "2026-02-08T05:00:00-05:30"])
def test_start_in_another_zone_is_the_same_instant(client: TestClient, connection: Connection, start: str):
    store(connection, trade(-1, "1"), trade(0, "2"))
    response = client.get("/trades", params=HOUR | {"start": start})
    assert response.json()["start"] == "2026-02-08T10:30:00Z"
    assert response.json()["count"] == 1


def test_unescaped_plus_is_read_as_a_plus(client: TestClient, connection: Connection):
    store(connection, trade(0, "1"))
    answer = client.get("/trades?symbol=AAPL&start=2026-02-08T10:30:00+00:00&end=2026-02-08T10:31:00+00:00")
    assert (answer.status_code, answer.json()["count"]) == (200, 1)


def test_empty_range_of_a_known_symbol_is_an_empty_list(client: TestClient, connection: Connection):
    store(connection, trade(0, "1"))
    response = client.get("/trades", params=HOUR | {"start": "0001-01-01T00:00:00Z", "end": "0001-01-01T00:00:01Z"})
    assert (response.status_code, response.json()["trades"], response.json()["next_page_token"]) == (200, [], None)


def test_limit_is_100_by_default_and_at_most_1000(client: TestClient, connection: Connection):
    store(connection, *(trade(number / 1000, "1") for number in range(1001)))
    for given, expected in [({}, 100), ({"limit": "1"}, 1), ({"limit": "1000"}, 1000)]:
        body = client.get("/trades", params=HOUR | given).json()
        assert (body["limit"], body["count"], len(body["trades"])) == (expected, expected, expected)
        assert body["next_page_token"]


def test_response_with_exactly_limit_trades_has_no_next_page(client: TestClient, connection: Connection):
    store(connection, *(trade(number, "1") for number in range(3)))
    response = client.get("/trades", params=HOUR | {"limit": 3})
    assert response.json()["next_page_token"] is None
    assert "link" not in response.headers
