"""REST of `/alpaca`, by alpaca-py, unmodified, compared with the service's own API."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from helpers.foreign_clients import run_client
from helpers.support import T0, Connection, store, trade

PACKAGES = ("alpaca-py==0.44.0",)
SCRIPT = Path(__file__).parent / "rest_client.py"

START = T0.isoformat()
END = (T0 + timedelta(days=1)).isoformat()
RANGE = {"start": START, "end": END}
BARS = {"symbol_or_symbols": ["AAPL", "BTC/USD"], **RANGE}

NAMES = {
    "t": "timestamp",
    "o": "open",
    "h": "high",
    "l": "low",
    "c": "close",
    "v": "volume",
    "vw": "vwap",
    "n": "trade_count",
}

MANY_TRADES = """
    INSERT INTO trades (time, symbol, trade_id, price, volume)
    SELECT %s + number * INTERVAL '1 ms', 'AAPL', 0, 1 + number, 1
    FROM generate_series(0, 10004) AS number
"""


def call(base: str, *calls: dict[str, Any], secret: str = "secret") -> Any:
    return run_client(SCRIPT, f"{base}/alpaca", secret, json.dumps(calls), packages=PACKAGES)


def bars(timeframe: list[Any], **more: Any) -> dict[str, Any]:
    return {"method": "get_stock_bars", "request": {**BARS, "timeframe": timeframe, **more}}


def trades(**more: Any) -> dict[str, Any]:
    return {"method": "get_stock_trades", "request": {**BARS, **more}}


def own(base: str, path: str, rows: str, **parameters: Any) -> list[Any]:
    """Return the rows of the service's own API."""
    answer = httpx.get(f"{base}/{path}", params={"order": "asc", **RANGE, **parameters})
    assert answer.status_code == 200, answer.text
    return answer.json()[rows]


def own_candles(base: str, symbol: str, interval: str, **parameters: Any) -> list[dict[str, Any]]:
    candles = own(base, "candles", "candles", symbol=symbol, interval=interval, **parameters)
    return [{name: candle[name] for name in NAMES.values()} for candle in candles]


def plain_bars(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: row[name] for name in NAMES.values()} for row in rows]


@pytest.fixture
def traded(connection: Connection) -> Connection:
    """Connect to a database with four minutes of AAPL and two of BTC/USD."""
    store(
        connection,
        trade(0, "100.5", "2"),
        trade(1, "101.25", "0.5"),
        trade(1, "99.125", "3", trade_id=1),
        *(trade(60 * minute, f"{100 + minute}.1", f"{minute}") for minute in (1, 2, 6)),
        trade(5, "65000.123456", "0.001", symbol="BTC/USD"),
        trade(70, "65001", "0.002", symbol="BTC/USD"),
    )
    return connection


def test_bars_and_trades_are_those_of_the_own_api(base: str, traded: Connection):
    timeframes = {"1m": [1, "Min"], "5m": [5, "Min"], "10m": [10, "Min"]}
    longer = {
        "2h": [2, "Hour"],
        "1d": [1, "Day"],
        "1w": [1, "Week"],
        "1M": [1, "Month"],
    }  # whose buckets start before the first trade
    before = {"start": "2026-01-01T00:00:00+00:00"}
    *found, several, paged, desc, user_limit = call(
        base,
        *(bars(timeframe) for timeframe in timeframes.values()),
        *(bars(timeframe, **before) for timeframe in longer.values()),
        trades(),
        trades(limit=3),
        trades(sort="desc"),
        bars([1, "Min"], limit=5, adjustment="split", feed="sip"),
    )
    for interval, result in zip((*timeframes, *longer), found, strict=True):
        assert set(result) == {"AAPL", "BTC/USD"}, interval
        for symbol, rows in result.items():
            parameters = before if interval in longer else {}
            if interval != "10m":  # which /candles lacks
                assert plain_bars(rows) == own_candles(base, symbol, interval, **parameters)
    assert len(found[2]["AAPL"]) == 1
    assert [[row["open"], row["volume"], row["trade_count"]] for row in found[2]["AAPL"]] == [[100.5, 14.5, 6]]
    for symbol, rows in several.items():
        expected = own(base, "trades", "trades", symbol=symbol)
        assert [(row["timestamp"], row["price"], row["size"], row["id"]) for row in rows] == [
            (row["timestamp"], row["price"], row["volume"], row["trade_id"]) for row in expected
        ]
        assert desc[symbol] == rows[::-1]
    assert paged == {"AAPL": several["AAPL"][:3]}
    assert user_limit == {"AAPL": found[0]["AAPL"], "BTC/USD": found[0]["BTC/USD"][:1]}


def test_the_client_follows_pages(base: str, connection: Connection):
    store(connection, trade(0, "5", symbol="MSFT"), trade(-60, "1"))
    connection.execute(MANY_TRADES, (T0,))
    request = {"symbol_or_symbols": ["AAPL", "MSFT"], **RANGE}
    calls = [{"method": "get_stock_trades", "request": {**request, **more}} for more in ({}, {"limit": 10_002})]
    everything, limited = call(base, *calls)
    assert [row["price"] for row in everything["AAPL"]] == [1 + number for number in range(10_005)]
    assert [row["price"] for row in everything["MSFT"]] == [5]
    assert {symbol: len(rows) for symbol, rows in limited.items()} == {"AAPL": 10_002}


@pytest.mark.parametrize("sort", ["asc", "desc"])
def test_pages_of_several_symbols_join_to_the_whole(base: str, traded: Connection, sort: str):
    parameters = {"symbols": "BTC/USD,aapl,NOPE", "timeframe": "1Min", "sort": sort, **RANGE}
    with httpx.Client(base_url=f"{base}/alpaca/v2/stocks") as client:
        whole = client.get("/bars", params=parameters).json()
        assert whole["next_page_token"] is None
        pages: list[tuple[str, str]] = []
        token: str | None = ""
        while token is not None:
            page = client.get("/bars", params={**parameters, "limit": 2, "page_token": token}).json()
            assert sum(map(len, page["bars"].values())) <= 2
            pages += [(symbol, row["t"]) for symbol, rows in page["bars"].items() for row in rows]
            token = page["next_page_token"]
            assert token != ""
        assert pages == [(symbol, row["t"]) for symbol, rows in whole["bars"].items() for row in rows]
        assert len(pages) == 6
        first = client.get("/bars", params={**parameters, "limit": 2}).json()["next_page_token"]
        other = client.get("/bars", params={**parameters, "timeframe": "5Min", "page_token": first})
        assert other.status_code == 400
        assert "page_token" in other.json()["message"]


def test_latest_rows_and_snapshots(base: str, traded: Connection):
    names = ["AAPL", "BTC/USD", "NOPE"]
    methods = ("latest_bar", "latest_trade", "latest_quote", "snapshot")
    calls = [{"method": f"get_stock_{method}", "request": {"symbol_or_symbols": names}} for method in methods]
    latest_bars, latest_trades, quotes, snapshots = call(base, *calls)
    own_snapshots = httpx.get(f"{base}/snapshots").json()["snapshots"]
    assert [each["symbol"] for each in own_snapshots] == ["AAPL", "BTC/USD"] == sorted(latest_trades)
    assert quotes == {}
    for each in own_snapshots:
        symbol, latest = each["symbol"], each["latest"]
        minute = {name: each["minute"][name] for name in NAMES.values()}
        assert plain_bars([latest_bars[symbol]]) == [minute]
        expected = latest["timestamp"], latest["price"], latest["volume"]
        for row in (latest_trades[symbol], snapshots[symbol]["latest_trade"]):
            assert (row["timestamp"], row["price"], row["size"]) == expected
        assert plain_bars([snapshots[symbol]["minute_bar"]]) == [minute]
        for own_day, name in (("day", "daily_bar"), ("previous_day", "previous_daily_bar")):
            assert (snapshots[symbol][name] is None) == (each[own_day] is None)


def test_symbols_without_data_are_left_out(base: str, traded: Connection):
    unknown = {"symbol_or_symbols": "NOPE", **RANGE}
    later = {"start": "2026-03-01T00:00:00+00:00", "end": "2026-03-02T00:00:00+00:00"}
    results = call(
        base,
        bars([1, "Min"], **later),
        {"method": "get_stock_trades", "request": unknown},
        {"method": "get_stock_quotes", "request": unknown},
        {"method": "get_stock_latest_trade", "request": {"symbol_or_symbols": "NOPE"}},
        {"method": "get_stock_snapshot", "request": {"symbol_or_symbols": "NOPE"}},
    )
    assert results == [{}, {}, {}, {}, {}]


def test_assets_and_clock(base: str, traded: Connection):
    traded.execute("UPDATE symbols SET active = false WHERE symbol = 'BTC/USD'")
    every, active, crypto, one, clock, unknown = call(
        base,
        {"method": "get_all_assets", "request": {}},
        {"method": "get_all_assets", "request": {"status": "active", "asset_class": "us_equity"}},
        {"method": "get_all_assets", "request": {"asset_class": "crypto"}},
        {"method": "get_asset", "arguments": ["AAPL"]},
        {"method": "get_clock"},
        {"method": "get_asset", "arguments": ["NOPE"]},
    )
    assert [(each["symbol"], each["name"], each["status"], each["tradable"]) for each in every] == [
        ("AAPL", "AAPL Ltd.", "active", False),
        ("BTC/USD", "BTC/USD Ltd.", "inactive", False),
    ]
    assert active == [one] == every[:1]
    assert crypto == []
    assert clock["is_open"]
    assert clock["timestamp"] < clock["next_close"] == clock["next_open"]
    assert unknown == {"status": 404, "error": '{"code":40410000,"message":"asset not found for \'NOPE\'"}'}
    with httpx.Client(base_url=f"{base}/alpaca/v2/assets") as client:
        for path in ("/BTC/USD", "/btc%2Fusd", f"/{every[1]['id']}"):
            assert client.get(path).json()["symbol"] == "BTC/USD"
