"""Prices of 0 and less over HTTP: refused unless a symbol is signed, and right in every response."""

from decimal import Decimal
from typing import Any

import httpx
import pyarrow as pa
import pytest
from helpers.sse_client import listening
from helpers.support import Connection, current_trade, store, trade
from litestar.testing import TestClient

KEY = {"symbol": "CL", "timestamp": "2026-02-08T10:30:00Z"}
RANGE = {"symbol": "CL", "start": "2026-02-08T10:00:00Z", "end": "2026-02-08T11:00:00Z"}
PRICES = [0, -37.63, "-0.5", "-1e-8", "0.00", -13]
REMEDY = 'PATCH /symbols/CL with {"signed": true} if CL has such prices'


@pytest.fixture
def oil(writer: TestClient) -> TestClient:
    """Client with the symbol CL, which is not signed."""
    assert writer.post("/symbols", json={"symbol": "CL", "name": "Crude oil"}).json()["signed"] is False
    return writer


def given(price: Any, trade_id: int = 0) -> dict[str, Any]:
    return {**KEY, "trade_id": trade_id, "price": price, "volume": 2}


@pytest.mark.parametrize("price", PRICES)
def test_remedy_of_a_refused_price_works(oil: TestClient, price: Any):
    answer = oil.post("/trades", json=given(price))
    assert answer.status_code == 400
    (problem,) = answer.json()["errors"]
    assert (problem["name"], problem["detail"].partition("; ")[2]) == ("price", REMEDY)
    (rejected,) = oil.post("/trades?partial=true", json=[given(price)]).json()["rejected"]
    assert rejected == {"index": 0, "reason": f"price: {problem['detail']}", "conflict": False}
    assert oil.patch("/symbols/CL", json={"signed": True}).json()["signed"] is True
    assert oil.post("/trades", json=given(price)).json()["stored"] == 1
    assert oil.get("/price/latest?symbol=CL").json()["price"] == float(price)


@pytest.mark.parametrize("price", [0, "-37.63"])
def test_correction_to_such_a_price_is_refused_until_the_symbol_is_signed(oil: TestClient, price: Any):
    oil.post("/trades", json=given(10))
    correction = {**KEY, "price": price, "reason": "settlement"}
    answer = oil.post("/trades/correct", json=correction)
    assert (answer.status_code, answer.json()["errors"]) == (
        400,
        [{"name": "price", "detail": f"must be greater than 0, not '{price}'; {REMEDY}"}],
    )
    oil.patch("/symbols/CL", json={"signed": True})
    changed = oil.post("/trades/correct", json=correction).json()
    assert (changed["before"]["price"], changed["after"]["price"]) == (10, float(price))
    assert oil.get("/trades/changes?symbol=CL").json()["changes"][0]["after"]["price"] == float(price)
    assert oil.post("/trades/cancel", json={**KEY, "reason": "x"}).json()["before"]["price"] == float(price)


def test_symbol_stays_signed_until_its_negative_trades_are_gone(oil: TestClient):
    oil.patch("/symbols/CL", json={"signed": True})
    oil.post("/trades", json=given(-1))
    answer = oil.patch("/symbols/CL", json={"signed": False, "name": "Oil"})
    assert (answer.status_code, answer.json()["errors"][0]["name"]) == (409, "signed")
    assert oil.get("/symbols/CL").json()["name"] == "Crude oil"
    oil.post("/trades/cancel", json={**KEY, "reason": "x"})
    changed = oil.patch("/symbols/CL", json={"signed": False})
    assert (changed.status_code, changed.json()["signed"]) == (200, False)
    assert oil.post("/trades", json=given(-1, 1)).status_code == 400


def test_new_symbol_may_be_signed(writer: TestClient):
    body = {"symbol": "SPREAD", "name": "x", "signed": True}
    assert writer.post("/symbols", json=body).json()["signed"] is True
    assert writer.post("/symbols", json=body).status_code == 200
    assert writer.post("/symbols", json=body | {"signed": False}).json()["signed"] is True
    writer.post("/symbols", json={"symbol": "OTHER", "name": "x"})
    answer = writer.post("/symbols", json=body | {"symbol": "OTHER"})
    assert (answer.status_code, answer.json()["errors"][0]) == (
        409,
        {"name": "signed", "detail": "OTHER is known, and is not signed; PATCH /symbols/OTHER changes that"},
    )


def test_every_format_has_the_exact_prices(oil: TestClient, connection: Connection):
    oil.patch("/symbols/CL", json={"signed": True})
    assert oil.post("/trades", json=[given(price, n) for n, price in enumerate(PRICES)]).json()["stored"] == len(PRICES)
    trades = {"order": "asc", **RANGE}
    texts = ["0", "-37.63", "-0.5", "-0.00000001", "0", "-13"]
    assert [f'"price":{text},"volume":2' in oil.get("/trades", params=trades).text for text in texts] == [True] * 6
    lines = oil.get("/trades", params={**trades, "format": "csv"}).text.splitlines()
    assert [line.split(",")[1] for line in lines[1:]] == texts
    packed = pa.ipc.open_stream(oil.get("/trades", params={**trades, "format": "arrow"}).content).read_all()
    assert packed["price"].to_pylist() == [float(text) for text in texts]
    for fill in ({}, {"fill": "previous"}):
        (candle, *filled) = oil.get("/candles", params={**RANGE, "interval": "1m", **fill}).json()["candles"][-30:]
        assert [candle[name] for name in ("open", "high", "low", "close")] == [0, 0, -37.63, -13]
        assert candle["vwap"] == pytest.approx(float(sum(map(Decimal, texts)) / 6))
        assert {each["close"] for each in filled} <= {-13}


def test_zero_turnover_has_a_vwap_of_zero(oil: TestClient):
    oil.patch("/symbols/CL", json={"signed": True})
    oil.post("/trades", json=[given(-3), given(3, 1)])
    (candle,) = oil.get("/candles", params={**RANGE, "interval": "1m"}).json()["candles"]
    assert candle["vwap"] == 0


def test_events_have_such_prices(address: str, connection: Connection):
    store(connection, trade(0, "10", symbol="CL"))
    connection.execute("UPDATE symbols SET signed = true WHERE symbol = 'CL'")
    with listening(address, symbols="CL", channels="trades,candles_1m") as events:
        store(connection, current_trade("-37.63", symbol="CL"))
        added, candle = events.take(2)
        connection.execute("UPDATE trades SET price = 0 WHERE symbol = 'CL' AND price < 0")
        changed = events.next("trade")
    assert (added.data["price"], candle.data["low"], candle.data["vwap"]) == (-37.63, -37.63, -37.63)
    assert (changed.data["change"], changed.data["price"], changed.data["latest"]["price"]) == ("corrected", 0, 0)
    assert httpx.get(f"{address}/prices/latest?symbols=CL").json()["prices"][0]["price"] == 0
