"""The unmodified REST clients of Massive and of Polygon, against our own API."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from helpers.massive_calls import MASSIVE, POLYGON, call
from helpers.support import T0, Connection, now_within_minute, store, trade

MILLISECONDS = timedelta(milliseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY = "2026-02-08"


def bar_of(candle: dict[str, Any]) -> dict[str, Any]:
    """Return a candle of our own API as a bar of the client."""
    bar = {name: candle[name] for name in ("open", "high", "low", "close", "volume", "vwap")}
    start = datetime.fromisoformat(candle["timestamp"])
    return bar | {"timestamp": (start - EPOCH) // MILLISECONDS, "transactions": candle["trade_count"]}


def candles(base: str, symbol: str, interval: str, start: str, end: str) -> list[dict[str, Any]]:
    query = {"symbol": symbol, "interval": interval, "start": start, "end": end}
    return [bar_of(candle) for candle in httpx.get(f"{base}/candles", params=query).raise_for_status().json()["candles"]]


@pytest.fixture
def filled(connection: Connection, base: str) -> str:
    """Trades of 12 minutes in two days, of symbols with and without special characters."""
    for day in (0, 1):
        seconds = [86400 * day + 60 * minute + part for minute in range(6) for part in (0, 20.25, 40.000001)]
        prices = [(second, f"{189 + index / 100}") for index, second in enumerate(seconds)]
        store(connection, *(trade(second, price, "1.5") for second, price in prices))
    store(connection, trade(1, "1.08", "1000", symbol="EUR/USD"), trade(2, "1.09", symbol="EUR/USD"))
    store(connection, trade(3, "0.00000123", "3", symbol="BRK.B"), trade(4, "7", symbol="X:BTC-USD"))
    return base


@pytest.fixture
def client(filled: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{filled}/massive") as opened:
        yield opened


def test_bars_are_those_of_our_own_api(filled: str):
    asked = [
        (1, "second", "1s"),
        (10, "second", "10s"),
        (1, "minute", "1m"),
        (3, "minute", "3m"),
        (60, "minute", "1h"),
        (1, "hour", "1h"),
        (1, "day", "1d"),
        (1, "week", "1w"),
        (1, "month", "1M"),
    ]
    days = "2026-02-08", "2026-02-09"
    calls = [["list_aggs", ["AAPL", number, timespan, *days], {}] for number, timespan, _ in asked]
    found = call(
        filled, *calls, ["get_aggs", ["aapl", 1, "quarter", *days], {}], ["list_aggs", ["AAPL", 1, "year", *days], {}]
    )
    starts = {"1w": "2026-02-02T00:00:00Z", "1M": "2026-02-01T00:00:00Z"}
    for (_, _, interval), bars in zip(asked, found[: len(asked)], strict=True):
        if interval == "10s":
            continue
        start = starts.get(interval, f"{DAY}T00:00:00Z")
        assert bars == candles(filled, "AAPL", interval, start, "2026-02-10T00:00:00Z"), interval
        assert bars
    assert [bar["timestamp"] for bar in found[1]][:3] == [1770546600000, 1770546620000, 1770546640000]
    assert found[1][0]["transactions"] == 1
    (month,) = found[-3]
    january = (datetime(2026, 1, 1, tzinfo=UTC) - EPOCH) // MILLISECONDS
    assert found[-2] == found[-1] == [month | {"timestamp": january}]


def test_a_range_includes_both_ends_and_the_bar_of_its_start(filled: str):
    start = (T0 - EPOCH) // MILLISECONDS
    minutes = start + 60_000, start + 180_000
    calls = [
        ["list_aggs", ["AAPL", 1, "minute", *minutes], {}],
        ["list_aggs", ["AAPL", 1, "minute", minutes[0] + 30_000, minutes[1] - 1], {"sort": "desc"}],
        ["list_aggs", ["AAPL", 1, "minute", "2026-03-01", "2026-03-02"], {}],
        ["list_aggs", ["NOPE", 1, "minute", *minutes], {}],
        ["list_aggs", ['"', 1, "minute", *minutes], {}],
    ]
    both, inner, *empty = call(filled, *calls)
    assert [bar["timestamp"] for bar in both] == [start + 60_000, start + 120_000, start + 180_000]
    assert [bar["timestamp"] for bar in inner] == [start + 120_000, start + 60_000]
    assert empty == [[], [], []]


@pytest.mark.parametrize("sort", ["asc", "desc"])
def test_pages_of_bars_follow_each_other(filled: str, sort: str):
    days = "2026-02-08", "2026-02-09"
    calls = [
        ["list_aggs", ["AAPL", 1, "minute", *days], {"limit": 5, "sort": sort}],
        ["list_aggs", ["AAPL", 1, "minute", *days], {"sort": sort}],
        ["get_aggs", ["AAPL", 1, "minute", *days], {"limit": 5, "sort": sort}],
        ["list_aggs", ["AAPL", 1, "second", *days], {"limit": 7, "sort": sort}],
        ["list_aggs", ["AAPL", 2, "minute", *days], {"limit": 5, "sort": sort}],
    ]
    pages, whole, first, seconds, pairs = call(filled, *calls)
    assert len(whole) == 12
    assert pages == whole
    assert first == whole[:5]
    assert len(seconds) == 36
    assert len(pairs) == 6


def test_the_limit_counts_base_bars(client: httpx.Client):
    path = f"/v2/aggs/ticker/AAPL/range/2/minute/{DAY}/{DAY}"
    found = client.get(path, params={"limit": "5"}).json()
    assert (found["resultsCount"], found["queryCount"], found["ticker"], found["adjusted"]) == (2, 4, "AAPL", True)
    assert found["status"] == "OK"
    assert client.get(path, params={"limit": "1", "adjusted": "false"}).json()["resultsCount"] == 1


def test_the_next_page_has_no_prefix_and_no_key(client: httpx.Client):
    secret = "md_12345678_" + "x" * 43
    path = f"/v2/aggs/ticker/AAPL/range/1/minute/{DAY}/{DAY}"
    response = client.get(path, params={"limit": "4", "sort": "asc", "apiKey": "any"})
    found = response.json()
    following = httpx.URL(found["next_url"])
    assert following.path == path
    assert set(following.params) == {"limit", "sort", "cursor"}
    assert following.host == "127.0.0.1"
    assert response.links["next"]["url"] == found["next_url"].replace("/v2/", "/massive/v2/", 1)
    last = httpx.get(response.links["next"]["url"]).json()
    assert "next_url" not in last
    assert len(found["results"] + last["results"]) == 6
    assert client.get(path, params={"apiKey": secret}).status_code == 401  # one of our keys, which is unknown


def test_the_next_page_behind_a_prefix(filled: str, serve: Any):
    with serve(root_path="/md") as behind:
        response = httpx.get(f"{behind}/massive/v3/trades/EUR%2FUSD", params={"limit": "1"})
    assert httpx.URL(response.json()["next_url"]).raw_path.startswith(b"/v3/trades/EUR%2FUSD?")
    assert httpx.URL(response.links["next"]["url"]).raw_path.startswith(b"/md/massive/v3/trades/EUR%2FUSD?")


def test_a_cursor_belongs_to_its_request(client: httpx.Client):
    path = f"/v2/aggs/ticker/AAPL/range/1/minute/{DAY}/{DAY}"
    cursor = httpx.URL(client.get(path, params={"limit": "4"}).json()["next_url"]).params["cursor"]
    for other in (path.replace("AAPL", "BRK.B"), path.replace("/1/minute", "/2/minute"), "/v3/trades/AAPL"):
        refused = client.get(other, params={"cursor": cursor})
        assert refused.status_code == 400
        assert refused.json()["error"] == "cursor: does not belong to this request; follow next_url unchanged"


def test_days(filled: str):
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    calls = [
        ["get_previous_close_agg", ["AAPL"], {}],
        ["get_previous_close_agg", ["NOPE"], {}],
        ["get_grouped_daily_aggs", [DAY], {}],
        ["get_grouped_daily_aggs", ["2026-02-07"], {}],
        ["get_daily_open_close_agg", ["AAPL", DAY], {}],
        ["get_daily_open_close_agg", ["EUR/USD", DAY], {}],
        ["get_daily_open_close_agg", ["AAPL", "2026-02-07"], {}],
    ]
    previous, unknown, grouped, none, opened, pair, missing = call(filled, *calls)
    first, second = candles(filled, "AAPL", "1d", f"{DAY}T00:00:00Z", f"{today}T00:00:00Z")
    assert previous == [{name: each for name, each in second.items() if name != "transactions"} | {"ticker": "AAPL"}]
    assert unknown == none == []
    assert [bar["ticker"] for bar in grouped] == ["AAPL", "BRK.B", "EUR/USD", "X:BTC-USD"]
    assert grouped[0] == first | {"ticker": "AAPL"}
    figures = {name: first[name] for name in ("open", "high", "low", "close", "volume")}
    assert opened == figures | {"from_": DAY, "symbol": "AAPL", "status": "OK"}
    assert pair["symbol"] == "EUR/USD"
    assert json.loads(missing["text"]).items() >= {"status": "NOT_FOUND", "message": "Data not found."}.items()


def test_trades_are_those_of_our_own_api(filled: str):
    nanoseconds = (T0 - EPOCH) // MILLISECONDS * 1_000_000
    calls = [
        ["list_trades", ["AAPL"], {}],
        ["list_trades", ["AAPL"], {"limit": 5}],
        ["list_trades", ["AAPL"], {"limit": 5, "order": "asc", "sort": "timestamp"}],
        ["list_trades", ["AAPL", DAY], {}],
        ["list_trades", ["AAPL", nanoseconds], {}],
        ["list_trades", ["AAPL", nanoseconds + 1], {}],
        ["list_trades", ["AAPL"], {"timestamp_gt": nanoseconds, "timestamp_lte": nanoseconds + 40_000_001_000}],
        ["list_trades", ["AAPL"], {"timestamp_gte": nanoseconds, "timestamp_lt": nanoseconds + 40_000_001_000}],
        ["list_trades", ["AAPL"], {"timestamp_gt": DAY}],
        ["list_trades", ["AAPL"], {"timestamp_gte": "2026-02-10"}],
        ["list_trades", ["AAPL"], {"timestamp_gt": nanoseconds, "timestamp_lt": nanoseconds}],
        ["list_trades", ["NOPE"], {}],
        ["get_last_trade", ["AAPL"], {}],
    ]
    whole, pages, ascending, day, instant, between, *ranges, last = call(filled, *calls)
    own = httpx.get(f"{filled}/trades", params={"symbol": "AAPL"}).json()["trades"]
    expected = [
        (each["price"], each["volume"], (datetime.fromisoformat(each["timestamp"]) - EPOCH) // timedelta(microseconds=1))
        for each in own
    ]
    assert [(each["price"], each["size"], each["sip_timestamp"] / 1000) for each in whole] == expected
    assert len(whole) == 36
    assert {each["id"] for each in whole} == {"0"}
    assert pages == whole
    assert ascending == whole[::-1]
    assert day == whole[18:]
    assert instant == [whole[-1]]
    assert between == []
    assert ranges == [whole[-3:-1][::1], whole[-2:], whole[:18], [], [], []]
    newest = whole[0]
    assert (last["price"], last["size"], last["sip_timestamp"]) == (newest["price"], 1.5, newest["sip_timestamp"])
    assert last["ticker"] == "AAPL"


def test_numbers_keep_every_digit(client: httpx.Client, connection: Connection):
    store(connection, trade(5, "123456789012345.678901", "0.000000000123", symbol="LONG"))
    for path in ("/v3/trades/LONG", "/v2/last/trade/LONG", f"/v2/aggs/ticker/LONG/range/1/day/{DAY}/{DAY}"):
        text = client.get(path).text
        assert "123456789012345.678901" in text, path
        assert "0.000000000123" in text, path


@pytest.mark.parametrize("ticker", ["EUR/USD", "EUR%2FUSD", "eur%2fusd"])
def test_tickers_with_slashes(client: httpx.Client, ticker: str):
    paths = [
        f"/v2/aggs/ticker/{ticker}/range/1/day/{DAY}/{DAY}",
        f"/v2/aggs/ticker/{ticker}/prev",
        f"/v3/trades/{ticker}",
        f"/v2/last/trade/{ticker}",
        f"/v1/open-close/{ticker}/{DAY}",
        f"/v2/snapshot/locale/us/markets/stocks/tickers/{ticker}",
        f"/v3/reference/tickers/{ticker}",
    ]
    for path in paths:
        response = client.get(path)
        assert response.status_code == 200, path
        assert "EUR/USD" in response.text or response.json()["count"] == 2, path
        assert response.headers["cache-control"] == "no-store"


def test_tickers_and_the_state_of_the_market(filled: str, connection: Connection):
    connection.execute("UPDATE symbols SET active = false WHERE symbol = 'BRK.B'")
    calls = [
        ["list_tickers", [], {"limit": 1}],
        ["list_tickers", [], {"limit": 1, "order": "desc", "active": True}],
        ["list_tickers", [], {"search": "eur", "market": "stocks"}],
        ["list_tickers", [], {"active": False}],
        ["list_tickers", [], {"ticker": "AAPL"}],
        ["list_tickers", [], {"ticker": "NOPE"}],
        ["list_tickers", [], {"market": "crypto"}],
        ["list_tickers", [], {"ticker_gt": "AAPL", "ticker_lte": "EUR/USD"}],
        ["get_ticker_details", ["EUR/USD"], {}],
        ["get_ticker_details", ["NOPE"], {}],
        ["get_market_status", [], {}],
    ]
    every, reverse, searched, inactive, named, unknown, other, between, details, missing, status = call(filled, *calls)
    symbols = httpx.get(f"{filled}/symbols").json()["symbols"]
    expected = [{"ticker": each["symbol"], "name": each["name"], "active": True} for each in symbols if each["active"]]
    assert [{name: each[name] for name in ("ticker", "name", "active")} for each in every] == expected
    assert len(expected) == 3
    assert reverse == every[::-1]
    assert [each["ticker"] for each in searched] == ["EUR/USD"]
    assert [each["ticker"] for each in inactive] == ["BRK.B"]
    assert [each["ticker"] for each in named] == ["AAPL"]
    assert unknown == other == []
    assert [each["ticker"] for each in between] == ["EUR/USD"]
    assert details["name"] == "EUR/USD Ltd."
    assert json.loads(missing["text"])["status"] == "NOT_FOUND"
    assert (status["market"], status["exchanges"]["nyse"], status["after_hours"]) == ("open", "open", False)


def test_snapshots_are_those_of_our_own_api(base: str, connection: Connection):
    now = now_within_minute(30)
    yesterday = now - timedelta(days=1)
    figures = [(yesterday, "AAPL", "100"), (now, "AAPL", "101.5"), (yesterday, "MSFT", "7"), (now, "EUR/USD", "1.08")]
    store(connection, *((time, symbol, 0, Decimal(price), Decimal("2.5")) for time, symbol, price in figures))
    connection.execute("INSERT INTO symbols (symbol, name) VALUES ('NONE', 'Never traded')")
    calls = [
        ["get_snapshot_all", ["stocks"], {}],
        ["get_snapshot_all", ["stocks"], {"tickers": ["AAPL", "NOPE", "EUR/USD"]}],
        ["get_snapshot_ticker", ["stocks", "MSFT"], {}],
        ["get_snapshot_ticker", ["stocks", "NONE"], {}],
        ["list_universal_snapshots", [], {"limit": 2}],
        ["list_universal_snapshots", [], {"ticker_any_of": ["AAPL", "NOPE", "NONE"]}],
    ]
    every, some, msft, never, pages, named = call(base, *calls)
    own = {each["symbol"]: each for each in httpx.get(f"{base}/snapshots").json()["snapshots"]}
    assert [each["ticker"] for each in every] == sorted(own) == ["AAPL", "EUR/USD", "MSFT"]
    assert some == every[:2]
    assert msft == every[2]
    assert "NOT_FOUND" in never["text"]
    for found in every:
        expected = own[found["ticker"]]
        for name, candle in (("day", "day"), ("prev_day", "previous_day"), ("min", "minute")):
            if expected[candle] is None:
                assert name not in found
            else:
                assert {key: found[name][key] for key in bar_of(expected[candle])} == bar_of(expected[candle])
        assert found["last_trade"]["price"] == expected["latest"]["price"]
        assert found["last_trade"]["sip_timestamp"] == found["updated"]
    assert (every[0]["todays_change"], every[0]["todays_change_percent"]) == (1.5, 1.5)
    assert every[0]["min"]["accumulated_volume"] == 2.5
    assert "todays_change" not in every[1]
    assert [each["ticker"] for each in pages] == ["AAPL", "EUR/USD", "MSFT", "NONE"]
    assert pages[0]["session"]["previous_close"] == 100
    assert pages[0]["session"]["change"] == pages[0]["session"]["change_percent"] == 1.5
    assert pages[0]["last_trade"]["price"] == pages[0]["last_minute"]["close"] == 101.5
    assert [each.get("error") for each in named] == [None, None, "NOT_FOUND"]


@pytest.mark.parametrize("package", [MASSIVE, POLYGON], ids=["massive", "polygon"])
def test_the_same_over_both_clients(filled: str, package: tuple[str, str]):
    """The older client does not ignore fields that it does not know."""
    days = "2026-02-08", "2026-02-09"
    calls = [
        ["list_aggs", ["AAPL", 1, "minute", *days], {"limit": 5}],
        ["list_trades", ["AAPL"], {"limit": 20}],
        ["list_universal_snapshots", [], {"ticker_any_of": ["AAPL", "NOPE"]}],
        ["get_snapshot_ticker", ["stocks", "AAPL"], {}],
    ]
    bars, trades, universal, snapshot = call(filled, *calls, client=package)
    assert bars == candles(filled, "AAPL", "1m", f"{DAY}T00:00:00Z", "2026-02-10T00:00:00Z")
    assert len(trades) == 36
    assert [each.get("error") for each in universal] == [None, "NOT_FOUND"]
    assert snapshot["ticker"] == "AAPL"
