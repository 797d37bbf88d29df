"""Names over time in answers: FB is META now, and META was a fund before."""

import csv
import io
import json
from collections.abc import Callable

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.renames import prices, rename
from helpers.support import Connection
from litestar.testing import TestClient

from market_data.settings import Settings


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


def test_service_that_starts_later_reads_the_names(
    renamed: TestClient, make_client: Callable[[Settings], TestClient], settings: Settings
):
    with make_client(settings) as late:
        answer = late.get("/trades", params={"symbol": "META", "limit": 1})
        assert answer.json()["trades"][0]["price"] == 184
    assert renamed
