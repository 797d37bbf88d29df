"""Symbols as other systems write them, on every path that takes one, and `GET /symbols/{symbol}`."""

import csv
import io
import json
from typing import Any
from urllib.parse import quote

import httpx
import pyarrow as pa
import pytest
from helpers.sse_client import listening
from helpers.support import Connection, current_trade, store, trade
from helpers.websocket_client import command, open_websocket, receive
from litestar.testing import TestClient

from market_data.trade_validation import symbol_path

FORMS = [
    "BINANCE:BTCUSDT",
    "ES 03-26",
    "AAPL US EQUITY",
    "EUR/USD",
    "BRK.B",
    ".SPX",
    "ES #F",
    "M&M",
    "BAC+A",
    "ES1!",
    "A" * 64,
]
RANGE = {"start": "2026-02-08T10:00:00Z", "end": "2026-02-08T11:00:00Z"}

every_form = pytest.mark.parametrize("symbol", FORMS)


@every_form
def test_symbol_is_added_traded_corrected_and_cancelled(writer: TestClient, connection: Connection, symbol: str):
    added = writer.post("/symbols", json={"symbol": symbol.lower(), "name": "x"})
    assert (added.status_code, added.json()["symbol"]) == (201, symbol)
    key = {"symbol": symbol.lower(), "timestamp": "2026-02-08T10:30:00Z"}
    assert writer.post("/trades", json=[{**key, "price": 5, "volume": 1}]).json()["stored"] == 1
    line = json.dumps({**key, "price": 5, "volume": 1, "trade_id": 1})
    assert writer.post("/trades", content=line, headers={"Content-Type": "application/x-ndjson"}).json()["stored"] == 1
    assert writer.post("/trades/correct", json={**key, "price": 6, "reason": "x"}).json()["after"]["price"] == 6
    assert writer.post("/trades/cancel", json={**key, "reason": "x"}).json()["symbol"] == symbol
    assert connection.execute("SELECT symbol, price FROM latest_prices").fetchall() == [(symbol, 5)]


@every_form
def test_symbol_is_read_in_every_format(client: TestClient, connection: Connection, symbol: str):
    store(connection, trade(0, "1.5", symbol=symbol), trade(1, "2.5", symbol=symbol), trade(2, "9", symbol="OTHER"))
    given = {"symbol": symbol.lower()}
    assert client.get("/price/latest", params=given).json()["symbol"] == symbol
    assert client.get("/prices/latest", params={"symbols": f"other,{symbol.lower()}"}).json()["count"] == 2
    rows: dict[str, Any] = {"/trades": given | RANGE, "/candles": given | RANGE | {"interval": "1m"}}
    for path, parameters in rows.items():
        assert client.get(path, params=parameters).json()["symbol"] == symbol
        assert client.get(path, params=parameters | {"format": "csv"}).status_code == 200
        table = pa.ipc.open_stream(client.get(path, params=parameters | {"format": "arrow"}).content).read_all()
        assert table.num_rows in (1, 2)
    lines = csv.DictReader(io.StringIO(client.get("/trades", params=rows["/trades"] | {"format": "csv"}).text))
    assert [line["symbol"] for line in lines] == [symbol, symbol]


def test_several_symbols_are_read_in_one_call(client: TestClient, connection: Connection):
    store(connection, *[trade(second, "1.5", symbol=symbol) for symbol in FORMS for second in (0, 60)])
    parameters: dict[str, Any] = {"symbols": ",".join(FORMS).lower(), **RANGE, "limit": 5}
    for path, rows, more in (("/trades", "trades", {}), ("/candles", "candles", {"interval": "1m"})):
        answer = client.get(path, params=parameters | more)
        found: list[str] = []
        while True:
            found += [row["symbol"] for row in answer.json()[rows]]
            if "next" not in answer.links:
                break
            answer = client.get(answer.links["next"]["url"])
        assert found == sorted(FORMS * 2), path


@every_form
def test_pages_of_a_symbol_follow_each_other(client: TestClient, connection: Connection, symbol: str):
    store(connection, trade(0, "1", symbol=symbol), trade(1, "2", symbol=symbol))
    first = client.get("/trades", params={"symbol": symbol, **RANGE, "limit": 1})
    second = client.get(first.links["next"]["url"])
    assert [first.json()["trades"][0]["price"], second.json()["trades"][0]["price"]] == [2, 1]


@pytest.mark.parametrize("query", ["symbol=ES%2003-26", "symbol=ES+03-26", "symbol=es+03-26"])
def test_space_is_escaped_in_both_ways(client: TestClient, connection: Connection, query: str):
    store(connection, trade(0, "1.5", symbol="ES 03-26"))
    assert client.get(f"/price/latest?{query}").json()["symbol"] == "ES 03-26"


def names_of(symbol: str) -> dict[str, Any]:
    """Return the member that the response for one symbol has in addition."""
    return {"names": [{"name": symbol, "since": None, "until": None}]}


@every_form
def test_path_of_a_symbol_may_be_escaped_or_not(address: str, connection: Connection, symbol: str):
    store(connection, trade(0, "1", symbol=symbol))
    (listed,) = [each for each in httpx.get(f"{address}/symbols").json()["symbols"] if each["symbol"] == symbol]
    for path in (quote(symbol, safe=""), symbol_path(symbol).removeprefix("/symbols/")):
        assert httpx.get(f"{address}/symbols/{path}").json() == listed | names_of(symbol)


@every_form
def test_one_symbol_is_read_and_changed_by_its_path(writer: TestClient, symbol: str):
    added = writer.post("/symbols", json={"symbol": symbol, "name": "x"}).json()
    for path in {quote(symbol, safe=""), quote(symbol, safe="/:@!$&()*+=^"), quote(symbol.lower(), safe="/")}:
        found = writer.get(f"/symbols/{path}")
        assert (found.status_code, found.json()) == (200, added | names_of(symbol))
        assert writer.patch(f"/symbols/{path}", json={"name": "x"}).json() == added
        again = writer.get(f"/symbols/{path}", headers={"If-None-Match": found.headers.get("etag", "")})
        assert again.status_code == 200


def test_remedies_name_paths_that_work(writer: TestClient):
    writer.post("/symbols", json={"symbol": "ES #F", "name": "x"})
    answer = writer.post("/symbols", json={"symbol": "ES #F", "name": "y"})
    assert answer.json()["errors"][0]["detail"] == "ES #F is known as 'x'; PATCH /symbols/ES%20%23F changes its name"
    assert writer.patch("/symbols/ES%20%23F", json={"active": False}).status_code == 200
    answer = writer.post("/trades", json={"symbol": "ES #F", "price": 1, "volume": 1, "timestamp": "2026-02-08T10:30:00Z"})
    assert answer.json()["errors"][0]["detail"] == "ES #F is not active; PATCH /symbols/ES%20%23F activates it"


@pytest.mark.parametrize("path", ["ACME", "EUR/USD", "EUR%2FUSD", "ES%2003-26"])
def test_unknown_symbol_is_404(client: TestClient, path: str):
    answer = client.get(f"/symbols/{path}")
    assert answer.status_code == 404
    assert answer.json()["detail"].startswith("There is no symbol ")


@pytest.mark.parametrize("path", ["A%2CB", "A%20%20B", "A%22", "A" * 65, "%3DA"])
def test_malformed_symbol_in_a_path_is_400(client: TestClient, path: str):
    answer = client.get(f"/symbols/{path}")
    assert (answer.status_code, answer.json()["errors"][0]["name"]) == (400, "symbol")


def test_methods_of_one_symbol_are_listed(client: TestClient):
    answer = client.options("/symbols/EUR/USD")
    assert (answer.status_code, answer.headers["allow"]) == (204, "GET, HEAD, OPTIONS, PATCH")


@every_form
def test_symbol_is_streamed(address: str, connection: Connection, symbol: str):
    connection.execute("INSERT INTO symbols (symbol, name) VALUES (%s, 'x'), ('OTHER', 'x')", (symbol,))
    with (
        listening(address, symbols=symbol.lower(), channels="trades,candles_1m") as events,
        open_websocket(address, symbols=symbol) as by_parameter,
        open_websocket(address) as by_command,
    ):
        assert command(by_command, "subscribe", symbols=[symbol]) == {"channels": {"trades": [symbol]}}
        store(connection, current_trade("1", symbol="OTHER"), current_trade("2", symbol=symbol))
        assert [event.data["symbol"] for event in events.take(2)] == [symbol, symbol]
        assert [receive(each)["data"]["symbol"] for each in (by_parameter, by_command)] == [symbol, symbol]
