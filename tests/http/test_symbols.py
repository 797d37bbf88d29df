"""`/symbols` and `GET /`."""

from typing import Any

import pytest
from helpers.support import Connection
from litestar.testing import TestClient

from market_data import __version__

DEFAULTS = {
    "type": "other",
    "calendar": "24/7",
    "tick_size": None,
    "listed": None,
    "delisted": None,
    "description": "",
    "aliases": [],
}
ATTRIBUTES = {
    "type": "stock",
    "tick_size": 0.01,
    "listed": "2012-05-18",
    "delisted": "2026-01-02",
    "description": "Class A common stock",
    "aliases": ["Facebook", "US30303M1027"],
}


def test_symbols_are_listed_in_alphabetical_order_with_their_names(client: TestClient, connection: Connection):
    connection.execute("""
        INSERT INTO symbols (symbol, name, created_at)
        VALUES ('MSFT', 'Microsoft', '2026-02-08T10:00:00.25Z'), ('AAPL', 'Äpfel "&" Söhne', '2026-02-08T12:00:00+02:00')
    """)
    response = client.get("/symbols")
    more = '"type":"other","calendar":"24/7","tick_size":null,"listed":null,"delisted":null,"description":"","aliases":[]'
    assert response.headers["content-type"] == "application/json"
    assert response.text == (
        '{"symbols":[{"symbol":"AAPL","name":"Äpfel \\"&\\" Söhne","created_at":"2026-02-08T10:00:00Z","active":true,'
        f'"signed":false,"currency":"USD",{more}}},{{"symbol":"MSFT","name":"Microsoft","created_at":"2026-02-08T10:00:00.250000Z",'
        '"active":true,'
        f'"signed":false,"currency":"USD",{more}}}],"count":2}}'
    )


def test_list_of_symbols_may_be_empty(client: TestClient):
    assert client.get("/symbols").text == '{"symbols":[],"count":0}'


def test_root_links_to_every_path(client: TestClient, document: dict[str, Any]):
    body = client.get("/").json()
    assert (body["service"], body["version"]) == ("market-data-platform", __version__)
    parameters = {"symbol": "ACME", "start": "2026-02-08T10:00:00Z", "end": "2026-02-08T11:00:00Z", "interval": "1m"}
    for path in body["links"].values():
        described = document["paths"].get(path, {}).get("get", {}).get("parameters", [])
        known = {each["name"] for each in described if each["in"] == "query"}
        problem = client.get(path, params={name: value for name, value in parameters.items() if name in known})
        assert problem.status_code == 200 or "no symbol ACME" in problem.json()["detail"], path
    assert {"/health", "/symbols", "/price/latest", "/trades", "/candles", "/docs", "/redoc"} < set(body["links"].values())


def test_symbol_is_added_once(writer: TestClient, connection: Connection):
    first = writer.post("/symbols", json={"symbol": "eur/usd", "name": "Euro"})
    assert first.status_code == 201
    assert first.json() | {"created_at": None} == {
        "symbol": "EUR/USD",
        "name": "Euro",
        "created_at": None,
        "active": True,
        "signed": False,
        "currency": "USD",
        **DEFAULTS,
    }
    again = writer.post("/symbols", json={"symbol": "EUR/usd", "name": "Euro"})
    assert (again.status_code, again.json()) == (200, first.json())
    other = writer.post("/symbols", json={"symbol": "EUR/USD", "name": "Franc"})
    assert other.status_code == 409
    assert other.json()["errors"] == [
        {"name": "name", "detail": "EUR/USD is known as 'Euro'; PATCH /symbols/EUR/USD changes its name"}
    ]
    assert connection.execute("SELECT symbol, name FROM symbols").fetchall() == [("EUR/USD", "Euro")]


def test_symbol_keeps_its_currency(writer: TestClient):
    body = {"symbol": "SAP", "name": "SAP SE"}
    added = writer.post("/symbols", json={**body, "currency": "eur"})
    assert (added.status_code, added.json()["currency"]) == (201, "EUR")
    for currency in ({}, {"currency": "EUR"}):
        again = writer.post("/symbols", json={**body, **currency})
        assert (again.status_code, again.json()) == (200, added.json())
    other = writer.post("/symbols", json={**body, "currency": "USD"})
    assert other.status_code == 409
    assert other.json()["errors"] == [
        {"name": "currency", "detail": "SAP is known with prices in EUR; PATCH /symbols/SAP changes that"}
    ]


def test_symbol_has_attributes(writer: TestClient):
    body = {"symbol": "META", "name": "Meta"}
    added = writer.post("/symbols", json={**body, **ATTRIBUTES})
    assert added.status_code == 201
    assert {name: added.json()[name] for name in ATTRIBUTES} == ATTRIBUTES
    names = [{"name": "META", "since": None, "until": None}]
    assert writer.get("/symbols/META").json() == {**added.json(), "names": names}
    for attributes in ({}, ATTRIBUTES, {"tick_size": "0.0100"}, {"aliases": [" Facebook", "US30303M1027 "]}):
        again = writer.post("/symbols", json={**body, **attributes})
        assert (again.status_code, again.json()) == (200, added.json())
    for name, value in {**ATTRIBUTES, **DEFAULTS, "calendar": "24/7"}.items():
        if value != ATTRIBUTES.get(name, DEFAULTS[name]):
            other = writer.post("/symbols", json={**body, name: value})
            assert other.status_code == 409
            (problem,) = other.json()["errors"]
            assert problem["name"] == name
            assert problem["detail"].startswith(f"META is known with the {name} ")
            assert problem["detail"].endswith("; PATCH /symbols/META changes that")


def test_tick_size_is_exact(writer: TestClient):
    digits = "0.000000000000000000000000000001"
    added = writer.post("/symbols", json={"symbol": "A", "name": "a", "tick_size": digits})
    assert f'"tick_size":{digits},' in added.text


def test_calendar_must_be_stored(writer: TestClient):
    body = {"symbol": "A", "name": "a"}
    remedy = "run `market-data calendars refresh XNYX`, or choose one that GET /calendars lists"
    problem = {"name": "calendar", "detail": f"XNYX is not stored; {remedy}"}
    assert writer.post("/symbols", json={**body, "calendar": "XNYX"}).json()["errors"] == [problem]
    assert writer.post("/symbols", json=body).status_code == 201
    changed = writer.patch("/symbols/A", json={"calendar": "XNYX"})
    assert (changed.status_code, changed.json()["errors"]) == (400, [problem])


def test_symbol_is_not_delisted_before_it_is_listed(writer: TestClient):
    body = {"symbol": "A", "name": "a", "listed": "2020-01-02"}
    problem = {"name": "delisted", "detail": "must not be before listed; null if it is still listed"}
    added = writer.post("/symbols", json={**body, "delisted": "2020-01-01"})
    assert (added.status_code, added.json()["errors"]) == (400, [problem])
    assert writer.post("/symbols", json=body).status_code == 201
    changed = writer.patch("/symbols/A", json={"delisted": "2020-01-01"})
    assert (changed.status_code, changed.json()["errors"]) == (400, [problem])


def test_symbol_is_renamed_and_deactivated(writer: TestClient):
    added = writer.post("/symbols", json={"symbol": "EUR/USD", "name": "Euro"}).json()
    for path in ("/symbols/eur/usd", "/symbols/EUR%2FUSD"):
        for change in (
            {"name": "Ein Euro"},
            {"active": False},
            {"currency": "CHF"},
            {"type": "fx", "calendar": "24/7", "tick_size": 0.0001, "listed": "1999-01-01", "delisted": "1999-01-01"},
            {"description": "Euro in dollars", "aliases": ["Euro", "Fiber"]},
            {"type": "other", "tick_size": None, "listed": None, "delisted": None, "description": "", "aliases": []},
            {"active": True, "name": "Euro", "currency": "USD"},
        ):
            added |= change
            changed = writer.patch(path, json=change)
            assert (changed.status_code, changed.json()) == (200, added)
    assert writer.get("/symbols").json()["symbols"] == [added]


def test_unknown_symbol_can_not_be_changed(writer: TestClient):
    answer = writer.patch("/symbols/ACME", json={"active": False})
    assert answer.status_code == 404
    assert answer.json()["detail"] == "There is no symbol ACME; GET /symbols lists the known ones."
    assert writer.patch("/symbols/A%20%20B", json={"active": False}).status_code == 400


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({}, ["symbol", "name"]),
        ({"symbol": "A  B", "name": ""}, ["symbol", "name"]),
        ({"symbol": 1, "name": 1}, ["symbol", "name"]),
        ({"symbol": "A", "name": "x" * 201}, ["name"]),
        ({"symbol": "A", "name": "   "}, ["name"]),
        ({"symbol": "A", "name": "a\nb"}, ["name"]),
        ({"symbol": "A", "name": "a\u0000"}, ["name"]),
        ({"symbol": "A", "name": None}, ["name"]),
        ({"symbol": "A", "name": "x", "active": False}, ["active"]),
        ({"symbol": "A", "name": "x", "currency": "U$"}, ["currency"]),
        ({"symbol": "A", "name": "x", "currency": None}, ["currency"]),
        ({"symbol": "A", "name": "x", "type": "bond", "calendar": "X Y", "tick_size": 0}, ["type", "calendar", "tick_size"]),
        ({"symbol": "A", "name": "x", "listed": "2022-02-30", "delisted": 2022}, ["listed", "delisted"]),
        ({"symbol": "A", "name": "x", "listed": "20220228", "tick_size": "NaN"}, ["tick_size", "listed"]),
        ({"symbol": "A", "name": "x", "description": "a\nb", "aliases": "a"}, ["description", "aliases"]),
        (
            {"symbol": "A", "name": "x", "type": None, "description": None, "aliases": None},
            ["type", "description", "aliases"],
        ),
        ("A", ["body"]),
    ],
)
def test_wrong_fields_of_a_new_symbol_are_named(writer: TestClient, body: Any, names: list[str]):
    answer = writer.post("/symbols", json=body)
    assert answer.status_code == 400
    assert [error["name"] for error in answer.json()["errors"]] == names


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({}, ["body"]),
        ({"active": "true"}, ["active"]),
        ({"active": 1, "name": ""}, ["name", "active"]),
        ({"active": None}, ["active"]),
        ({"currency": "E"}, ["currency"]),
        ({"tick_size": -1, "aliases": ["a", "a "]}, ["tick_size", "aliases"]),
        ({"aliases": [""]}, ["aliases"]),
        ({"aliases": ["a", 1]}, ["aliases"]),
        ({"aliases": ["a"] * 51}, ["aliases"]),
        ({"aliases": ["a\u0000"]}, ["aliases"]),
        ({"symbol": "B"}, ["symbol"]),
    ],
)
def test_wrong_fields_of_a_symbol_change_are_named(writer: TestClient, body: Any, names: list[str]):
    answer = writer.patch("/symbols/A", json=body)
    assert answer.status_code == 400
    assert [error["name"] for error in answer.json()["errors"]] == names
