"""Foreign protocols after renames: FB is META now, and the fund that was META is METV."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from helpers.support import Connection, create_patient_app, current_trade, serving, store
from websockets.sync.client import connect

from market_data.settings import Settings

NAMES = """
    INSERT INTO symbol_names (name, symbol, since, until)
    VALUES
        ('META', 'META', NULL, '2022-01-31'), ('METV', 'META', '2022-01-31', NULL),
        ('FB', 'FB', NULL, '2022-06-09'), ('META', 'FB', '2022-06-09', NULL)
"""


@pytest.fixture
def base(database_url: str, connection: Connection) -> Iterator[str]:
    """URL of a service with trades of FB at 184 and of the fund at 12, both with another name now."""
    at = datetime.now(UTC) - timedelta(minutes=5)
    store(connection, *((at, symbol, 1, Decimal(price), Decimal(1)) for symbol, price in (("FB", 184), ("META", 12))))
    connection.execute(NAMES)
    with serving(create_patient_app(Settings(database_url=database_url, feed_enabled=False))) as address:
        yield address
    connection.execute("DELETE FROM symbol_names")


@pytest.fixture
def read(base: str) -> Callable[..., Any]:
    def get(path: str, **parameters: Any) -> Any:
        answer = httpx.get(f"{base}{path}", params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return get


def test_alpaca(read: Callable[..., Any]):
    assert [each["symbol"] for each in read("/alpaca/v2/assets")] == ["META", "METV"]
    assert read("/alpaca/v2/assets/FB")["symbol"] == "META"
    day = {"start": "2020-01-01T00:00:00Z", "timeframe": "1Day"}
    bars = read("/alpaca/v2/stocks/bars", symbols="FB,METV", **day)["bars"]
    assert {name: [bar["c"] for bar in some] for name, some in bars.items()} == {"FB": [184], "METV": [12]}
    assert [bar["c"] for bar in read("/alpaca/v2/stocks/META/bars", **day)["bars"]] == [184]
    latest = read("/alpaca/v2/stocks/trades/latest", symbols="META,METV")["trades"]
    assert {name: trade["p"] for name, trade in latest.items()} == {"META": 184, "METV": 12}
    assert read("/alpaca/v2/stocks/FB/snapshot")["latestTrade"]["p"] == 184
    for asof, close in {"2020-01-01": 12, "2022-07-01": 184, "2022-03-01": 184, "-": 184}.items():
        bars = read("/alpaca/v2/stocks/bars", symbols="META", asof=asof, **day)["bars"]
        assert [bar["c"] for bar in bars["META"]] == [close], asof
    others = ",".join(f"S{number}" for number in range(30))
    bars = read("/alpaca/v2/stocks/bars", symbols=f"{others},FB,META", asof="2020-01-01", **day)["bars"]
    assert {name: [bar["c"] for bar in some] for name, some in bars.items()} == {"FB": [184], "META": [12]}
    found = read("/alpaca/v1/corporate-actions", start="2022-01-31", end="2022-06-09")["corporate_actions"]
    assert [(each["old_symbol"], each["new_symbol"], each["process_date"]) for each in found["name_changes"]] == [
        ("META", "METV", "2022-01-31"),
        ("FB", "META", "2022-06-09"),
    ]
    found = read("/alpaca/v1/corporate-actions", start="2022-01-01", end="2022-12-31", symbols="FB", types="name_change")
    assert [each["new_symbol"] for each in found["corporate_actions"]["name_changes"]] == ["META"]


def test_binance(read: Callable[..., Any]):
    names = [each["symbol"] for each in read("/binance/api/v3/exchangeInfo")["symbols"]]
    assert names == ["META", "METV"]
    assert read("/binance/api/v3/ticker/price", symbol="META") == {"symbol": "META", "price": "184"}
    assert read("/binance/api/v3/ticker/price", symbol="FB") == {"symbol": "FB", "price": "184"}
    assert [each["symbol"] for each in read("/binance/api/v3/ticker/price")] == ["META", "METV"]
    assert read("/binance/api/v3/ticker/24hr", symbol="METV")["lastPrice"] == "12"
    assert read("/binance/api/v3/klines", symbol="META", interval="1d")[0][4] == "184"
    trades = read("/binance/api/v3/trades", symbol="METV")
    assert [trade["price"] for trade in trades] == ["12"]
    again = read("/binance/api/v3/historicalTrades", symbol="METV", fromId=trades[0]["id"])
    assert [trade["price"] for trade in again] == ["12"]
    assert read("/binance/api/v3/klines", symbol="METV", interval="1m", startTime=1, endTime=2) == []


def test_massive(read: Callable[..., Any]):
    assert [each["ticker"] for each in read("/massive/v3/reference/tickers")["results"]] == ["META", "METV"]
    found = read("/massive/v2/snapshot/locale/us/markets/stocks/tickers")["tickers"]
    assert [(each["ticker"], each["lastTrade"]["p"]) for each in found] == [("META", 184), ("METV", 12)]
    assert read("/massive/v2/snapshot/locale/us/markets/stocks/tickers/FB")["ticker"]["lastTrade"]["p"] == 184
    assert [each["price"] for each in read("/massive/v3/trades/META")["results"]] == [184]
    today = f"{datetime.now(UTC) - timedelta(minutes=5):%Y-%m-%d}"
    found = read(f"/massive/v2/aggs/grouped/locale/us/market/stocks/{today}")["results"]
    assert [(each["T"], each["c"]) for each in found] == [("META", 184), ("METV", 12)]


def test_udf_and_openbb(read: Callable[..., Any]):
    assert sorted(each["symbol"] for each in read("/udf/search", query="MET")) == ["META", "METV"]
    assert read("/udf/symbols", symbol="FB")["name"] == "META"
    quotes = read("/udf/quotes", symbols="FB,METV")["d"]
    assert [(each["n"], each["v"]["lp"]) for each in quotes] == [("FB", 184), ("METV", 12)]
    assert read("/udf/history", symbol="FB", resolution="1D", countback=1, to=4_000_000_000)["c"] == [184]
    assert [(each["symbol"], each["price"]) for each in read("/openbb/watch_list")] == [("META", 184), ("METV", 12)]
    assert [each["symbol"] for each in read("/openbb/trades", symbol="FB")] == ["META"]


def test_streams_show_the_names_that_clients_subscribe_to(base: str, connection: Connection):
    address = base.replace("http", "ws")
    with connect(f"{address}/binance/ws/fb@trade") as old, connect(f"{address}/binance/ws/meta@trade") as new:
        for client in (old, new):
            client.send('{"method": "LIST_SUBSCRIPTIONS", "id": 1}')
            assert "@trade" in str(client.recv(20))
        store(connection, current_trade("185", symbol="FB"))
        assert [json.loads(client.recv(10))["s"] for client in (old, new)] == ["FB", "META"]
    with connect(f"{address}/massive/ws/stocks") as client:
        client.send('{"action": "auth", "params": "x"}')
        client.send('{"action": "subscribe", "params": "T.FB,T.METV"}')
        texts = [client.recv(10) for _ in range(3)]
        assert "subscribed to: T.METV" in str(texts)
        store(connection, current_trade("186", symbol="FB"), current_trade("13", symbol="META"))
        messages: list[dict[str, Any]] = []
        while len(messages) < 2:
            messages += json.loads(client.recv(10))
        assert sorted((each["sym"], each["p"]) for each in messages) == [("FB", 186), ("METV", 13)]
