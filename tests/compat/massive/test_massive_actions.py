"""Adjusted bars, sessions, splits and dividends at `/massive`, by its unmodified client, compared with the own API."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest
from helpers.calendars import store_calendar
from helpers.massive_calls import MASSIVE, POLYGON, call
from helpers.support import Connection

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
RANGE = "2020-08-01", "2020-12-31"
NAMES = ("open", "high", "low", "close", "volume", "vwap")


def bar_of(candle: dict[str, Any], **more: Any) -> dict[str, Any]:
    time = (datetime.fromisoformat(candle["timestamp"]) - EPOCH) // timedelta(milliseconds=1)
    return {**{name: candle[name] for name in NAMES}, "timestamp": time, **more}


def own(base: str, symbol: str, interval: str, **parameters: Any) -> list[dict[str, Any]]:
    query = {"symbol": symbol, "interval": interval, "start": RANGE[0], "end": RANGE[1], **parameters}
    found = httpx.get(f"{base}/candles", params=query).raise_for_status().json()["candles"]
    return [bar_of(candle, transactions=candle["trade_count"]) for candle in found]


def get(base: str, path: str, **parameters: str) -> Any:
    return httpx.get(f"{base}/massive{path}", params=parameters).raise_for_status().json()


def test_bars_are_adjusted_to_splits_by_default(listed: str):
    symbols = ("AAPL", "COIN", "PLAIN")
    asked = [(symbol, unit, adjusted) for symbol in symbols for unit in ("hour", "day") for adjusted in (None, False)]
    calls = [["list_aggs", [symbol, 1, unit, *RANGE], {"adjusted": adjusted}] for symbol, unit, adjusted in asked]
    previous = [["get_previous_close_agg", [symbol], {}] for symbol in symbols]
    *found, aapl, coin, plain = call(listed, *calls, *previous)
    for (symbol, unit, adjusted), bars in zip(asked, found, strict=True):
        session = {"session": "regular"} if unit == "day" else {}
        adjustment = "raw" if adjusted is False or symbol == "PLAIN" else "split"
        interval = "1d" if unit == "day" else "1h"
        assert bars == own(listed, symbol, interval, adjustment=adjustment, **session), (symbol, unit, adjusted)
        assert bars
    closes = {
        (symbol, unit, adjusted): bars[0]["close"] for (symbol, unit, adjusted), bars in zip(asked, found, strict=True)
    }
    assert (closes["COIN", "day", None], closes["COIN", "day", False]) == (160, 84)
    assert (closes["AAPL", "hour", None], closes["AAPL", "day", False]) == (125.125, 499.23)
    assert [row[0]["close"] for row in (aapl, coin, plain)] == [116.57, round(21.5 * 8 / 1.05, 12), 0.1234567890123456]


@pytest.mark.parametrize("adjusted", [True, False])
def test_days_of_all_symbols_are_those_of_the_sessions(listed: str, adjusted: bool):
    calls = [["get_grouped_daily_aggs", [day], {"adjusted": adjusted}] for day in ("2020-08-28", "2020-08-31", "2020-11-27")]
    for day, found in zip(("2020-08-28", "2020-08-31", "2020-11-27"), call(listed, *calls), strict=True):
        following = f"{date.fromisoformat(day) + timedelta(days=1)}"
        bounds = {"start": day, "end": following, "session": "regular", "adjustment": "split" if adjusted else "raw"}
        expected = [
            {**bar, "ticker": symbol}
            for symbol in ("AAPL", "COIN", "PLAIN")
            for bar in own(listed, symbol, "1d", **{**bounds, **({"adjustment": "raw"} if symbol == "PLAIN" else {})})
        ]
        assert found == expected


def test_grouped_days_are_adjusted(listed: str):
    (aapl, coin, plain) = get(listed, "/v2/aggs/grouped/locale/us/market/stocks/2020-08-28")["results"]
    assert (aapl["o"], aapl["c"], aapl["v"], aapl["n"]) == (126.0125, 124.8075, 26002, 4)
    assert (coin["o"], coin["c"], coin["v"]) == (round(80 * 8 / 4.2, 12), 160, 6.3)
    assert plain["c"] == 0.1234567890123456


def test_open_and_close_have_the_prices_outside_of_the_session(listed: str):
    days = ("AAPL", "2020-08-28"), ("AAPL", "2020-11-27"), ("COIN", "2020-08-28")
    raw, half, coin = call(listed, *(["get_daily_open_close_agg", [*day], {"adjusted": False}] for day in days))
    assert raw == {
        "after_hours": 500.04,
        "close": 499.23,
        "from_": "2020-08-28",
        "high": 505.77,
        "low": 498.31,
        "open": 504.05,
        "pre_market": 503,
        "status": "OK",
        "symbol": "AAPL",
        "volume": 6500.5,
    }
    assert (half["close"], half["after_hours"], "pre_market" in half) == (116.57, 116.65, False)
    assert (coin["open"], coin["close"], "after_hours" in coin) == (80, 84, False)
    adjusted = get(listed, "/v1/open-close/AAPL/2020-08-28")
    assert (adjusted["preMarket"], adjusted["afterHours"]) == (125.75, 125.01)
    assert get(listed, "/v1/open-close/COIN/2020-08-28")["close"] == 160


@pytest.mark.parametrize("client", [MASSIVE, POLYGON], ids=["massive", "polygon"])
def test_splits_and_dividends(listed: str, client: tuple[str, str]):
    calls = [
        ["list_splits", [], {}],
        ["list_splits", [], {"limit": 1, "order": "asc"}],
        ["list_splits", [], {"ticker": "AAPL"}],
        ["list_splits", [], {"reverse_split": True}],
        ["list_splits", [], {"execution_date_gt": "2020-08-31", "execution_date_lte": "2020-09-15"}],
        ["list_splits", [], {"ticker_gt": "AAPL", "execution_date": "2020-08-31"}],
        ["list_splits", ["NOPE"], {}],
        ["list_dividends", [], {"ticker": "AAPL"}],
        ["list_dividends", [], {"ex_dividend_date_lt": "2020-11-06", "limit": 1}],
    ]
    every, ascending, aapl, reverse, between, above, none, dividends, older = call(listed, *calls, client=client)
    assert [(each["ticker"], each["execution_date"], each["split_from"], each["split_to"]) for each in every] == [
        ("COIN", "2020-11-02", 8, 1),
        ("COIN", "2020-09-15", 1, 1.05),
        ("COIN", "2020-08-31", 1, 4),
        ("AAPL", "2020-08-31", 1, 4),
    ]
    assert ascending == every[::-1]
    assert (aapl, reverse, between, above, none) == (every[3:], every[:1], every[1:2], every[2:3], [])
    assert [(each["ex_dividend_date"], each["cash_amount"], each["currency"]) for each in dividends] == [
        ("2020-11-06", 0.205, "USD"),
        ("2020-08-07", 0.82, "USD"),
    ]
    assert older == dividends[1:]


def test_splits_and_dividends_in_the_newer_form(listed: str):
    calls = [
        ["list_stocks_splits", [], {"ticker": "COIN", "sort": "execution_date.asc"}],
        ["list_stocks_splits", [], {"ticker_any_of": "AAPL,NOPE"}],
        ["list_stocks_splits", [], {"adjustment_type_any_of": "stock_dividend,reverse_split", "limit": 1}],
        ["list_stocks_dividends", [], {"ticker": "AAPL", "sort": "ex_dividend_date.asc"}],
    ]
    coin, aapl, kinds, dividends = call(listed, *calls)
    assert [(each["adjustment_type"], round(each["historical_adjustment_factor"], 9)) for each in coin] == [
        ("forward_split", round(8 / 4.2, 9)),
        ("stock_dividend", round(8 / 1.05, 9)),
        ("reverse_split", 8),
    ]
    assert [each["historical_adjustment_factor"] for each in aapl] == [0.25]
    assert [each["adjustment_type"] for each in kinds] == ["reverse_split", "stock_dividend"]
    assert [(each["cash_amount"], each["split_adjusted_cash_amount"]) for each in dividends] == [
        (0.82, 0.205),
        (0.205, 0.205),
    ]


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/v3/reference/splits?sort=ticker", "sort"),
        ("/v3/reference/splits?order=up", "order"),
        ("/v3/reference/splits?limit=1001", "limit"),
        ("/v3/reference/splits?execution_date=2020-02-30", "execution_date"),
        ("/v3/reference/splits?execution_date.gt=x", "execution_date.gt"),
        ("/v3/reference/splits?reverse_split=perhaps", "reverse_split"),
        ("/v3/reference/splits?cursor=x", "cursor"),
        ("/stocks/v1/dividends?sort=ex_dividend_date.up", "sort"),
        ("/stocks/v1/dividends?limit=5001", "limit"),
    ],
)
def test_bad_input_is_the_error_of_the_protocol(base: str, path: str, named: str):
    answer = httpx.get(f"{base}/massive{path}")
    assert (answer.status_code, answer.json()["status"]) == (400, "ERROR")
    assert answer.json()["error"].startswith(f"{named}: ")


def test_tickers_have_the_attributes_of_the_symbols(listed: str):
    calls = [
        ["get_ticker_details", ["AAPL"], {}],
        ["list_tickers", [], {"type": "CRYPTO"}],
        ["list_tickers", [], {"ticker": "PLAIN"}],
    ]
    aapl, crypto, plain = call(listed, *calls)
    expected = {"type": "CS", "list_date": "1980-12-12", "description": "Common stock", "currency_name": "usd"}
    assert {name: aapl[name] for name in expected} == expected
    assert [each["ticker"] for each in crypto] == ["COIN"]
    assert [(each["type"], each["delisted_utc"]) for each in plain] == [("ETF", "2020-12-31T00:00:00Z")]


def test_state_of_the_market_and_holidays(connection: Connection, base: str):
    today = datetime.now(UTC).date()
    sessions = store_calendar(connection, "XNYS", today - timedelta(days=10), today + timedelta(days=300))
    connection.execute("INSERT INTO symbols (symbol, name, calendar) VALUES ('AAPL', 'Apple', 'XNYS')")
    status, holidays = call(base, ["get_market_status", [], {}], ["get_market_holidays", [], {}])
    expected = httpx.get(f"{base}/market/status", params={"symbol": "AAPL"}).json()["status"]
    shown = {"open": "open", "pre": "extended-hours", "post": "extended-hours", "closed": "closed"}[expected]
    assert (status["market"], status["exchanges"]["nyse"]) == (shown, shown)
    assert (status["early_hours"], status["after_hours"]) == (expected == "pre", expected == "post")
    days = {each.day: each for each in sessions}
    closed = {each["date"] for each in holidays if each["status"] == "closed"}
    weekdays = (today + timedelta(days=number) for number in range((sessions[-1].day - today).days + 1))
    assert {f"{day}" for day in weekdays if day.weekday() < 5 and day not in days} == closed
    early = {each["date"]: each["close"] for each in holidays if each["status"] == "early-close"}
    assert len(closed) > 5
    for day, close in early.items():
        session = days[date.fromisoformat(day)]
        assert close == f"{session.closes_at:%Y-%m-%dT%H:%M:%SZ}"
        assert session.closes_at - session.opens_at < timedelta(hours=6)
