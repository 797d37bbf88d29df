"""`GET /price/latest` and `GET /price`."""

import pytest
from litestar.testing import TestClient
from support import Connection, store, trade


@pytest.mark.parametrize("path", ["/price/latest", "/price"])
def test_newest_trade_by_time_then_trade_id(client: TestClient, connection: Connection, path: str):
    store(connection, trade(0, "1"), trade(2, "104.90", "12.50", trade_id=7), trade(2, "3", trade_id=2), trade(1, "4"))
    response = client.get(path, params={"symbol": "aapl"})
    assert response.status_code == 200
    assert response.text == '{"symbol":"AAPL","price":104.9,"volume":12.5,"timestamp":"2026-02-08T10:30:02Z"}'


def test_known_symbol_without_a_trade_is_told_apart_from_an_unknown_one(client: TestClient, connection: Connection):
    connection.execute("INSERT INTO symbols (symbol, name) VALUES ('MSFT', 'Microsoft')")
    without = client.get("/price/latest?symbol=MSFT")
    unknown = client.get("/price/latest?symbol=ACME")
    assert (without.status_code, unknown.status_code) == (404, 404)
    assert "no trade yet" in without.json()["detail"]
    assert "no symbol ACME" in unknown.json()["detail"]
