"""Renames, and what follows them: writes, new instruments, streams and other workers."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from helpers.api_keys import bearer
from helpers.renames import prices, rename
from helpers.service import eventually
from helpers.sse_client import listening
from helpers.support import Connection, create_patient_app, current_trade, one, serving, store
from helpers.websocket_client import command, open_websocket, receive
from litestar.testing import TestClient

from market_data.settings import Settings


def test_renames_are_idempotent(renamed: TestClient, connection: Connection):
    for symbol in ("FB", "META", "fb"):
        again = rename(renamed, symbol, "meta", "2022-06-09T02:00:00+02:00")
        assert (again.status_code, again.json()["symbol"]) == (200, "META")
    assert one(connection, "SELECT count(*) FROM symbol_names") == 4
    assert rename(renamed, "META", "METAX", "2024-01-01").status_code == 200
    assert rename(renamed, "FB", "META", "2022-06-09").json()["symbol"] == "METAX"
    assert rename(renamed, "METAX", "FB", "2024-02-01").json()["symbol"] == "FB"
    assert prices(renamed, symbol="FB") == ({"FB"}, [347, 196, 184], None)


@pytest.mark.parametrize(
    ("symbol", "to", "at", "part"),
    [
        ("FB", "METV", "2022-07-01", "to"),
        ("METV", "META", "2022-07-01", "to"),
        ("METV", "META", "2022-03-01", "to"),
        ("META", "META", "2022-06-10", "to"),
        ("META", "NEXT", "2022-06-09", "at"),
        ("META", "NEXT", "2021-01-01", "at"),
    ],
)
def test_conflicting_renames_are_refused(renamed: TestClient, symbol: str, to: str, at: str, part: str):
    answer = rename(renamed, symbol, to, at)
    assert answer.status_code == 409, answer.text
    assert [problem["name"] for problem in answer.json()["errors"]] == [part]
    assert prices(renamed, symbol="METV") == ({"METV"}, [15, 12], None)


def test_name_of_an_instrument_that_was_never_renamed_is_refused(market: TestClient):
    answer = rename(market, "FB", "META", "2022-06-09")
    assert answer.status_code == 409
    detail = "META is at present the name of another symbol; rename that one first"
    assert answer.json()["errors"] == [{"name": "to", "detail": detail}]


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({}, ["to", "at"]),
        ({"to": "A  B", "at": "yesterday"}, ["to", "at"]),
        ({"to": "META~2", "at": "2022-06-09"}, ["to"]),
        ({"to": "X", "at": "2999-01-01"}, ["at"]),
        ({"to": "X", "at": "2022-06-09T00:00:00"}, ["at"]),
        ({"to": "X", "at": "2022-06-31"}, ["at"]),
        ({"to": "X", "at": "2022-06-09", "reason": ""}, ["reason"]),
        ({"to": "X", "at": "2022-06-09", "actor": "me"}, ["actor"]),
    ],
)
def test_wrong_fields_of_a_rename_are_named(market: TestClient, body: Any, names: list[str]):
    answer = market.post("/symbols/FB/rename", json=body)
    assert answer.status_code == 400
    assert [problem["name"] for problem in answer.json()["errors"]] == names


def test_symbols_with_slashes_are_renamed(market: TestClient):
    assert market.post("/symbols", json={"symbol": "EUR/USD", "name": "Euro"}).status_code == 201
    for path in ("eur/usd", "EUR%2FUSD"):
        assert rename(market, path, "EUR/US", "2022-06-09").json()["symbol"] == "EUR/US"
    assert market.get("/symbols/EUR/USD").json()["renamed_to"] == "EUR/US"


def test_unknown_symbol_can_not_be_renamed(market: TestClient):
    answer = rename(market, "ACME", "NEXT", "2022-06-09")
    assert answer.status_code == 404
    assert answer.json()["detail"] == "There is no symbol ACME; GET /symbols lists the known ones."


def test_writes_go_to_the_instrument_that_had_the_name_at_the_time_of_the_trade(renamed: TestClient, connection: Connection):
    given = [("FB", "2021-01-04T15:00:00Z"), ("META", "2021-01-04T15:00:00Z"), ("META", "2023-01-03T15:00:00Z")]
    given += [("FB", "2023-01-03T15:00:01Z"), ("METV", "2021-01-04T15:00:01Z")]
    rows = [{"symbol": name, "timestamp": time, "price": 1, "volume": 1} for name, time in given]
    assert renamed.post("/trades", json=rows).json()["stored"] == 5
    stored = connection.execute("SELECT symbol, time FROM trades WHERE price = 1 ORDER BY symbol, time").fetchall()
    assert [(key, f"{time:%Y %S}") for key, time in stored] == [
        ("FB", "2021 00"),
        ("FB", "2023 00"),
        ("FB", "2023 01"),
        ("META", "2021 00"),
        ("META", "2021 01"),
    ]
    identity = {"symbol": "META", "timestamp": "2021-01-04T15:00:00Z", "reason": "test"}
    corrected = renamed.post("/trades/correct", json={**identity, "price": 2})
    assert (corrected.json()["symbol"], corrected.json()["changed"]) == ("METV", True)
    assert renamed.post("/trades/cancel", json={**identity, "symbol": "FB"}).json()["symbol"] == "META"
    changes = renamed.get("/trades/changes", params={"symbol": "FB"}).json()["changes"]
    assert [change["symbol"] for change in changes] == ["META"]


def test_new_instrument_may_take_a_former_name(renamed: TestClient, connection: Connection):
    body = {"symbol": "FB", "name": "First Bank", "type": "stock"}
    added = renamed.post("/symbols", json=body)
    assert (added.status_code, added.json()["symbol"], added.json()["name"]) == (201, "FB", "First Bank")
    again = renamed.post("/symbols", json=body)
    assert (again.status_code, again.json()) == (200, added.json())
    known = renamed.post("/symbols", json={"symbol": "META", "name": "Meta Platforms"})
    assert (known.status_code, known.json()["symbol"]) == (200, "META")
    other = renamed.post("/symbols", json={"symbol": "META", "name": "Other"})
    assert (other.status_code, other.json()["errors"][0]["name"]) == (409, "name")
    trades = [{"symbol": "FB", "timestamp": f"{year}-07-01T14:00:00Z", "price": year, "volume": 1} for year in (2021, 2024)]
    assert renamed.post("/trades", json=trades).json()["stored"] == 2
    assert prices(renamed, symbol="FB") == ({"FB"}, [2024], None)
    assert prices(renamed, symbol="META") == ({"META"}, [347, 2021, 196, 184], None)
    assert prices(renamed, symbol="FB", on="2021-06-30") == ({"META"}, [347, 2021, 196, 184], "META")
    assert [row["symbol"] for row in renamed.get("/symbols").json()["symbols"]] == ["FB", "META", "METV"]
    assert one(connection, "SELECT symbol FROM symbols WHERE name = 'First Bank'") == "FB~2"
    assert renamed.get("/trades", params={"symbol": "FB~2"}).status_code == 400
    assert renamed.get("/symbols/FB").json()["names"] == [{"name": "FB", "since": "2022-06-09T00:00:00Z", "until": None}]


def test_new_instrument_has_the_name_since_it_was_listed(renamed: TestClient):
    body = {"symbol": "FB", "name": "First Bank", "listed": "2024-05-02"}
    assert renamed.post("/symbols", json=body).status_code == 201
    assert renamed.get("/trades", params={"symbol": "FB", "on": "2023-01-01"}).status_code == 404
    assert renamed.get("/trades", params={"symbol": "FB", "on": "2024-05-02"}).status_code == 200


NAMED = "SELECT name, symbol, price::integer FROM trades_named ORDER BY time, symbol"


def test_analysts_see_the_names_of_the_time(renamed: TestClient, connection: Connection):
    assert connection.execute(NAMED).fetchall() == [
        ("FB", "FB", 347),
        ("META", "META", 15),
        ("METV", "META", 12),
        ("FB", "FB", 196),
        ("META", "FB", 184),
    ]
    for name, at, key in (
        ("META", None, "FB"),
        ("FB", None, "FB"),
        ("METV", None, "META"),
        ("META", "2022-01-30", "META"),
        ("META", "2022-03-01", "FB"),
        ("AAPL", None, "AAPL"),
    ):
        assert one(connection, "SELECT symbol_of(%s, %s::timestamptz)", name, at) == key


def test_keys_of_names_that_were_given_twice_can_be_named(renamed: TestClient, connection: Connection):
    assert renamed.post("/symbols", json={"symbol": "FB", "name": "First Bank"}).status_code == 201
    row = {"symbol": "FB", "timestamp": "2024-07-01T14:00:00Z", "price": 5, "volume": 1}
    assert renamed.post("/trades", json=row).status_code == 200
    assert ("FB", "FB~2", 5) in connection.execute(NAMED).fetchall()


@pytest.fixture
def addresses(settings: Settings) -> Iterator[tuple[str, str]]:
    """URLs of two services on the same database."""
    with serving(create_patient_app(settings)) as first, serving(create_patient_app(settings)) as second:
        yield first, second


def test_renames_reach_other_workers_and_their_streams(
    addresses: tuple[str, str], renamed: TestClient, connection: Connection, keys: dict[str, str]
):
    first, second = addresses
    eventually(lambda: httpx.get(f"{second}/trades?symbol=META").json()["trades"][0]["price"] == 184)
    with (
        listening(second, symbols="META,METV", channels="trades,candles_1m") as events,
        open_websocket(second) as socket,
    ):
        assert command(socket, "subscribe", symbols=["FB"]) == {"channels": {"trades": ["META"]}}
        store(connection, current_trade("1", symbol="FB"), current_trade("2", symbol="META"))
        assert sorted((event.name, event.data["symbol"]) for event in events.take(4)) == [
            ("candle", "META"),
            ("candle", "METV"),
            ("trade", "META"),
            ("trade", "METV"),
        ]
        assert receive(socket)["data"]["symbol"] == "META"
        body = {"to": "NEXT", "at": "2024-01-01"}
        answer = httpx.post(f"{first}/symbols/META/rename", json=body, headers=bearer(keys["write"]))
        assert (answer.status_code, answer.json()["symbol"]) == (200, "NEXT")
        eventually(lambda: httpx.get(f"{second}/price/latest?symbol=META").json().get("renamed_to") == "NEXT", 5)
        store(connection, current_trade("3", symbol="FB"))
        assert {event.data["symbol"] for event in events.take(2)} == {"NEXT"}
        assert receive(socket)["data"]["symbol"] == "NEXT"
        assert command(socket, "unsubscribe", symbols=["META"]) == {"channels": {}}
    replayed = {"from": "now-1h", "speed": "max", "channels": "trades,candles_1m"}
    for order in ("known", "time"):
        with httpx.stream("GET", f"{second}/stream", params={**replayed, "symbols": "FB", "order": order}) as response:
            assert 'rel="canonical"' in response.headers["link"]
            text = response.read().decode()
        assert '"symbol":"NEXT"' in text
        assert '"symbol":"FB"' not in text


def test_missed_events_have_present_names(address: str, renamed: TestClient, connection: Connection):
    eventually(lambda: httpx.get(f"{address}/symbols/FB").json().get("renamed_to") == "META")
    with listening(address, symbols="FB") as events:
        store(connection, current_trade("1", symbol="FB"))
        last = events.next().id
    store(connection, current_trade("2", symbol="FB"))
    with listening(address, last, symbols="META") as events:
        assert events.next().data["symbol"] == "META"
