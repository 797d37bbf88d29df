"""`POST /trades/cancel`, `POST /trades/correct` and `GET /trades/changes`."""

from decimal import Decimal
from typing import Any

import pytest
from helpers.support import T0, Connection, store, trade
from litestar.testing import TestClient

TIME = "2026-02-08T10:30:00Z"
THIS = {"symbol": "aapl", "timestamp": TIME, "reason": "fat finger"}
CHANGES = (
    "SELECT action, price_before, volume_before, price_after, volume_after, actor, reason FROM trade_changes ORDER BY id"
)


@pytest.fixture
def traded(writer: TestClient, connection: Connection) -> TestClient:
    store(connection, trade(-60, "100", "5"), trade(0, "104.90", "3"), trade(0, "7", "1", symbol="MSFT"))
    return writer


def price(client: TestClient) -> Any:
    return client.get("/price/latest?symbol=AAPL").json().get("price")


def test_cancelled_trade_is_deleted_and_the_previous_trade_becomes_the_latest(traded: TestClient, connection: Connection):
    assert price(traded) == 104.9
    answer = traded.post("/trades/cancel", json=THIS)
    body = answer.json()
    assert answer.status_code == 200, answer.text
    assert body.pop("changed_at") >= "2026"
    assert body.pop("id") > 0
    assert body == {
        "action": "cancel",
        "symbol": "AAPL",
        "timestamp": TIME,
        "trade_id": 0,
        "before": {"price": 104.9, "volume": 3},
        "after": None,
        "actor": "tester",
        "reason": "fat finger",
        "database_role": connection.info.user,
        "changed": True,
    }
    assert price(traded) == 100
    assert connection.execute(CHANGES).fetchall() == [("cancel", Decimal("104.90"), 3, None, None, "tester", "fat finger")]


def test_repeated_cancel_changes_nothing(traded: TestClient, connection: Connection):
    first = traded.post("/trades/cancel", json=THIS).json()
    again = traded.post("/trades/cancel", json=THIS | {"reason": "once more"})
    assert again.status_code == 200
    assert again.json() == first | {"changed": False}
    assert connection.execute("SELECT count(*) FROM trade_changes").fetchone() == (1,)


def test_cancelled_trade_can_not_be_stored_again(traded: TestClient, connection: Connection):
    at = traded.post("/trades/cancel", json=THIS).json()["changed_at"]
    same = {"symbol": "AAPL", "price": 104.9, "volume": 3, "timestamp": TIME}
    answer = traded.post("/trades", json=same)
    assert answer.status_code == 409
    assert answer.json()["errors"] == [{"name": "trade_id", "detail": f"this trade was cancelled at {at}"}]
    answer = traded.post("/trades?partial=true", json=[same, same | {"trade_id": 1}, same]).json()
    assert (answer["stored"], [each["index"] for each in answer["rejected"]]) == (1, [0, 2])
    assert connection.execute("SELECT trade_id FROM trades WHERE symbol = 'AAPL' AND time = %s", (T0,)).fetchall() == [(1,)]


def test_trade_restored_in_the_database_counts_as_existing(traded: TestClient, connection: Connection):
    traded.post("/trades/cancel", json=THIS)
    store(connection, trade(0, "104.90", "3"))
    same = {"symbol": "AAPL", "price": 104.9, "volume": 3, "timestamp": TIME}
    assert traded.post("/trades", json=same).json()["existing"] == 1


def test_corrected_trade_has_the_new_values(traded: TestClient):
    body = traded.post("/trades/correct", json=THIS | {"price": "0.12345678901234567890"}).json()
    assert (body["action"], body["changed"]) == ("correct", True)
    assert (body["actor"], body["reason"]) == ("tester", "fat finger")
    assert body["before"] == {"price": 104.9, "volume": 3}
    assert body["after"]["volume"] == 3
    assert price(traded) == 0.12345678901234568
    body = traded.post("/trades/correct", json=THIS | {"volume": 9, "price": 8}).json()
    assert (body["before"]["volume"], body["after"]) == (3, {"price": 8, "volume": 9})
    assert traded.get("/price/latest?symbol=AAPL").json()["volume"] == 9


def test_correction_to_the_same_values_changes_nothing(traded: TestClient, connection: Connection):
    never = traded.post("/trades/correct", json=THIS | {"price": "104.9000"}).json()
    assert (never["id"], never["changed_at"], never["actor"], never["reason"]) == (None, None, None, None)
    assert never["before"] == never["after"] == {"price": 104.9, "volume": 3}
    assert never["changed"] is False
    first = traded.post("/trades/correct", json=THIS | {"price": 8}).json()
    again = traded.post("/trades/correct", json=THIS | {"price": "8.0", "volume": 3}).json()
    assert again == first | {"changed": False}
    assert connection.execute("SELECT count(*) FROM trade_changes").fetchone() == (1,)


@pytest.mark.parametrize("path", ["/trades/cancel", "/trades/correct"])
def test_change_of_a_missing_trade_is_404(traded: TestClient, connection: Connection, path: str):
    more = {"price": 1} if path == "/trades/correct" else {}
    for other, expected in (
        ({"symbol": "ACME"}, "There is no symbol ACME"),
        ({"trade_id": 5}, "There is no trade of AAPL at 2026-02-08T10:30:00Z with trade_id 5."),
        ({"timestamp": "2026-02-08T10:30:00.000001Z"}, "There is no trade of AAPL at 2026-02-08T10:30:00.000001Z"),
    ):
        answer = traded.post(path, json=THIS | more | other)
        assert answer.status_code == 404
        assert answer.json()["detail"].startswith(expected)
    connection.execute("UPDATE retention SET dropped_before = '2026-01-01T00:00:00Z'")
    try:
        answer = traded.post(path, json=THIS | more | {"timestamp": "2025-12-01T00:00:00Z"})
    finally:
        connection.execute("UPDATE retention SET dropped_before = '-infinity'")
    assert answer.status_code == 404
    assert "retention horizon" in answer.json()["detail"]


def test_cancelled_trade_can_not_be_corrected(traded: TestClient):
    at = traded.post("/trades/cancel", json=THIS).json()["changed_at"]
    answer = traded.post("/trades/correct", json=THIS | {"price": 8})
    assert answer.status_code == 404
    assert answer.json()["detail"].endswith(f"was cancelled at {at}.")


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({}, ["symbol", "timestamp", "reason", "price"]),
        (THIS, ["price"]),
        (THIS | {"price": 0}, ["price"]),
        (THIS | {"price": None}, ["price"]),
        (THIS | {"price": 1, "reason": ""}, ["reason"]),
        (THIS | {"price": 1, "reason": "x" * 501}, ["reason"]),
        (THIS | {"price": 1, "reason": "a\u0000b"}, ["reason"]),
        (THIS | {"price": 1, "reason": 5}, ["reason"]),
        (THIS | {"price": 1, "trade_id": "x", "symbol": "", "timestamp": "now"}, ["symbol", "timestamp", "trade_id"]),
        (THIS | {"price": 1, "prise": 1}, ["prise"]),
        ([], ["body"]),
    ],
)
def test_all_wrong_fields_are_named(traded: TestClient, body: Any, names: list[str]):
    answer = traded.post("/trades/correct", json=body)
    assert answer.status_code == 400
    assert [error["name"] for error in answer.json()["errors"]] == names


def test_changes_made_in_the_database_are_in_the_audit_trail(traded: TestClient, connection: Connection):
    connection.execute("UPDATE trades SET price = 9 WHERE symbol = 'AAPL' AND time = %s", (T0,))
    connection.execute("UPDATE trades SET trade_id = 4, volume = 2 WHERE symbol = 'MSFT'")
    connection.execute("UPDATE trades SET write_id = 0, price = 9.0 WHERE symbol = 'AAPL' AND time = %s", (T0,))
    with connection.transaction():
        connection.execute("SELECT set_config('market_data.reason', 'wrong file', true)")
        connection.execute("DELETE FROM trades WHERE symbol = 'MSFT'")
    user = connection.execute("SELECT session_user").fetchall()[0][0]
    assert connection.execute(CHANGES).fetchall() == [
        ("correct", Decimal("104.90"), 3, 9, 3, user, None),
        ("cancel", 7, 1, None, None, user, None),
        ("cancel", 7, 2, None, None, user, "wrong file"),
    ]
    found = traded.get("/trades/changes").json()
    assert [(each["action"], each["trade_id"], each["reason"]) for each in found["changes"]] == [
        ("cancel", 4, "wrong file"),
        ("cancel", 0, None),
        ("correct", 0, None),
    ]


def test_changes_have_pages_newest_first(traded: TestClient, connection: Connection):
    for number in range(1, 6):
        traded.post("/trades/correct", json=THIS | {"price": number})
    connection.execute("DELETE FROM trades WHERE symbol = 'MSFT'")
    first = traded.get("/trades/changes?symbol=aapl&limit=3")
    assert [each["after"]["price"] for each in first.json()["changes"]] == [5, 4, 3]
    traded.post("/trades/correct", json=THIS | {"price": 77})
    second = traded.get(first.links["next"]["url"]).json()
    assert [each["after"]["price"] for each in second["changes"]] == [2, 1]
    assert (second["count"], second["next_page_token"]) == (2, None)
    assert traded.get("/trades/changes").json()["count"] == 7
    assert traded.get(f"/trades/changes?symbol=MSFT&page_token={first.json()['next_page_token']}").status_code == 400
    assert traded.get("/trades/changes?symbol=ACME").status_code == 404


def test_audit_trail_may_be_empty(writer: TestClient):
    assert writer.get("/trades/changes").json() == {"changes": [], "count": 0, "next_page_token": None}
