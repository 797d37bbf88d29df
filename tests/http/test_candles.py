"""`GET /candles`."""

from datetime import UTC, datetime
from typing import Any

import pytest
from helpers.support import T0, Connection, Trade, now_within_minute, store, trade
from litestar.testing import TestClient

HOUR = {"symbol": "AAPL", "interval": "1m", "start": "2026-02-08T10:00:00Z", "end": "2026-02-08T11:00:00Z"}


def candles(client: TestClient, **parameters: Any) -> list[dict[str, Any]]:
    return client.get("/candles", params=HOUR | parameters).json()["candles"]


def test_candles_are_oldest_first(client: TestClient, connection: Connection):
    store(connection, trade(60, "9"), trade(0, "10"), trade(20, "20", "3"), trade(40, "8.50", "0.50"), trade(59, "11", "0"))
    response = client.get("/candles", params=HOUR | {"symbol": "aapl"})
    assert response.headers["content-type"] == "application/json"
    assert "link" not in response.headers
    assert response.text == (
        '{"symbol":"AAPL","interval":"1m","start":"2026-02-08T10:00:00Z","end":"2026-02-08T11:00:00Z","count":2,"candles":['
        '{"timestamp":"2026-02-08T10:30:00Z","open":10,"high":20,"low":8.5,"close":11,"volume":4.5,'
        '"vwap":16.5,"trade_count":4,"closed":true},'
        '{"timestamp":"2026-02-08T10:31:00Z","open":9,"high":9,"low":9,"close":9,"volume":1,'
        '"vwap":9,"trade_count":1,"closed":true}],"next_page_token":null}'
    )


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("10:30:00", "10:32:00", ["10:30", "10:31"]),
        ("10:30:00.000001", "10:32:00.000001", ["10:31", "10:32"]),
        ("10:30:30", "10:31:30", ["10:31"]),
        ("10:30:10", "10:30:50", []),
    ],
)
def test_bucket_start_decides_if_a_whole_candle_is_in_the_range(
    client: TestClient, connection: Connection, start: str, end: str, expected: list[str]
):
    store(connection, *(trade(10 * number, "1") for number in range(18)))
    found = candles(client, start=f"2026-02-08T{start}Z", end=f"2026-02-08T{end}Z")
    assert [each["timestamp"] for each in found] == [f"2026-02-08T{minute}:00Z" for minute in expected]
    assert {each["trade_count"] for each in found} <= {6}


@pytest.mark.parametrize(
    ("trades", "vwap"),
    [
        ([trade(0, "7", "0"), trade(1, "8", "0")], None),
        ([trade(0, "10", "1"), trade(1, "20", "3"), trade(2, "99", "0")], 17.5),
        ([trade(0, "0.1", "0.1"), trade(1, "0.3", "0.2")], 0.233333333333333),
    ],
)
def test_vwap_is_weighted_by_volume_and_null_without_volume(
    client: TestClient, connection: Connection, trades: list[Trade], vwap: float | None
):
    store(connection, *trades)
    assert candles(client)[0]["vwap"] == (vwap if vwap is None else pytest.approx(vwap, rel=1e-14))


def test_sums_carry_no_rounding_error(client: TestClient, connection: Connection):
    store(connection, *(trade(number, "0.1", "0.1") for number in range(30)))
    assert candles(client)[0]["volume"] == 3.0
    assert candles(client)[0]["vwap"] == 0.1


def test_open_bucket_is_included_and_updated_by_each_trade(client: TestClient, connection: Connection):
    now = datetime.now(UTC)
    minute = now.replace(second=0, microsecond=0)
    (_, symbol, _, price, volume) = trade(0, "5")
    for number in range(1, 3):
        store(connection, (now, symbol, number, price * number, volume))
        (candle,) = candles(client, start="2026-01-01T00:00:00Z", end="9999-12-31T23:59:59Z")
        assert datetime.fromisoformat(candle["timestamp"]) == minute
        assert (candle["close"], candle["trade_count"]) == (5 * number, number)


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        ("1m", ["02-08T10:30", "02-08T10:31", "02-08T12:01", "02-09T10:30"]),
        ("5m", ["02-08T10:30", "02-08T12:00", "02-09T10:30"]),
        ("15m", ["02-08T10:30", "02-08T12:00", "02-09T10:30"]),
        ("30m", ["02-08T10:30", "02-08T12:00", "02-09T10:30"]),
        ("1h", ["02-08T10:00", "02-08T12:00", "02-09T10:00"]),
        ("4h", ["02-08T08:00", "02-08T12:00", "02-09T08:00"]),
        ("1d", ["02-08T00:00", "02-09T00:00"]),
        ("1w", ["02-02T00:00", "02-09T00:00"]),
    ],
)
def test_buckets_of_every_interval_are_utc_and_weeks_start_on_monday(
    client: TestClient, connection: Connection, interval: str, expected: list[str]
):
    store(connection, trade(0, "1"), trade(60, "2"), trade(5460, "3"), trade(86_400, "4"))
    found = candles(client, interval=interval, start="2026-02-01T00:00:00Z", end="2026-03-01T00:00:00Z")
    assert [each["timestamp"][5:16] for each in found] == expected
    assert sum(each["trade_count"] for each in found) == 4
    assert (found[0]["open"], found[-1]["close"]) == (1, 4)


def test_candle_is_closed_once_its_bucket_has_ended(client: TestClient, connection: Connection):
    seconds = (now_within_minute() - T0).total_seconds()
    store(connection, trade(seconds, "1"), trade(seconds - 7 * 86_400, "1"))
    found = candles(client, interval="1w", start="2000-01-01T00:00:00Z", end="9999-12-31T00:00:00Z")
    assert [each["closed"] for each in found] == [True, False]


def test_bucket_without_a_trade_has_no_candle(client: TestClient, connection: Connection):
    store(connection, trade(0, "1"), trade(180, "2"))
    assert len(candles(client)) == 2


def test_empty_range_of_a_known_symbol_is_an_empty_list(client: TestClient, connection: Connection):
    store(connection, trade(0, "1"))
    response = client.get("/candles", params=HOUR | {"start": "0001-01-01T00:00:00Z", "end": "0001-01-01T00:01:00Z"})
    assert (response.status_code, response.json()["candles"], response.json()["next_page_token"]) == (200, [], None)


def test_limit_is_ten_thousand_by_default(client: TestClient, connection: Connection):
    store(connection, trade(0, "1"))
    connection.execute("""
        INSERT INTO trades (time, symbol, price, volume)
        SELECT minute, 'AAPL', 1, 1
        FROM generate_series('2026-01-01T00:00:00Z'::timestamptz, '2026-01-07T22:40:00Z', '1 minute') AS minute
    """)
    whole = HOUR | {"start": "2026-01-01T00:00:00Z"}
    body = client.get("/candles", params=whole).json()
    assert (body["count"], len(body["candles"])) == (10_000, 10_000)
    rest = client.get("/candles", params=whole | {"page_token": body["next_page_token"]}).json()
    assert [each["timestamp"] for each in rest["candles"]] == ["2026-01-07T22:40:00Z", "2026-02-08T10:30:00Z"]
    assert client.get("/candles", params=whole | {"limit": "3"}).json()["count"] == 3


REFRESH_STARTED = "SELECT setval('refreshed_until', (extract(epoch FROM now()) * 1000000)::bigint)"


@pytest.mark.parametrize("fill", [None, "previous"])
def test_candle_that_does_not_contain_all_trades_yet_is_not_settled_and_has_no_etag(
    client: TestClient, connection: Connection, fill: str | None
):
    store(connection, trade(0, "10"), trade(60, "9"))
    connection.execute("DELETE FROM stale_ranges")
    connection.execute(REFRESH_STARTED)
    parameters = HOUR | {"start": "2026-02-08T10:30:00Z", "end": "2026-02-08T10:32:00Z"} | ({"fill": fill} if fill else {})
    settled = client.get("/candles", params=parameters)
    assert "etag" in settled.headers
    assert all("settled" not in candle for candle in settled.json()["candles"])
    store(connection, trade(70, "8"))
    unsettled = client.get("/candles", params=parameters)
    assert "etag" not in unsettled.headers
    assert unsettled.headers["cache-control"] == "no-store"
    first, second = unsettled.json()["candles"]
    assert "settled" not in first
    assert second["settled"] is False
    rows = client.get("/candles", params=parameters | {"format": "csv"}).text.splitlines()
    assert [row.rpartition(",")[2] for row in rows] == ["settled", "true", "false"]
    assert "etag" not in client.get("/candles", params=parameters | {"format": "arrow"}).headers
    coarse = candles(client, interval="1h", start="2026-02-08T10:00:00Z", end="2026-02-08T11:00:00Z")
    assert [candle.get("settled") for candle in coarse] == [False]


@pytest.mark.parametrize("fill", [None, "previous"])
def test_page_without_candles_whose_trades_are_not_refreshed_yet_has_no_etag(
    client: TestClient, connection: Connection, fill: str | None
):
    store(connection, trade(0, "10"))
    connection.execute("DELETE FROM stale_ranges")
    connection.execute(REFRESH_STARTED)
    parameters = HOUR | {"start": "2026-02-08T10:32:00Z", "end": "2026-02-08T10:34:00Z"} | ({"fill": fill} if fill else {})
    assert "etag" in client.get("/candles", params=parameters).headers
    connection.execute("INSERT INTO stale_ranges (write_id, since, until) VALUES (0, %s, %s)", [trade(200, "1")[0]] * 2)
    assert "etag" not in client.get("/candles", params=parameters).headers


def test_last_candle_of_a_page_may_be_the_one_that_is_not_settled(client: TestClient, connection: Connection):
    connection.execute(REFRESH_STARTED)
    store(connection, trade(0, "10"), trade(60, "9"), trade(120, "8"))
    page = client.get("/candles", params=HOUR | {"limit": 2}).json()
    assert [candle["settled"] for candle in page["candles"]] == [False, False]
    (rest,) = candles(client, limit=2, page_token=page["next_page_token"])
    assert rest["timestamp"] == "2026-02-08T10:32:00Z"
