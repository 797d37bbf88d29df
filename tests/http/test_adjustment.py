"""Prices adjusted to corporate actions: known splits and dividends, all intervals, versions and caching."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from helpers.adjustments import (
    ACTIONS,
    FIRST,
    NEW_YORK,
    UNTIL,
    Action,
    add_sessions,
    adjusted,
    at,
    candles,
    dividend,
    random_trades,
    rounded,
    session_close,
    split,
)
from helpers.support import Connection, Trade, one, store
from litestar.testing import TestClient

from market_data.queries.intervals import ALL_INTERVALS, bucket_start

ADJUSTMENTS = ("split", "dividend", "all")
Body = dict[str, Any]


def days(client: httpx.Client, adjustment: str, symbol: str = "AAPL", **more: Any) -> list[Body]:
    parameters = {"symbol": symbol, "interval": "1d", "start": "2000-01-01", "end": "2025-01-01", "adjustment": adjustment}
    return client.get("/candles", params={**parameters, **more}).json()["candles"]


SPLITS: Sequence[tuple[str, list[Trade], list[Action], list[str], list[str]]] = [
    (
        "AAPL",
        [
            at("2014-06-06", "645.57", "100"),
            at("2014-06-09", "93.70"),
            at("2020-08-28", "499.23"),
            at("2020-08-31", "129.04"),
        ],
        [split("2014-06-09", "7"), split("2020-08-31", "4")],
        ["23.056071428571", "23.425", "124.8075", "129.04"],
        ["2800", "4", "4", "1"],
    ),
    (
        "TSLA",
        [
            at("2020-08-28", "2213.40", symbol="TSLA"),
            at("2022-08-24", "891.29", symbol="TSLA"),
            at("2022-08-25", "296.07", symbol="TSLA"),
        ],
        [split("2020-08-31", "5", symbol="TSLA"), split("2022-08-25", "3", symbol="TSLA")],
        ["147.56", "297.096666666667", "296.07"],
        ["15", "3", "1"],
    ),
    (
        "GE",
        [at("2021-07-30", "12.95", "80", symbol="GE"), at("2021-08-02", "104.32", symbol="GE")],
        [split("2021-08-02", "1", "8", symbol="GE")],
        ["103.6", "104.32"],
        ["10", "1"],
    ),
]


@pytest.mark.parametrize(("symbol", "trades", "actions", "closes", "volumes"), SPLITS, ids=[each[0] for each in SPLITS])
def test_known_splits_divide_earlier_prices_and_multiply_earlier_volumes(
    client: TestClient,
    connection: Connection,
    symbol: str,
    trades: list[Trade],
    actions: list[Action],
    closes: list[str],
    volumes: list[str],
):
    store(connection, *trades)
    for action in actions:
        action.add(connection)
    for adjustment in ("split", "all"):
        found = days(client, adjustment, symbol)
        assert [row["close"] for row in found] == [float(close) for close in closes]
        assert [row["volume"] for row in found] == [float(volume) for volume in volumes]
        listed = client.get("/trades", params={"symbol": symbol, "adjustment": adjustment}).json()["trades"]
        assert [each["price"] for each in reversed(listed)] == [float(close) for close in closes]
    raw = [float(each[3]) for each in trades]
    assert [row["close"] for row in days(client, "raw", symbol)] == raw
    assert [row["close"] for row in days(client, "dividend", symbol)] == raw


def test_a_series_of_dividends_multiplies_earlier_prices_by_the_hand_computed_factors(
    client: TestClient, connection: Connection
):
    closes = {"2023-02-09": "150.87", "2023-05-11": "173.75", "2023-08-10": "177.97", "2023-11-09": "182.41"}
    store(connection, *[at(day, close, "10") for day, close in closes.items()], at("2023-12-01", "191.24"))
    for ex_date, amount in (
        ("2023-02-10", "0.23"),
        ("2023-05-12", "0.24"),
        ("2023-08-11", "0.24"),
        ("2023-11-10", "0.24"),
    ):
        dividend(ex_date, amount).add(connection)
    last = 1 - Fraction("0.24") / Fraction("182.41")
    third = last * (1 - Fraction("0.24") / Fraction("177.97"))
    second = third * (1 - Fraction("0.24") / Fraction("173.75"))
    first = second * (1 - Fraction("0.23") / Fraction("150.87"))
    found = one(connection, "SELECT array_agg(price_factor ORDER BY since) FROM adjustment_factors('AAPL', 'all')")
    for exact, rounded_one in zip((first, second, third, last, Fraction(1)), found, strict=True):
        assert abs(exact - Fraction(rounded_one)) < Fraction(1, 10**28)
    assert float(found[0]) == 0.9944415656005302
    rows = days(client, "dividend")
    exact = [Fraction(close) * factor for close, factor in zip(closes.values(), (first, second, third, last), strict=True)]
    assert [row["close"] for row in rows[:4]] == [float(round(price, 12)) for price in exact]
    assert [row["volume"] for row in rows] == [10, 10, 10, 10, 1], "dividends leave volumes alone"
    assert days(client, "split") == days(client, "raw")


def test_a_dividend_without_an_earlier_trade_or_above_the_price_has_no_effect(client: TestClient, connection: Connection):
    store(connection, at("2023-02-09", "5"), at("2023-03-09", "6"))
    dividend("2023-02-01", "0.1").add(connection)
    dividend("2023-03-01", "5").add(connection)
    assert days(client, "all") == days(client, "raw")
    dividend("2023-03-09", "2.5").add(connection)
    assert [row["close"] for row in days(client, "all")] == [2.5, 6]


def test_a_spin_off_adjusts_prices_and_leaves_volumes_alone(client: TestClient, connection: Connection):
    store(connection, at("2023-01-03", "90", "7"), at("2023-02-03", "80", "7"), at("2023-03-03", "60", "7"))
    Action("spin_off", date(2023, 2, 1), ("9", "8")).add(connection)
    Action("spin_off", date(2023, 3, 1), amount="20").add(connection)
    found = days(client, "all")
    assert [(row["close"], row["volume"]) for row in found] == [(60, 7), (60, 7), (60, 7)]
    assert days(client, "split") == days(client, "dividend") == days(client, "raw")


def read_all(client: httpx.Client, path: str, parameters: Body) -> list[Body]:
    rows: list[Body] = []
    token = None
    while True:
        body = client.get(path, params={**parameters, **({"page_token": token} if token else {})}).json()
        rows += body["candles" if "candles" in body else "trades"]
        token = body["next_page_token"]
        if token is None:
            return rows


def assert_candles(rows: Sequence[Body], expected: dict[datetime, Body]) -> None:
    assert [datetime.fromisoformat(row["timestamp"]) for row in rows] == sorted(expected)
    for row, candle in zip(rows, [expected[bucket] for bucket in sorted(expected)], strict=True):
        for name in ("open", "high", "low", "close", "volume"):
            assert row[name] == float(candle[name]), (row["timestamp"], name)
        assert row["trade_count"] == candle["trade_count"]
        assert row["vwap"] == (candle["vwap"] and pytest.approx(candle["vwap"], rel=1e-12))


@pytest.mark.parametrize("zone", ["UTC", NEW_YORK])
@pytest.mark.parametrize("interval", ALL_INTERVALS)
def test_candles_of_each_interval_are_those_of_adjusted_trades(
    client: TestClient, connection: Connection, interval: str, zone: str
):
    first = max(FIRST, UNTIL - timedelta(days=6)) if interval.endswith("s") else FIRST
    trades = random_trades(7, FIRST, UNTIL, 900)
    close = None
    if zone == NEW_YORK:
        add_sessions(connection, "AAPL", FIRST.date(), UNTIL.date())
        close = session_close()
    store(connection, *trades)
    for action in ACTIONS:
        action.add(connection)
    for adjustment in ADJUSTMENTS:
        expected = candles(
            [each for each in adjusted(trades, ACTIONS, adjustment, zone, close) if each[0] >= first],
            lambda time: bucket_start(time, interval, None),
        )
        start = bucket_start(first, interval, None) if not interval.endswith("s") else first
        parameters = {"symbol": "AAPL", "interval": interval, "adjustment": adjustment, "limit": 400}
        parameters |= {"start": start.isoformat(), "end": UNTIL.isoformat()}
        assert_candles(read_all(client, "/candles", parameters), expected)


@pytest.mark.parametrize("adjustment", ADJUSTMENTS)
def test_trades_are_adjusted_by_their_time_in_all_pages(client: TestClient, connection: Connection, adjustment: str):
    trades = random_trades(8, FIRST, UNTIL, 300)
    store(connection, *trades)
    for action in ACTIONS:
        action.add(connection)
    parameters = {"symbol": "AAPL", "start": FIRST.isoformat(), "end": UNTIL.isoformat(), "limit": 77}
    rows = read_all(client, "/trades", {**parameters, "adjustment": adjustment, "order": "asc"})
    expected = [
        (number, float(rounded(price)), float(rounded(volume)))
        for _, _, number, price, volume in adjusted(trades, ACTIONS, adjustment)
    ]
    assert [(row["trade_id"], row["price"], row["volume"]) for row in rows] == expected
    newest = read_all(client, "/trades", {**parameters, "adjustment": adjustment})
    assert newest == rows[::-1]


@pytest.mark.parametrize("tz", ["America/New_York", "Asia/Kolkata"])
def test_days_of_a_time_zone_are_those_of_adjusted_trades(client: TestClient, connection: Connection, tz: str):
    trades = random_trades(9, FIRST, UNTIL, 500)
    add_sessions(connection, "AAPL", FIRST.date(), UNTIL.date())
    store(connection, *trades)
    for action in ACTIONS:
        action.add(connection)
    start = bucket_start(FIRST, "1d", ZoneInfo(tz))
    found = adjusted(trades, ACTIONS, "all", NEW_YORK, session_close())
    expected = candles(found, lambda time: bucket_start(time, "1d", ZoneInfo(tz)))
    parameters = {"symbol": "AAPL", "interval": "1d", "tz": tz, "adjustment": "all"}
    parameters |= {"start": start.isoformat(), "end": UNTIL.isoformat()}
    assert_candles(read_all(client, "/candles", parameters), expected)


@pytest.mark.parametrize("interval", ["1m", "3m", "1h", "1d"])
def test_filled_candles_have_the_adjusted_close_before_them(client: TestClient, connection: Connection, interval: str):
    store(connection, at("2024-03-01", "100", "2"), at("2024-03-06", "60", "3"))
    split("2024-03-05", "2").add(connection)
    parameters = {"symbol": "AAPL", "interval": interval, "fill": "previous", "adjustment": "split"}
    parameters |= {"start": "2024-03-04T00:00:00Z", "end": "2024-03-08T00:00:00Z", "limit": 10_000}
    rows = client.get("/candles", params=parameters).json()["candles"]
    assert {row["close"] for row in rows if row["timestamp"] < "2024-03-06T20"[: 10 if interval == "1d" else 13]} == {50}
    assert rows[-1]["close"] == 60
    assert {(row["open"], row["high"], row["low"]) for row in rows if row["filled"]} <= {(50, 50, 50), (60, 60, 60)}
    without = client.get("/candles", params={**parameters, "fill": "null"}).json()["candles"]
    assert [row["close"] for row in without if not row["filled"]] == [60]


def test_filled_seconds_begin_with_the_adjusted_trade_before_them(client: TestClient, connection: Connection):
    store(connection, at("2024-03-04", "100", hour=23), at("2024-03-05", "52", hour=1))
    split("2024-03-05", "2").add(connection)
    parameters = {"symbol": "AAPL", "interval": "1s", "fill": "previous", "adjustment": "all", "limit": 3}
    parameters |= {"start": "2024-03-05T00:00:00Z", "end": "2024-03-05T02:00:00Z"}
    assert [row["close"] for row in client.get("/candles", params=parameters).json()["candles"]] == [50, 50, 50]
    parameters["start"] = "2024-03-04T23:00:01Z"
    assert [row["close"] for row in client.get("/candles", params=parameters).json()["candles"]] == [50, 50, 50]


@pytest.mark.parametrize("auction", [0, 10])
def test_a_dividend_is_compared_with_the_close_of_the_regular_session(
    client: TestClient, connection: Connection, auction: int
):
    """The trades after 16:00 in New York belong to the closing auction, then to the post-market."""
    add_sessions(connection, "AAPL", date(2024, 3, 1), date(2024, 3, 31), f"{auction} minutes")
    store(
        connection,
        at("2024-03-01", "100", hour=20),
        (datetime(2024, 3, 1, 21, 4, tzinfo=UTC), "AAPL", 0, Decimal(80), Decimal(1)),
        at("2024-03-01", "50", hour=22),
        at("2024-03-05", "40", hour=4),
        at("2024-03-05", "40", hour=5),
    )
    dividend("2024-03-05", "20").add(connection)
    rows = days(client, "all", interval="1h")
    factor = Fraction(60, 80) if auction else Fraction(80, 100)
    assert [row["close"] for row in rows] == [float(price * factor) for price in (100, 80, 50, 40)] + [40]


def test_an_action_takes_effect_inside_a_utc_day_at_midnight_of_the_exchange(client: TestClient, connection: Connection):
    add_sessions(connection, "AAPL", date(2024, 3, 1), date(2024, 3, 31))
    store(
        connection,
        at("2024-03-05", "100", "1", hour=1),
        at("2024-03-05", "104", "2", hour=4),
        at("2024-03-05", "51", "3", hour=5),
        at("2024-03-05", "50", "4", hour=20),
    )
    split("2024-03-05", "2").add(connection)
    (row,) = days(client, "split")
    assert (row["open"], row["high"], row["low"], row["close"]) == (50, 52, 50, 50)
    assert (row["volume"], row["trade_count"]) == (2 + 4 + 3 + 4, 4)
    assert row["vwap"] == pytest.approx((2 * 50 + 4 * 52 + 3 * 51 + 4 * 50) / 13)
