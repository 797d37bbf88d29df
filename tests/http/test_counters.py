"""Counters of `GET /metrics`: files of pages, trades written over HTTP, and rejections by reason."""

from collections.abc import Callable
from typing import Any

import msgspec
from helpers.api_keys import bearer
from helpers.scraping import scraped
from helpers.support import Connection, store, trade
from litestar.testing import TestClient
from prometheus_client import REGISTRY

from market_data.api.dashboard import SOURCES
from market_data.settings import Settings

MakeClient = Callable[[Settings], TestClient]


def test_all_files_of_pages_share_one_series(client: TestClient):
    names = sorted(SOURCES)
    assert len(names) > 30
    for name in names:
        client.get(f"/assets/dashboard/{name}")
    client.get("/assets/swagger-ui-bundle.js")
    paths = {dict(labels).get("path", "") for _, labels in scraped(client)}
    assert {path for path in paths if path.startswith("/assets")} == {"/assets/{name}"}


GIVEN = {"symbol": "AAPL", "price": 1, "volume": 1, "timestamp": "2026-02-08T10:30:00Z"}


def test_trades_written_and_rejected_over_http_are_counted(writer: TestClient, connection: Connection):
    def counts(name: str, label: str) -> dict[str, float]:
        return {
            dict(labels)[label]: number
            for (each, labels), number in scraped(writer).items()
            if each == f"market_data_{name}"
        }

    def changes(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
        return {name: number - before[name] for name, number in after.items() if number != before[name]}

    store(connection, trade(60, "5"))
    connection.execute("INSERT INTO symbols (symbol, name, active) VALUES ('OLD', 'Old', false)")
    written, rejected = counts("trades_written_total", "action"), counts("trades_rejected_total", "reason")
    assert written.keys() == {"stored", "corrected", "cancelled"}
    writer.post("/trades", json=[GIVEN, GIVEN | {"trade_id": 1}, GIVEN | {"trade_id": 2}])
    writer.post("/trades", json=GIVEN)
    for _ in range(2):
        writer.post("/trades/correct", json=GIVEN | {"price": 2, "reason": "late"})
        writer.post("/trades/cancel", json=trade_key(1) | {"reason": "twice"})
    assert changes(written, counts("trades_written_total", "action")) == {"stored": 3, "corrected": 1, "cancelled": 1}
    mixed = [
        GIVEN | {"trade_id": 9},
        GIVEN | {"price": -1},
        GIVEN | {"symbol": "NONE"},
        GIVEN | {"symbol": "OLD"},
        GIVEN | {"timestamp": "2999-01-01T00:00:00Z"},
        GIVEN | {"trade_id": 2, "price": 3},
        GIVEN | {"trade_id": 1},
    ]
    assert writer.post("/trades?partial=true", json=mixed).json()["stored"] == 1
    expected = {"invalid": 1, "unknown_symbol": 1, "inactive_symbol": 1, "future": 1, "conflict": 1, "cancelled": 1}
    assert changes(rejected, counts("trades_rejected_total", "reason")) == expected
    assert writer.post("/trades", json=[mixed[0], mixed[2]]).status_code == 400
    assert writer.post("/trades", json=[mixed[0], mixed[1]]).status_code == 400
    expected |= {"invalid": 2, "unknown_symbol": 2}
    assert changes(rejected, counts("trades_rejected_total", "reason")) == expected


def trade_key(trade_id: int) -> dict[str, Any]:
    return {"symbol": "AAPL", "timestamp": GIVEN["timestamp"], "trade_id": trade_id}


def test_rejected_requests_are_counted_by_reason(settings: Settings, make_client: MakeClient, keys: dict[str, str]):
    strict = msgspec.structs.replace(settings, rate_limit=8, allowed_hosts="testserver.local")
    reasons = [
        "bad_parameters",
        "unauthorized",
        "forbidden",
        "not_found",
        "method_not_allowed",
        "unsupported_coding",
        "foreign_host",
    ]
    write = {**bearer(keys["write"]), "Content-Type": "application/json"}

    def count(reason: str) -> float:
        return REGISTRY.get_sample_value("market_data_requests_rejected_total", {"reason": reason}) or 0

    before = {reason: count(reason) for reason in (*reasons, "foreign_host", "too_many_requests")}
    with make_client(strict) as client:
        client.get("/trades")
        client.get("/symbols", headers=bearer("md_wrong"))
        client.get("/trades/changes", headers=write)
        client.get("/nothing")
        client.put("/symbols")
        client.post("/trades", content=b"{}", headers={**write, "Content-Encoding": "br"})
        client.get("/symbols", headers={"Host": "other.example"})
        while client.get("/").status_code != 429:
            pass
        assert {reason: count(reason) - before[reason] for reason in before} == dict.fromkeys(before, 1)
