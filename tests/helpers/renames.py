"""Renames for tests: FB became META on 2022-06-09. META was a fund before, which became METV in January 2022."""

from typing import Any

import httpx
from helpers.service import eventually
from litestar.testing import TestClient

FACEBOOK = [("2021-06-30T14:00:00Z", 347), ("2022-06-08T14:00:00Z", 196), ("2022-06-09T14:00:00Z", 184)]
FUND = [("2021-06-30T14:30:00Z", 15), ("2022-03-01T14:30:00Z", 12)]


def add(client: TestClient, symbol: str, name: str, trades: list[tuple[str, int]]) -> None:
    assert client.post("/symbols", json={"symbol": symbol, "name": name}).status_code == 201
    rows = [{"symbol": symbol, "timestamp": time, "price": price, "volume": 1} for time, price in trades]
    assert client.post("/trades", json=rows).json()["stored"] == len(trades)


def rename(client: TestClient, symbol: str, to: str, at: str, **more: Any) -> httpx.Response:
    return client.post(f"/symbols/{symbol}/rename", json={"to": to, "at": at, **more})


def wait_for_names(client: TestClient, *, any_names: bool) -> None:
    """Wait until a service knows that there are names, or none."""
    eventually(lambda: bool(client.app.state.services.names) == any_names)


def prices(client: TestClient, **parameters: Any) -> tuple[set[str], list[float], str | None]:
    """Return the symbols and prices of the trades, and `renamed_to`."""
    answer = client.get("/trades", params={"order": "asc", **parameters})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["symbol"] in {row["symbol"] for row in body["trades"]} | ({body["symbol"]} if not body["trades"] else set())
    found = {row["symbol"] for row in body["trades"]}, [row["price"] for row in body["trades"]]
    return *found, body.get("renamed_to")
