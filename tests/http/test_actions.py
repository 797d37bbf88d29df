"""Corporate actions over HTTP: recording, correcting, cancelling and listing them, and their audit trail."""

from typing import Any

import pytest
from helpers.api_keys import bearer
from helpers.support import Connection, one, store, trade
from litestar.testing import TestClient

SPLIT = {"id": "s1", "type": "split", "ex_date": "2020-08-31", "ratio": "4:1"}
DIVIDEND = {"id": "d1", "type": "cash_dividend", "ex_date": "2020-08-07", "amount": 0.82}
ACTIONS = "/symbols/AAPL/actions"


@pytest.fixture
def api(writer: TestClient, known: Connection) -> TestClient:
    """Client with an API key of scope admin, and the symbols AAPL and MSFT."""
    assert known
    return writer


def post(api: TestClient, path: str, body: dict[str, Any], status: int = 200) -> Any:
    response = api.post(path, json=body)
    assert response.status_code == status, response.text
    return response.json()


def test_actions_are_listed_by_ex_date(api: TestClient):
    made = post(api, ACTIONS, SPLIT, 201)
    assert made == {**SPLIT, "amount": None, "symbol": "AAPL", "recorded_at": made["recorded_at"]}
    post(api, "/symbols/aapl/actions", DIVIDEND, 201)
    found = api.get(ACTIONS).json()
    assert (found["symbol"], found["count"]) == ("AAPL", 2)
    assert [(each["id"], each["ratio"], each["amount"]) for each in found["actions"]] == [
        ("d1", None, 0.82),
        ("s1", "4:1", None),
    ]
    assert api.get("/symbols/MSFT/actions").json() == {"symbol": "MSFT", "actions": [], "count": 0}


@pytest.mark.parametrize("ratio", ["4:1", 4, "4", "8:2", "4.0", " 4 : 1"])
def test_the_same_action_again_changes_nothing(api: TestClient, known: Connection, ratio: Any):
    post(api, ACTIONS, SPLIT, 201)
    version = one(known, "SELECT newest_version()")
    assert post(api, ACTIONS, SPLIT | {"ratio": ratio})["ratio"] == "4:1"
    assert one(known, "SELECT newest_version()") == version


@pytest.mark.parametrize(
    ("field", "value"),
    [("ratio", "5:1"), ("ex_date", "2020-09-01"), ("type", "stock_dividend")],
)
def test_an_id_with_other_values_is_a_conflict_that_names_the_field(api: TestClient, field: str, value: str):
    post(api, ACTIONS, SPLIT, 201)
    problem = post(api, ACTIONS, SPLIT | {field: value}, 409)
    assert [each["name"] for each in problem["errors"]] == [field]
    post(api, "/symbols/MSFT/actions", SPLIT | {field: value}, 201)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"ratio": 0}, "ratio"),
        ({"ratio": "4:0"}, "ratio"),
        ({"ratio": "-4"}, "ratio"),
        ({"ratio": "4:1:1"}, "ratio"),
        ({"ratio": "1e3"}, "ratio"),
        ({"ratio": "1" * 13}, "ratio"),
        ({"ratio": None}, "ratio"),
        ({"ratio": "NaN"}, "ratio"),
        ({"amount": 1}, "amount"),
        ({"type": "merger"}, "type"),
        ({"type": "cash_dividend"}, "amount"),
        ({"type": "spin_off", "amount": 1}, "amount"),
        ({"ex_date": "2020-02-30"}, "ex_date"),
        ({"ex_date": "2020-08-31T00:00:00Z"}, "ex_date"),
        ({"ex_date": "1899-12-31"}, "ex_date"),
        ({"ex_date": 20200831}, "ex_date"),
        ({"id": ""}, "id"),
        ({"id": "x" * 201}, "id"),
        ({"id": "a\nb"}, "id"),
        ({"id": 7}, "id"),
        ({"currency": "USD"}, "currency"),
    ],
)
def test_a_wrong_body_is_refused_and_the_field_named(api: TestClient, change: dict[str, Any], field: str):
    problem = post(api, ACTIONS, SPLIT | change, 400)
    assert field in [each["name"] for each in problem["errors"]]
    assert api.get(ACTIONS).json()["count"] == 0


@pytest.mark.parametrize("missing", ["id", "type", "ex_date", "ratio"])
def test_a_missing_field_is_named(api: TestClient, missing: str):
    problem = post(api, ACTIONS, {name: value for name, value in SPLIT.items() if name != missing}, 400)
    assert [each["name"] for each in problem["errors"]] == [missing]


def test_actions_of_unknown_symbols_and_unknown_actions_are_not_found(api: TestClient):
    post(api, "/symbols/NONE/actions", SPLIT, 404)
    assert api.get("/symbols/NONE/actions").status_code == 404
    assert api.get("/symbols/NONE/actions/changes").status_code == 404
    for path, body in (("correct", {"ratio": 5}), ("cancel", {})):
        post(api, f"{ACTIONS}/{path}", {"id": "s1", "reason": "x", **body}, 404)
        post(api, f"/symbols/NONE/actions/{path}", {"id": "s1", "reason": "x", **body}, 404)


def test_corrections_and_cancellations_are_in_the_audit_trail(api: TestClient):
    post(api, ACTIONS, SPLIT, 201)
    correction = {"id": "s1", "ratio": "5:1", "reason": "misread"}
    made = post(api, f"{ACTIONS}/correct", correction)
    assert (made["changed"], made["change"], made["actor"], made["reason"]) == (True, "correct", "tester", "misread")
    assert (made["before"]["ratio"], made["after"]["ratio"]) == ("4:1", "5:1")
    assert post(api, f"{ACTIONS}/correct", correction) == made | {"changed": False}
    assert post(api, ACTIONS, SPLIT | {"ratio": 5})["ratio"] == "5:1"
    cancelled = post(api, f"{ACTIONS}/cancel", {"id": "s1", "reason": "withdrawn"})
    assert (cancelled["changed"], cancelled["change"], cancelled["after"]) == (True, "cancel", None)
    assert post(api, f"{ACTIONS}/cancel", {"id": "s1", "reason": "again"}) == cancelled | {"changed": False}
    assert api.get(ACTIONS).json()["count"] == 0
    assert "cancelled" in post(api, ACTIONS, SPLIT, 409)["detail"]
    assert "cancelled" in post(api, f"{ACTIONS}/correct", correction, 404)["detail"]
    trail = api.get(f"{ACTIONS}/changes").json()
    assert [(each["change"], each["reason"], each["actor"]) for each in trail["changes"]] == [
        ("cancel", "withdrawn", "tester"),
        ("correct", "misread", "tester"),
        ("record", None, "tester"),
    ]
    assert trail["count"] == 3


def test_a_correction_may_change_the_type_with_its_value(api: TestClient):
    post(api, ACTIONS, SPLIT, 201)
    wrong = post(api, f"{ACTIONS}/correct", {"id": "s1", "type": "cash_dividend", "reason": "x"}, 400)
    assert [each["name"] for each in wrong["errors"]] == ["amount"]
    wrong = post(api, f"{ACTIONS}/correct", {"id": "s1", "reason": "x"}, 400)
    made = post(api, f"{ACTIONS}/correct", {"id": "s1", "type": "cash_dividend", "amount": "0.5", "reason": "x"})
    assert made["after"] == {"type": "cash_dividend", "ex_date": "2020-08-31", "ratio": None, "amount": 0.5}


def test_actions_of_the_past_are_those_that_were_known(api: TestClient, known: Connection):
    versions = [one(known, "SELECT newest_version()")]
    for path, body, status in (
        (ACTIONS, SPLIT, 201),
        (f"{ACTIONS}/correct", {"id": "s1", "ratio": "5:1", "reason": "x"}, 200),
        (f"{ACTIONS}/cancel", {"id": "s1", "reason": "x"}, 200),
    ):
        post(api, path, body, status)
        versions.append(int(api.get(ACTIONS).headers["data-version"]))
    assert versions == sorted(set(versions)), "each change takes a version"
    found = [api.get(ACTIONS, params={"as_of": version}).json()["actions"] for version in versions]
    assert [[each["ratio"] for each in actions] for actions in found] == [[], ["4:1"], ["5:1"], []]


def test_symbols_with_slashes_have_actions(api: TestClient, known: Connection):
    store(known, trade(0, "1.1", symbol="EUR/USD"))
    post(api, "/symbols/EUR/USD/actions", SPLIT, 201)
    assert post(api, "/symbols/EUR%2FUSD/actions", SPLIT)["symbol"] == "EUR/USD"
    post(api, "/symbols/EUR/USD/actions/cancel", {"id": "s1", "reason": "x"})
    assert api.get("/symbols/EUR/USD/actions/changes").json()["count"] == 2


def test_recording_needs_the_scope_write_and_the_audit_trail_admin(
    client: TestClient, known: Connection, keys: dict[str, str]
):
    assert known
    for scope, status in (("read", 403), ("write", 201)):
        assert client.post(ACTIONS, json=SPLIT, headers=bearer(keys[scope])).status_code == status
    for scope, status in (("write", 403), ("admin", 200)):
        assert client.get(f"{ACTIONS}/changes", headers=bearer(keys[scope])).status_code == status
    assert client.post(ACTIONS, json=SPLIT).status_code == 401
    assert client.get(ACTIONS).status_code == 200
