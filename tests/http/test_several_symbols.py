"""`symbols=A,B` of `/candles` and `/trades`: one list, one limit and one token for all symbols."""

from typing import Any

import httpx
import pytest
from helpers.support import Connection, store, trade
from litestar.testing import TestClient

HOUR = {"start": "2026-02-08T10:00:00Z", "end": "2026-02-08T11:00:00Z"}
PATHS = pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/trades", {}),
        ("/candles", {"interval": "1m"}),
        ("/candles", {"interval": "3m"}),
        ("/candles", {"interval": "1m", "fill": "null"}),
    ],
)
SYMBOLS = {"AAPL": 7, "MSFT": 3, "NVDA": 0, "TSLA": 5}


@pytest.fixture(autouse=True)
def filled(connection: Connection) -> Connection:
    """Trades of three symbols, and a symbol without any."""
    for symbol, count in SYMBOLS.items():
        connection.execute("INSERT INTO symbols (symbol, name) VALUES (%s, %s) ON CONFLICT DO NOTHING", (symbol, symbol))
        store(connection, *(trade(60 * number, str(number + 1), symbol=symbol) for number in range(count)))
    return connection


def rows(body: dict[str, Any]) -> list[Any]:
    return body["trades"] if "trades" in body else body["candles"]


def pages(client: TestClient, path: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    url = httpx.URL(path, params=parameters)
    while url:
        response = client.get(url)
        assert response.status_code == 200, response.text
        found.append(response.json())
        url = response.links.get("next", {}).get("url")
    return found


def of_each(client: TestClient, path: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of one request for each symbol, with their symbols."""
    return [
        {"symbol": symbol, **row}
        for symbol in sorted(SYMBOLS)
        for row in rows(client.get(path, params=parameters | {"symbol": symbol}).json())
    ]


@PATHS
@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 3, 7, 1000])
def test_rows_are_those_of_each_symbol_one_after_the_other(
    client: TestClient, path: str, more: dict[str, str], order: str, limit: int
):
    parameters = HOUR | more | {"order": order}
    found = pages(client, path, parameters | {"symbols": "tsla,aapl,MSFT,nvda,AAPL", "limit": limit})
    assert {(tuple(page["symbols"]), page["start"], page["end"]) for page in found} == {
        (tuple(sorted(SYMBOLS)), HOUR["start"], HOUR["end"])
    }
    assert [row for page in found for row in rows(page)] == of_each(client, path, parameters | {"limit": 1000})
    assert all(page["count"] == limit for page in found[:-1])
    assert found[-1]["count"] or len(found) == 1


@PATHS
@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [4, 9, 1000])
def test_without_start_each_symbol_has_a_share_of_the_limit(
    client: TestClient, path: str, more: dict[str, str], order: str, limit: int
):
    parameters = {"end": HOUR["end"], "order": order, **more}
    found = pages(client, path, parameters | {"symbols": ",".join(SYMBOLS), "limit": limit})
    first = [row["symbol"] for row in rows(found[0])]
    for symbol, count in SYMBOLS.items():
        expected = 60 - 30 if "fill" in more and count else count
        assert first.count(symbol) == min(limit // 4, expected if more.get("interval") != "3m" else -(-count // 3))
    together = [row for page in found for row in rows(page)]
    key = lambda row: (row["symbol"], row["timestamp"])  # noqa: E731 # a name for sorting below
    assert sorted(together, key=key) == sorted(of_each(client, path, parameters | {"limit": 1000}), key=key)
    for page in found:
        assert page["count"] <= limit
        assert page["start"] == min([row["timestamp"] for row in rows(page)], default=page["end"])
        assert [row["symbol"] for row in rows(page)] == sorted(row["symbol"] for row in rows(page))


@pytest.mark.parametrize("form", ["csv", "ndjson", "arrow", "parquet"])
def test_other_formats_have_all_symbols(client: TestClient, form: str):
    if form in ("csv", "ndjson"):
        parameters = HOUR | {"interval": "1m", "format": form}
        body = client.get("/candles", params=parameters | {"symbols": "AAPL,MSFT"}).text
        alone = [client.get("/candles", params=parameters | {"symbol": symbol}).text for symbol in ("AAPL", "MSFT")]
        assert body == alone[0] + alone[1].removeprefix(alone[0].partition("\n")[0] + "\n" if form == "csv" else "")
    else:
        response = client.get("/trades", params={"symbols": "AAPL,MSFT", "format": form})
        assert (response.status_code, response.content.count(b"MSFT") > 0) == (200, True)


@PATHS
def test_unknown_symbols_are_named(client: TestClient, path: str, more: dict[str, str]):
    for parameters in (HOUR | more | {"limit": 1}, dict(more)):
        response = client.get(path, params=parameters | {"symbols": "AAPL,ZZZZ,ACME"})
        assert response.status_code == 404
        assert "ACME, ZZZZ" in response.json()["detail"]


@PATHS
def test_limit_below_the_number_of_symbols_is_refused_without_start(client: TestClient, path: str, more: dict[str, str]):
    response = client.get(path, params={"symbols": "AAPL,MSFT", "limit": 1, **more})
    assert (response.status_code, response.json()["errors"][0]["name"]) == (400, "limit")


def test_too_many_symbols_are_refused(client: TestClient):
    symbols = ",".join(f"S{number}" for number in range(101))
    response = client.get("/trades", params={"symbols": symbols})
    assert response.json()["errors"] == [{"name": "symbols", "detail": "has 101 symbols; ask for 100 at a time"}]


def test_token_of_other_symbols_is_refused(client: TestClient):
    parameters = HOUR | {"limit": 1}
    token = client.get("/trades", params=parameters | {"symbols": "AAPL,MSFT"}).json()["next_page_token"]
    for other in ({"symbols": "AAPL,TSLA"}, {"symbols": "AAPL"}, {"symbol": "AAPL"}):
        response = client.get("/trades", params=parameters | other | {"page_token": token})
        assert response.json()["errors"][0]["name"] == "page_token"
