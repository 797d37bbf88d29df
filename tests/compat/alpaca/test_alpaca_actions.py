"""Adjusted bars, sessions and corporate actions at `/alpaca`, by alpaca-py, unmodified, compared with the own API."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from helpers.calendars import store_calendar
from helpers.foreign_clients import run_client
from helpers.support import Connection

PACKAGES = ("alpaca-py==0.44.0",)
SCRIPT = Path(__file__).parent / "rest_client.py"

RANGE = {"start": "2020-08-01T00:00:00+00:00", "end": "2020-12-31T00:00:00+00:00"}
SYMBOLS = ["AAPL", "COIN", "PLAIN"]
FIGURES = ("timestamp", "open", "high", "low", "close", "volume", "vwap", "trade_count")
ADJUSTMENTS = ("raw", "split", "dividend", "all")


def call(base: str, *calls: dict[str, Any]) -> Any:
    return run_client(SCRIPT, f"{base}/alpaca", "secret", json.dumps(calls), packages=PACKAGES)


def bars(timeframe: list[Any], **more: Any) -> dict[str, Any]:
    return {
        "method": "get_stock_bars",
        "request": {"symbol_or_symbols": SYMBOLS, "timeframe": timeframe, **RANGE, **more},
    }


def own(base: str, interval: str, symbol: str, **parameters: str) -> list[dict[str, Any]]:
    answer = httpx.get(f"{base}/candles", params={"symbol": symbol, "interval": interval, **RANGE, **parameters})
    return [{name: row[name] for name in FIGURES} for row in answer.raise_for_status().json()["candles"]]


def plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: row[name] for name in FIGURES} for row in rows]


def test_bars_are_adjusted_as_those_of_the_own_api(listed: str):
    days = [bars([1, "Day"], adjustment=adjustment) for adjustment in ADJUSTMENTS]
    hours = [bars([1, "Hour"], adjustment=adjustment) for adjustment in ADJUSTMENTS]
    found = call(listed, *days, *hours, bars([1, "Day"]), bars([1, "Week"], adjustment="split", limit=2))
    for number, adjustment in enumerate(ADJUSTMENTS):
        assert set(found[number]) == set(SYMBOLS)
        for symbol in SYMBOLS:
            parameters = {"adjustment": "raw" if symbol == "PLAIN" else adjustment}
            expected = own(listed, "1d", symbol, session="regular", **parameters)
            assert plain(found[number][symbol]) == expected, (adjustment, symbol)
            assert plain(found[number + 4][symbol]) == own(listed, "1h", symbol, **parameters), (adjustment, symbol)
    raw, split, dividend, _ = found[:4]
    assert found[8] == raw
    assert [(row["timestamp"], row["open"], row["close"], row["trade_count"]) for row in raw["AAPL"]] == [
        ("2020-08-28T00:00:00Z", 504.05, 499.23, 4),  # with the closing auction
        ("2020-08-31T00:00:00Z", 127.58, 129.04, 2),
        ("2020-11-27T00:00:00Z", 116.57, 116.57, 1),  # half a day
    ]
    assert [round(row["close"], 9) for row in split["COIN"]] == [160, 163.80952381]
    assert [row["close"] for row in dividend["COIN"]] == [84, 21.5]
    assert split["PLAIN"][0]["close"] == 0.1234567890123456
    assert sum(map(len, found[9].values())) == 2


def test_several_adjustments_between_commas(listed: str):
    def close(adjustment: str) -> Any:
        parameters = {"timeframe": "1Day", "start": "2020-08-01", "end": "2020-12-31", "adjustment": adjustment}
        return httpx.get(f"{listed}/alpaca/v2/stocks/COIN/bars", params=parameters).json()["bars"]

    assert close("split,dividend,spin-off") == close("all") != close("split")


def test_corporate_actions(listed: str):
    year = {"start": "2020-01-01", "end": "2020-12-31"}
    every, page, some, reverse, nothing, announced = call(
        listed,
        {"method": "get_corporate_actions", "request": {**year}},
        {"method": "get_corporate_actions", "request": {**year, "limit": 3, "sort": "desc"}},
        {"method": "get_corporate_actions", "request": {**year, "symbols": ["AAPL"], "types": ["cash_dividend"]}},
        {"method": "get_corporate_actions", "request": {**year, "types": ["reverse_split", "name_change"]}},
        {"method": "get_corporate_actions", "request": {"start": "2020-01-01", "end": "2020-01-31"}},
        {
            "method": "get_corporate_announcements",
            "request": {"ca_types": ["dividend", "split", "spinoff"], "since": "2020-08-07", "until": "2020-11-03"},
        },
    )
    assert {name: [each["symbol"] for each in rows] for name, rows in every.items() if name != "spin_offs"} == {
        "cash_dividends": ["AAPL", "AAPL"],
        "forward_splits": ["AAPL", "COIN"],
        "stock_dividends": ["COIN"],
        "reverse_splits": ["COIN"],
    }
    split, dividend, stock = (every[name][0] for name in ("forward_splits", "cash_dividends", "stock_dividends"))
    assert (split["new_rate"], split["old_rate"], split["ex_date"]) == (4, 1, "2020-08-31")
    assert (dividend["rate"], dividend["ex_date"], dividend["process_date"]) == (0.82, "2020-08-07", "2020-08-07")
    assert stock["rate"] == 0.05
    assert [(each["new_rate"], each["old_rate"]) for each in every["reverse_splits"]] == [(1, 8)]
    assert [(each["source_symbol"], each["source_rate"], each["new_rate"]) for each in every["spin_offs"]] == [
        ("COIN", 1, 0.25)
    ]
    assert {name: [each["ex_date"] for each in rows] for name, rows in page.items()} == {
        "cash_dividends": ["2020-11-06"],
        "spin_offs": ["2020-11-03"],
        "reverse_splits": ["2020-11-02"],
    }
    assert some == {"cash_dividends": every["cash_dividends"]}
    assert reverse == {"reverse_splits": every["reverse_splits"]}
    assert nothing == {}
    assert [(each["ca_type"], each["ca_sub_type"], each["cash"], each["new_rate"]) for each in announced] == [
        ("dividend", "cash", 0.82, 1),
        ("split", "stock_split", 0, 4),
        ("split", "stock_split", 0, 4),
        ("dividend", "stock", 0, 1.05),
        ("split", "reverse_split", 0, 1),
        ("spinoff", "spinoff", 0, 1.25),
    ]
    own_actions = httpx.get(f"{listed}/symbols/AAPL/actions").json()["actions"]
    assert {each["corporate_action_id"] for each in announced if each["initiating_symbol"] == "AAPL"} < {
        each["id"] for each in own_actions
    }


def test_pages_and_ids_of_corporate_actions(listed: str):
    with httpx.Client(base_url=f"{listed}/alpaca") as client:
        year: dict[str, Any] = {"start": "2020-01-01", "end": "2020-12-31", "limit": "2"}
        days: list[str] = []
        token: str | None = ""
        while token is not None:
            page = client.get("/v1/corporate-actions", params={**year, "page_token": token}).json()
            days += sorted(each["ex_date"] for rows in page["corporate_actions"].values() for each in rows)
            token = page["next_page_token"]
            assert token != ""
        assert len(days) == 7
        assert days == sorted(days)
        first = client.get("/v1/corporate-actions", params=year).json()
        (dividend,) = first["corporate_actions"]["cash_dividends"]
        again = client.get("/v1/corporate-actions", params={"ids": dividend["id"]}).json()
        assert again == {"corporate_actions": {"cash_dividends": [dividend]}, "next_page_token": None}
        announcement = client.get(f"/v2/corporate_actions/announcements/{dividend['id']}").json()
        assert (announcement["id"], announcement["initiating_symbol"]) == (dividend["id"], "AAPL")
        dates = {"since": "2020-08-01", "until": "2020-08-31"}
        assert client.get("/v2/corporate_actions/announcements", params={**dates, "date_type": "record_date"}).json() == []
        unknown = client.get("/v2/corporate_actions/announcements/11111111-1111-1111-1111-111111111111")
        assert (unknown.status_code, unknown.json()["code"]) == (404, 40410000)


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/v1/corporate-actions?types=gift", "types"),
        ("/v1/corporate-actions?start=2020-02-30", "start"),
        ("/v1/corporate-actions?start=2020-02-03&end=2020-02-02", "end"),
        ("/v1/corporate-actions?ids=1", "ids"),
        ("/v1/corporate-actions?limit=1001", "limit"),
        ("/v1/corporate-actions?page_token=x", "page_token"),
        ("/v1/corporate-actions?symbols=%00", "symbols"),
        ("/v2/corporate_actions/announcements?since=2020-01-01", "until"),
        ("/v2/corporate_actions/announcements?since=2020-01-01&until=2020-01-02&ca_types=gift", "ca_types"),
        ("/v2/corporate_actions/announcements/1", "ids"),
        ("/v2/calendar?start=x", "start"),
        ("/v2/calendar?start=2020-01-02&end=2020-01-01", "end"),
    ],
)
def test_bad_input_is_the_error_of_the_protocol(base: str, path: str, named: str):
    answer = httpx.get(f"{base}/alpaca{path}")
    assert (answer.status_code, answer.json()["code"]) == (400, 40010000)
    assert named in answer.json()["message"]


def test_calendar_has_the_sessions_of_new_york(listed: str):
    days, whole = call(
        listed,
        {"method": "get_calendar", "request": {"start": "2020-11-25", "end": "2020-11-30"}},
        {"method": "get_calendar", "request": {}},
    )
    assert days == [
        {"date": "2020-11-25", "open": "2020-11-25T09:30:00", "close": "2020-11-25T16:00:00"},
        {"date": "2020-11-27", "open": "2020-11-27T09:30:00", "close": "2020-11-27T13:00:00"},
        {"date": "2020-11-30", "open": "2020-11-30T09:30:00", "close": "2020-11-30T16:00:00"},
    ]
    sessions = httpx.get(f"{listed}/calendars/XNYS/sessions", params={"start": "2020-01-01"}).json()["sessions"]
    assert [each["date"] for each in whole] == [each["day"] for each in sessions]
    found = httpx.get(f"{listed}/alpaca/v2/calendar", params={"start": "2020-11-27", "end": "2020-11-27"}).json()
    assert found == [
        {
            "date": "2020-11-27",
            "open": "09:30",
            "close": "13:00",
            "session_open": "0400",
            "session_close": "1700",
            "settlement_date": "2020-12-01",
        }
    ]


def test_without_sessions_each_day_is_in_the_calendar(base: str):
    found = httpx.get(f"{base}/alpaca/v2/calendar", params={"start": "2026-02-07", "end": "2026-02-08"}).json()
    assert [(each["date"], each["open"], each["close"]) for each in found] == [
        ("2026-02-07", "00:00", "23:59"),
        ("2026-02-08", "00:00", "23:59"),
    ]


def test_clock_is_that_of_the_calendar(connection: Connection, base: str):
    today = datetime.now(UTC).date()
    store_calendar(connection, "XNYS", today - timedelta(days=10), today + timedelta(days=10))
    connection.execute("INSERT INTO symbols (symbol, name, calendar) VALUES ('AAPL', 'Apple', 'XNYS')")
    (clock,) = call(base, {"method": "get_clock"})
    status = httpx.get(f"{base}/market/status", params={"symbol": "AAPL"}).json()
    times = [datetime.fromisoformat(clock[name]) for name in ("next_open", "next_close")]
    expected = [datetime.fromisoformat(status[name]) for name in ("next_open", "next_close")]
    assert (times, clock["is_open"]) == (expected, status["status"] == "open")
    assert datetime.fromisoformat(clock["timestamp"]).utcoffset() in (timedelta(hours=-5), timedelta(hours=-4))


def test_assets_have_the_attributes_of_the_symbols(listed: str):
    assets = {each["symbol"]: each for each in httpx.get(f"{listed}/alpaca/v2/assets").json()}
    assert [(each["class"], each["status"], each["price_increment"]) for each in assets.values()] == [
        ("us_equity", "active", 0.01),
        ("crypto", "active", 0.25),
        ("us_equity", "inactive", None),
    ]
    for parameters, names in (
        ({"asset_class": "crypto"}, ["COIN"]),
        ({"asset_class": "us_equity", "status": "active"}, ["AAPL"]),
        ({"exchange": "NYSE"}, []),
    ):
        found = httpx.get(f"{listed}/alpaca/v2/assets", params=parameters).json()
        assert [each["symbol"] for each in found] == names
    assert date.fromisoformat(httpx.get(f"{listed}/symbols/PLAIN").json()["delisted"]).year == 2020
