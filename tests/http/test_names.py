"""Names over time: FB became META on 2022-06-09. META was a fund before, which became METV in January 2022."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.api_keys import bearer
from helpers.service import eventually
from helpers.sse_client import listening
from helpers.support import Connection, create_patient_app, current_trade, one, serving, store
from helpers.websocket_client import command, open_websocket, receive
from litestar.testing import TestClient

from market_data.settings import Settings

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


@pytest.fixture
def market(writer: TestClient, service: TestClient, connection: Connection) -> Iterator[TestClient]:
    """A service with both instruments before their renames. Afterwards, the services forget all names."""
    for each in (writer, service):
        wait_for_names(each, any_names=False)
    add(writer, "FB", "Meta Platforms", FACEBOOK)
    add(writer, "META", "Roundhill Ball Metaverse ETF", FUND)
    yield writer
    connection.execute("DELETE FROM symbol_names")
    for each in (writer, service):
        wait_for_names(each, any_names=False)


@pytest.fixture
def renamed(market: TestClient) -> TestClient:
    """The service after both renames."""
    assert rename(market, "META", "METV", "2022-01-31").status_code == 200
    assert rename(market, "FB", "META", "2022-06-09", reason="new name").status_code == 200
    return market


def prices(client: TestClient, **parameters: Any) -> tuple[set[str], list[float], str | None]:
    """Return the symbols and prices of the trades, and `renamed_to`."""
    answer = client.get("/trades", params={"order": "asc", **parameters})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["symbol"] in {row["symbol"] for row in body["trades"]} | ({body["symbol"]} if not body["trades"] else set())
    found = {row["symbol"] for row in body["trades"]}, [row["price"] for row in body["trades"]]
    return *found, body.get("renamed_to")


def test_names_return_the_whole_history_of_the_instrument_that_has_them_or_had_them_last(renamed: TestClient):
    assert prices(renamed, symbol="META") == ({"META"}, [347, 196, 184], None)
    assert prices(renamed, symbol="fb") == ({"META"}, [347, 196, 184], "META")
    assert prices(renamed, symbol="METV") == ({"METV"}, [15, 12], None)


def test_a_day_chooses_the_instrument_that_had_the_name_then(renamed: TestClient):
    assert prices(renamed, symbol="META", on="2022-06-09") == ({"META"}, [347, 196, 184], None)
    assert prices(renamed, symbol="META", on="2022-01-30") == ({"METV"}, [15, 12], "METV")
    assert prices(renamed, symbol="FB", on="2022-06-08") == ({"META"}, [347, 196, 184], "META")
    for name, day in (("META", "2022-03-01"), ("FB", "2022-06-09"), ("METV", "2021-06-30")):
        answer = renamed.get("/trades", params={"symbol": name, "on": day})
        assert answer.status_code == 404
        remedy = f"GET /symbols/{name} shows which one has it, and since when"
        assert answer.json()["detail"] == f"No symbol had the name {name} on {day}; {remedy}."
    assert renamed.get("/trades", params={"symbol": "META", "on": "2022"}).status_code == 400


def test_former_names_are_linked_to_the_present_ones(renamed: TestClient):
    answer = renamed.get("/trades", params={"symbol": "FB", "on": "2021-06-30", "limit": 1})
    following, canonical = answer.headers["link"].split(", ")
    assert following.endswith('; rel="next"')
    assert canonical == '</trades?symbol=META&limit=1>; rel="canonical"'
    page = renamed.get(following[1:].partition(">")[0])
    assert [row["price"] for row in page.json()["trades"]] == [196]
    assert "link" not in renamed.get("/trades", params={"symbol": "META"}).headers
    assert renamed.get("/symbols/FB").headers["link"] == '</symbols/META>; rel="canonical"'


def test_lists_are_sorted_by_present_names(renamed: TestClient):
    for path, rows in (("/trades", "trades"), ("/candles?interval=1d", "candles")):
        answer = renamed.get(path, params={**dict(httpx.QueryParams(path.partition("?")[2])), "symbols": "METV,FB,META"})
        body = answer.json()
        assert body["symbols"] == ["META", "METV"]
        assert [row["symbol"] for row in body[rows]] == ["META"] * 3 + ["METV"] * 2
        assert body["renamed_to"] == {"FB": "META"}
        assert 'symbols=META%2CMETV>; rel="canonical"' in answer.headers["link"]
    for path, rows in (("/prices/latest", "prices"), ("/snapshots", "snapshots"), ("/symbols", "symbols")):
        body = renamed.get(path).json()
        assert [row["symbol"] for row in body[rows]] == ["META", "METV"]
        assert "renamed_to" not in body
    chosen = renamed.get("/prices/latest", params={"symbols": "FB,METV"}).json()
    assert [(row["symbol"], row["price"]) for row in chosen["prices"]] == [("META", 184), ("METV", 12)]
    assert chosen["renamed_to"] == {"FB": "META"}
    snapshot = renamed.get("/snapshots", params={"symbols": "META", "on": "2021-06-30"}).json()
    assert [row["latest"]["symbol"] for row in snapshot["snapshots"]] == ["METV"]
    assert snapshot["renamed_to"] == {"META": "METV"}


@pytest.mark.parametrize("path", ["/trades", "/candles?interval=1d"])
def test_all_formats_have_present_names(renamed: TestClient, path: str):
    def rows(form: str) -> bytes:
        parameters = dict(httpx.QueryParams(path.partition("?")[2]))
        return renamed.get(path, params={**parameters, "symbols": "FB,METV", "format": form}).content

    expected = ["META"] * 3 + ["METV"] * 2
    assert [row["symbol"] for row in csv.DictReader(io.StringIO(rows("csv").decode()))] == expected
    assert [json.loads(line)["symbol"] for line in rows("ndjson").splitlines()] == expected
    assert pa.ipc.open_stream(rows("arrow")).read_all()["symbol"].to_pylist() == expected
    assert pq.read_table(io.BytesIO(rows("parquet")))["symbol"].to_pylist() == expected


def test_prices_candles_and_explanations_follow(renamed: TestClient):
    latest = renamed.get("/price/latest", params={"symbol": "FB"}).json()
    assert (latest["symbol"], latest["price"], latest["renamed_to"]) == ("META", 184, "META")
    latest = renamed.get("/price/latest", params={"symbol": "META", "on": "2021-06-30"}).json()
    assert (latest["symbol"], latest["price"], latest["renamed_to"]) == ("METV", 12, "METV")
    candles = renamed.get("/candles", params={"symbol": "FB", "interval": "1d", "fill": "null"}).json()
    assert (candles["symbol"], candles["renamed_to"]) == ("META", "META")
    explained = renamed.get(
        "/candles/explain", params={"symbol": "META", "interval": "1d", "timestamp": "2021-06-30", "on": "2021-06-30"}
    ).json()
    assert (explained["symbol"], explained["candle"]["close"], explained["renamed_to"]) == ("METV", 15, "METV")
    range_ = {"start": "2022-06-01", "end": "2022-07-01"}
    revised = renamed.get("/candles/revised", params={"symbol": "FB", "interval": "1d", **range_})
    assert (revised.json()["symbol"], revised.json()["renamed_to"]) == ("META", "META")
    revisions = renamed.get("/revisions", params={"symbols": "FB,METV", "interval": "1d", "since_version": 0})
    assert {row["symbol"] for row in revisions.json()["revisions"]} <= {"META", "METV"}
    assert revisions.json()["renamed_to"] == {"FB": "META"}


def test_names_are_those_of_now_as_of_any_version(market: TestClient):
    version = int(market.get("/trades", params={"symbol": "FB"}).headers["data-version"])
    before = market.get("/trades", params={"symbol": "FB", "as_of": version})
    rename(market, "META", "METV", "2022-01-31")
    rename(market, "FB", "META", "2022-06-09")
    for name in ("FB", "META"):
        after = market.get("/trades", params={"symbol": name, "as_of": version})
        assert after.json()["symbol"] == "META"
        assert [row["price"] for row in after.json()["trades"]] == [row["price"] for row in before.json()["trades"]]
        assert after.headers["etag"] != before.headers["etag"]
    fund = market.get("/prices/latest", params={"symbols": "META", "on": "2021-01-01", "as_of": version}).json()
    assert [(row["symbol"], row["price"]) for row in fund["prices"]] == [("METV", 12)]


def test_entity_tags_change_with_names(market: TestClient):
    parameters = {"symbol": "FB", "start": "2021-01-01", "end": "2023-01-01"}
    tag = market.get("/trades", params=parameters).headers["etag"]
    assert market.get("/trades", params=parameters, headers={"If-None-Match": tag}).status_code == 304
    rename(market, "FB", "META2", "2022-06-09")
    changed = market.get("/trades", params=parameters, headers={"If-None-Match": tag})
    assert (changed.status_code, changed.json()["symbol"]) == (200, "META2")


def test_symbol_has_its_names(renamed: TestClient, connection: Connection):
    body = renamed.get("/symbols/META").json()
    assert (body["symbol"], body["name"]) == ("META", "Meta Platforms")
    assert body["names"] == [
        {"name": "FB", "since": None, "until": "2022-06-09T00:00:00Z"},
        {"name": "META", "since": "2022-06-09T00:00:00Z", "until": None},
    ]
    assert renamed.get("/symbols/FB").json() == {**body, "renamed_to": "META"}
    given = connection.execute("SELECT name, symbol, actor, reason FROM symbol_names WHERE since IS NOT NULL ORDER BY since")
    assert given.fetchall() == [("METV", "META", "tester", None), ("META", "FB", "tester", "new name")]
    changed = renamed.patch("/symbols/FB", json={"type": "stock"})
    assert (changed.json()["symbol"], changed.json()["type"]) == ("META", "stock")


def test_symbol_that_was_never_renamed_has_one_name(market: TestClient):
    assert market.get("/symbols/FB").json()["names"] == [{"name": "FB", "since": None, "until": None}]


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


def test_service_that_starts_later_reads_the_names(
    renamed: TestClient, make_client: Callable[[Settings], TestClient], settings: Settings
):
    with make_client(settings) as late:
        answer = late.get("/trades", params={"symbol": "META", "limit": 1})
        assert answer.json()["trades"][0]["price"] == 184
    assert renamed
