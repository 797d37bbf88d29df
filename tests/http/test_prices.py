"""`GET /price/latest`, `GET /price`, `GET /prices/latest` and `GET /snapshots`."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from helpers.support import Connection, now_within_minute, store, trade
from litestar.testing import TestClient


@pytest.mark.parametrize("path", ["/price/latest", "/price"])
def test_latest_price_is_the_newest_trade_by_time_then_trade_id(client: TestClient, connection: Connection, path: str):
    store(connection, trade(0, "1"), trade(2, "104.90", "12.50", trade_id=7), trade(2, "3", trade_id=2), trade(1, "4"))
    response = client.get(path, params={"symbol": "aapl"})
    assert response.status_code == 200
    assert response.text == '{"symbol":"AAPL","price":104.9,"volume":12.5,"timestamp":"2026-02-08T10:30:02Z"}'


def test_404_distinguishes_a_symbol_without_trades_from_an_unknown_one(client: TestClient, connection: Connection):
    connection.execute("INSERT INTO symbols (symbol, name) VALUES ('MSFT', 'Microsoft')")
    without = client.get("/price/latest?symbol=MSFT")
    unknown = client.get("/price/latest?symbol=ACME")
    assert (without.status_code, unknown.status_code) == (404, 404)
    assert "no trade yet" in without.json()["detail"]
    assert "no symbol ACME" in unknown.json()["detail"]


@pytest.mark.parametrize(
    ("stored", "sent"),
    [
        ("104.90", "104.9"),
        ("0.1", "0.1"),
        ("100.00", "100"),
        ("123456789.123456", "123456789.123456"),
        ("99999999999999.9", "99999999999999.9"),
        ("0.000123456789012345", "0.000123456789012345"),
        ("0.00000000123456789012345", "0.00000000123456789012345"),
        ("100000000000000000000.0", "100000000000000000000"),
        ("0.1234567890123456789", "0.1234567890123456789"),
    ],
)
def test_numbers_are_the_shortest_form_of_the_decimal(client: TestClient, connection: Connection, stored: str, sent: str):
    store(connection, trade(0, stored, stored))
    answer = client.get("/price/latest?symbol=AAPL").text
    assert answer.startswith(f'{{"symbol":"AAPL","price":{sent},"volume":{sent},')


def test_time_has_a_fraction_only_if_it_is_not_zero(client: TestClient, connection: Connection):
    store(connection, trade(0, "1"))
    assert client.get("/price?symbol=AAPL").json()["timestamp"] == "2026-02-08T10:30:00Z"
    store(connection, trade(0.000001, "1"))
    assert client.get("/price?symbol=AAPL").json()["timestamp"] == "2026-02-08T10:30:00.000001Z"


@pytest.mark.parametrize("symbol", ["BRK.B", "EUR/USD", "BTC-USD", "ES=F", "1INCH", "A^B_C", "A" * 32])
def test_every_valid_symbol_can_be_requested(client: TestClient, connection: Connection, symbol: str):
    store(connection, trade(0, "1", symbol=symbol))
    response = client.get("/price/latest", params={"symbol": symbol.lower()})
    assert response.json()["symbol"] == symbol


def test_similar_symbols_are_not_confused(client: TestClient, connection: Connection):
    store(connection, trade(0, "1"), trade(9, "2", symbol="AAPLX"), trade(9, "3", symbol="AAP"))
    assert client.get("/price/latest?symbol=AAPL").json()["price"] == 1


def test_coalesced_requests_see_trades_stored_before_them(client: TestClient, connection: Connection):
    symbols = ("AAPL", "MSFT", "NVDA")
    store(connection, *(trade(0, "1", symbol=symbol) for symbol in symbols))

    def store_and_read(seconds: int) -> bool:
        symbol = symbols[seconds % len(symbols)]
        store(connection, trade(seconds, str(seconds), symbol=symbol))
        answer = client.get(f"/price/latest?symbol={symbol}").json()
        return answer["symbol"] == symbol and answer["price"] >= seconds

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(store_and_read, range(2, 50)))


def test_latest_prices_are_in_alphabetical_order(client: TestClient, connection: Connection):
    store(
        connection, trade(0, "1", symbol="MSFT"), trade(1, "104.90", "12.50"), trade(0, "2"), trade(0, "3", symbol="GOOGL")
    )
    connection.execute("INSERT INTO symbols (symbol, name) VALUES ('IDLE', 'Never traded')")
    assert client.get("/prices/latest").text == (
        '{"prices":['
        '{"symbol":"AAPL","price":104.9,"volume":12.5,"timestamp":"2026-02-08T10:30:01Z"},'
        '{"symbol":"GOOGL","price":3,"volume":1,"timestamp":"2026-02-08T10:30:00Z"},'
        '{"symbol":"MSFT","price":1,"volume":1,"timestamp":"2026-02-08T10:30:00Z"}'
        '],"count":3}'
    )


def test_latest_prices_of_given_symbols_have_no_duplicates(client: TestClient, connection: Connection):
    store(connection, *(trade(0, "1", symbol=symbol) for symbol in ("AAPL", "GOOGL", "MSFT")))
    connection.execute("INSERT INTO symbols (symbol, name) VALUES ('IDLE', 'Never traded')")
    body = client.get("/prices/latest?symbols=msft,AAPL,Msft,idle").json()
    assert ([price["symbol"] for price in body["prices"]], body["count"]) == (["AAPL", "MSFT"], 2)


@pytest.mark.usefixtures("database_url")
def test_latest_prices_of_an_empty_database_are_an_empty_list(client: TestClient):
    assert client.get("/prices/latest").text == '{"prices":[],"count":0}'


def test_snapshots_agree_with_the_latest_price_and_the_candles(client: TestClient, connection: Connection):
    now = now_within_minute()
    store(connection, *(trade(0, price, symbol=symbol) for symbol, price in (("AAPL", "0.30"), ("MSFT", "8"))))
    store(connection, (now, "AAPL", 0, Decimal("0.1"), Decimal("2.50")), (now, "AAPL", 1, Decimal("0.20"), Decimal(1)))
    connection.execute("INSERT INTO symbols (symbol, name) VALUES ('IDLE', 'Never traded')")
    response = client.get("/snapshots")
    assert response.headers["content-type"] == "application/json"
    assert (response.json()["count"], client.get("/snapshots?symbols=msft,idle").json()["count"]) == (2, 1)
    snapshot, other = response.json()["snapshots"]
    assert (snapshot["symbol"], other["symbol"]) == ("AAPL", "MSFT")
    assert snapshot["latest"] == client.get("/price/latest?symbol=AAPL").json()
    for name, interval in (("day", "1d"), ("minute", "1m")):
        (candle,) = client.get(f"/candles?symbol=AAPL&interval={interval}&limit=1").json()["candles"]
        assert snapshot[name] == candle
    assert '"change":-0.1,"change_percent":-33.3333333333333333,"price_24h_ago":0.3,' in response.text


@pytest.mark.usefixtures("database_url")
def test_snapshots_of_an_empty_database_are_an_empty_list(client: TestClient):
    assert client.get("/snapshots").text == '{"snapshots":[],"count":0}'


@pytest.mark.parametrize("path", ["/prices/latest", "/snapshots"])
@pytest.mark.parametrize(
    ("unknown", "expected"),
    [
        (["ACME"], "There is no symbol ACME; GET /symbols"),
        ([f"X{number:02}" for number in range(10)], "symbol X00, X01, X02, X03, X04, X05, X06, X07, X08, X09; GET"),
        ([f"X{number:04}" for number in range(1234)], "X0008, X0009 and 1,224 more; GET"),
    ],
)
def test_unknown_symbols_in_a_list_are_named(
    client: TestClient, connection: Connection, path: str, unknown: list[str], expected: str
):
    store(connection, trade(0, "1"))
    response = client.get(path, params={"symbols": ",".join(["AAPL", *unknown])})
    assert response.status_code == 404
    assert expected in response.json()["detail"]


def test_ten_thousand_symbols_can_be_requested(client: TestClient, connection: Connection):
    symbols = [f"S{number:04}" for number in range(10_000)]
    connection.execute("INSERT INTO symbols (symbol, name) SELECT s, s FROM unnest(%s::text[]) AS s", (symbols,))
    store(connection, trade(0, "1", symbol="S5000"))
    for path in ("/prices/latest", "/snapshots"):
        assert client.get(f"{path}?symbols={','.join(symbols)}").json()["count"] == 1
