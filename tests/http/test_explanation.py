"""`GET /candles/explain`: the trades, late trades and changes behind the figures of a candle."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from helpers.support import Connection, Databases, one, store, trade
from litestar.testing import TestClient
from psycopg.sql import SQL, Identifier

from market_data.models_explanation import MAX_LISTED
from market_data.queries.intervals import ALL_INTERVALS, INTERVALS
from market_data.settings import Settings

MINUTE = {"symbol": "AAPL", "interval": "1m", "timestamp": "2026-02-08T10:30:00Z"}
FIGURES = ("open", "high", "low", "close", "volume", "vwap", "trade_count")


@pytest.fixture
def url(new_migrated_database: Databases) -> Iterator[str]:
    """URL of a database of its own: candles that are refreshed would hide older trades of other tests."""
    with new_migrated_database() as url:
        yield url


@pytest.fixture
def connection(url: str) -> Iterator[Connection]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def client(url: str, make_client: Callable[[Settings], TestClient]) -> Iterator[TestClient]:
    with make_client(Settings(database_url=url, feed_enabled=False, audit_share=0)) as client:
        yield client


def explain(client: TestClient, connection: Connection, **parameters: Any) -> dict[str, Any]:
    """Return the explanation of a candle once it is settled."""
    connection.execute("CALL refresh_candles()")
    response = client.get("/candles/explain", params=MINUTE | parameters)
    assert response.status_code == 200, response.text
    return response.json()


def version_of(client: TestClient) -> str:
    return client.get("/candles/explain", params=MINUTE).headers["data-version"]


def test_prices_are_those_of_trades(client: TestClient, connection: Connection):
    store(
        connection,
        trade(0, "10.50"),
        trade(10, "12"),
        trade(20, "12"),
        trade(30, "9.000001"),
        trade(40, "9.5"),
        trade(60, "99"),
    )
    explained = explain(client, connection)
    assert explained["end"] == "2026-02-08T10:31:00Z"
    times = {name: (each["price"], each["timestamp"]) for name, each in explained["trades"].items()}
    assert times == {
        "open": (10.5, "2026-02-08T10:30:00Z"),
        "high": (12, "2026-02-08T10:30:10Z"),
        "low": (9.000001, "2026-02-08T10:30:30Z"),
        "close": (9.5, "2026-02-08T10:30:40Z"),
    }
    assert explained["recomputed"] == {name: explained["candle"][name] for name in FIGURES}
    assert explained["agrees"] is True
    assert (explained["change_count"], explained["changes"]) == (0, [])
    assert [(each["cause"], each["before"]) for each in explained["revisions"]][:1] == [("late", None)]


def test_trades_of_one_instant_are_ordered_by_their_id(client: TestClient, connection: Connection):
    store(connection, trade(0, "10", trade_id=2), trade(0, "11", trade_id=1), trade(0, "12", trade_id=3))
    trades = explain(client, connection)["trades"]
    assert [trades[name]["trade_id"] for name in ("open", "close")] == [1, 3]


@pytest.mark.parametrize("interval", ALL_INTERVALS)
def test_every_interval_is_explained(client: TestClient, connection: Connection, interval: str):
    store(connection, trade(0, "10"), trade(0.5, "12"))
    connection.execute("CALL refresh_candles()")
    parameters = {"symbol": "AAPL", "interval": interval, "start": "2026-01-01", "end": "2026-02-09"}
    if ALL_INTERVALS[interval] < timedelta(minutes=1):
        parameters["start"] = "2026-02-08"
    (candle,) = client.get("/candles", params=parameters).json()["candles"]
    explained = explain(client, connection, interval=interval, timestamp=candle["timestamp"])
    assert explained["candle"] == candle
    assert explained["agrees"] is True
    assert explained["late_trade_count"] == 2
    assert (explained["revisions"] is None) == (interval not in INTERVALS)


def test_days_of_a_time_zone_are_explained(client: TestClient, connection: Connection):
    store(connection, trade(0, "10"))
    explained = explain(client, connection, interval="1d", tz="Asia/Kolkata", timestamp="2026-02-07T18:30:00Z")
    assert (explained["end"], explained["agrees"], explained["candle"]["open"]) == ("2026-02-08T18:30:00Z", True, 10)


def test_relative_time_chooses_the_bucket_that_contains_it(client: TestClient, connection: Connection):
    store(connection, trade(0, "10"))
    explained = explain(client, connection, interval="1w", timestamp="now-1s")
    start, end = (datetime.fromisoformat(explained[name]) for name in ("timestamp", "end"))
    assert start < datetime.now(UTC) < end
    response = client.get("/candles/explain", params=MINUTE | {"timestamp": "now-1d", "as_of": version_of(client)})
    assert response.headers["cache-control"] == "no-store"


def test_bucket_without_trades_has_no_candle(client: TestClient, connection: Connection):
    store(connection, trade(0, "10"))
    explained = explain(client, connection, timestamp="2026-02-08T10:29:00Z")
    assert [explained[name] for name in ("candle", "trades", "recomputed", "agrees")] == [None, None, None, True]


def test_late_trades_have_their_delay_also_after_a_correction(client: TestClient, connection: Connection):
    now = one(connection, "SELECT clock_timestamp()")
    connection.execute("INSERT INTO symbols (symbol, name) VALUES ('LATE', 'a name')")
    statement = "INSERT INTO trades (symbol, time, trade_id, price, volume) VALUES ('LATE', %s, %s, 5, 1)"
    start = (now + timedelta(seconds=2)).replace(microsecond=0)
    bucket = {"symbol": "LATE", "interval": "1s", "timestamp": start.isoformat()}
    connection.execute(statement, (start, 1))  # stored before its second has begun
    connection.execute("SELECT pg_sleep(extract(epoch FROM %s - clock_timestamp()))", (start + timedelta(seconds=1.01),))
    connection.execute(statement, (start, 2))
    connection.execute(statement, (start, 3))
    connection.execute("UPDATE trades SET price = 6 WHERE symbol = 'LATE' AND trade_id < 3")
    explained = explain(client, connection, **bucket)
    assert explained["late_trade_count"] == 2
    assert [(each["trade_id"], each["price"]) for each in explained["late_trades"]] == [(2, 6), (3, 5)]
    second, third = explained["late_trades"]
    assert second["version"] < third["version"]
    stored_at = datetime.fromisoformat(second["stored_at"])
    assert stored_at == one(connection, "SELECT committed_at FROM commits WHERE version = %s", second["version"])
    assert second["delay_seconds"] == pytest.approx((stored_at - start).total_seconds())
    connection.execute("DELETE FROM trades WHERE symbol = 'LATE' AND trade_id = 1")
    connection.execute(statement, (start, 1))
    assert [each["trade_id"] for each in explain(client, connection, **bucket)["late_trades"]] == [2, 3, 1]


def test_corrections_and_cancellations_are_listed(client: TestClient, connection: Connection):
    store(connection, trade(0, "10"), trade(10, "12"), trade(20, "11"), trade(70, "11"))
    with connection.transaction():
        connection.execute(
            "SELECT set_config('market_data.actor', 'desk', true), set_config('market_data.reason', 'typo', true)"
        )
        connection.execute("UPDATE trades SET price = 1 WHERE price = 12")
    connection.execute("DELETE FROM trades WHERE price = 11")
    explained = explain(client, connection)
    assert explained["change_count"] == 2
    correction, cancellation = explained["changes"]
    assert (correction["action"], correction["actor"], correction["reason"]) == ("correct", "desk", "typo")
    assert (correction["before"]["price"], correction["after"]["price"]) == (12, 1)
    assert (cancellation["action"], cancellation["timestamp"]) == ("cancel", "2026-02-08T10:30:20Z")
    assert explained["trades"]["low"]["price"] == 1
    causes = [
        (each["cause"], each["actor"], each["before"]["low"], each["after"]["low"]) for each in explained["revisions"][-2:]
    ]
    assert causes == [("correct", "desk", 10, 1), ("cancel", cancellation["actor"], 1, 1)]


def test_long_lists_are_cut_and_counted(client: TestClient, connection: Connection):
    number = MAX_LISTED + 20
    store(connection, *(trade(second / 10, "10") for second in range(number)))
    connection.execute("UPDATE trades SET price = 11")
    explained = explain(client, connection)
    for count, rows in (("late_trade_count", "late_trades"), ("change_count", "changes")):
        assert (explained[count], len(explained[rows])) == (number, MAX_LISTED)
    assert explained["changes"][0]["timestamp"] == "2026-02-08T10:30:00Z"


def test_explanation_as_of_a_version_does_not_know_later_writes(client: TestClient, connection: Connection):
    store(connection, trade(0, "10"), trade(10, "12"))
    before = explain(client, connection)
    version = version_of(client)
    store(connection, trade(5, "99"))
    connection.execute("UPDATE trades SET price = 1 WHERE price = 12")
    connection.execute("DELETE FROM trades WHERE price = 10")
    response = client.get("/candles/explain", params=MINUTE | {"as_of": version})
    assert response.json() == before
    assert response.headers["data-version"] == version
    assert "immutable" in response.headers["cache-control"]
    assert explain(client, connection)["trades"]["close"]["price"] == 1


def test_damaged_candle_does_not_agree(client: TestClient, connection: Connection):
    store(connection, trade(0, "10"), trade(10, "12"))
    connection.execute("CALL refresh_candles()")
    names: Any = (
        "SELECT materialization_hypertable_schema, materialization_hypertable_name "
        "FROM timescaledb_information.continuous_aggregates WHERE view_name = 'candles_1m'"
    )
    (table,) = connection.execute(names).fetchall()
    connection.execute(SQL("UPDATE {} SET high = 13 WHERE symbol = 'AAPL'").format(Identifier(*table)))
    explained = explain(client, connection)
    assert (explained["candle"]["high"], explained["recomputed"]["high"], explained["agrees"]) == (13, 12, False)


def test_dropped_trades_are_gone(new_migrated_database: Databases, make_client: Callable[[Settings], TestClient]):
    with new_migrated_database() as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE retention SET dropped_before = '2026-02-09'")
        with make_client(Settings(database_url=url, feed_enabled=False)) as client:
            response = client.get("/candles/explain", params=MINUTE)
    assert response.status_code == 410
    assert "before 2026-02-09T00:00:00Z were dropped" in response.json()["detail"]


@pytest.mark.parametrize(
    ("parameters", "name", "detail"),
    [
        ({"timestamp": "2026-02-08T10:30:01Z"}, "timestamp", "the one of that time starts at 2026-02-08T10:30:00Z"),
        ({"timestamp": "2026-02-08", "interval": "1w"}, "timestamp", "starts at 2026-02-02T00:00:00Z"),
        ({"timestamp": "2999-01-01"}, "timestamp", "is in the future"),
        ({"timestamp": "x"}, "timestamp", "must be a time such as"),
        ({"timestamp": None}, "timestamp", "is required"),
        ({"tz": "Europe/Berlin"}, "tz", "leave it out for 1m"),
        ({"interval": "7m"}, "interval", "must be one of"),
        ({"limit": "5"}, "limit", "is not a parameter of this path"),
    ],
)
@pytest.mark.usefixtures("connection")
def test_bad_parameter_is_explained(client: TestClient, parameters: dict[str, Any], name: str, detail: str):
    given = {key: value for key, value in (MINUTE | parameters).items() if value is not None}
    response = client.get("/candles/explain", params=given)
    assert response.status_code == 400
    (problem,) = response.json()["errors"]
    assert problem["name"] == name
    assert detail in problem["detail"]


def test_unknown_symbol_is_not_found(client: TestClient):
    assert client.get("/candles/explain", params=MINUTE | {"symbol": "NONE"}).status_code == 404
