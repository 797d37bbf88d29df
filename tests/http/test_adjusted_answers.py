"""Adjusted answers: formats, several symbols, snapshots, versions, entity tags and page tokens."""

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import httpx
import pyarrow as arrow
from helpers.adjustments import ACTIONS, FIRST, UNTIL, Action, at, dividend, random_trades, split
from helpers.support import Connection, store
from litestar.testing import TestClient
from pyarrow import parquet

ADJUSTMENTS = ("split", "dividend", "all")


def test_all_formats_have_the_same_adjusted_figures(client: TestClient, connection: Connection):
    store(connection, *random_trades(3, FIRST, UNTIL, 200))
    for action in ACTIONS:
        action.add(connection)
    for path in ("/candles?interval=4h&", "/trades?order=asc&"):
        url = f"{path}symbol=AAPL&start={FIRST:%Y-%m-%d}&end={UNTIL:%Y-%m-%d}&adjustment=all&limit=1000"
        body = client.get(url).json()
        name, column = ("candles", "close") if "candles" in body else ("trades", "price")
        expected = [row[column] for row in body[name]]
        lines = client.get(f"{url}&format=csv").text.splitlines()
        place = lines[0].split(",").index(column)
        assert [float(line.split(",")[place]) for line in lines[1:]] == expected
        assert arrow.ipc.open_stream(client.get(f"{url}&format=arrow").content).read_all()[column].to_pylist() == expected
        content = client.get(f"{url}&format=parquet").content
        assert parquet.read_table(io.BytesIO(content))[column].to_pylist() == expected


def test_several_symbols_are_adjusted_each_to_its_own_actions(client: TestClient, connection: Connection):
    store(connection, at("2024-03-01", "100"), at("2024-03-01", "100", symbol="MSFT"))
    split("2024-03-05", "4").add(connection)
    split("2024-03-05", "5", symbol="MSFT").add(connection)
    parameters = {"symbols": "AAPL,MSFT", "start": "2024-03-01", "end": "2024-03-02", "adjustment": "all"}
    found = client.get("/candles", params={**parameters, "interval": "1h"}).json()["candles"]
    assert [row["close"] for row in found] == [25, 20]
    assert [row["price"] for row in client.get("/trades", params=parameters).json()["trades"]] == [25, 20]
    latest = client.get("/prices/latest", params={"symbols": "AAPL,MSFT", "adjustment": "split"}).json()["prices"]
    assert [(row["price"], row["volume"]) for row in latest] == [(25, 4), (20, 5)]
    assert client.get("/price?symbol=MSFT&adjustment=all").json()["price"] == 20
    assert client.get("/price?symbol=MSFT&adjustment=dividend").json()["price"] == 100


def test_adjusted_snapshots_have_prices_of_one_scale(client: TestClient, connection: Connection):
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    store(
        connection,
        (midnight - timedelta(hours=20), "AAPL", 0, Decimal(120), Decimal(1)),
        (midnight, "AAPL", 0, Decimal(30), Decimal(5)),
        (midnight - timedelta(hours=20), "MSFT", 0, Decimal(7), Decimal(1)),
    )
    Action("split", midnight.date(), ("4", "1")).add(connection)
    found = client.get("/snapshots?adjustment=all").json()["snapshots"]
    raw = client.get("/snapshots").json()["snapshots"]
    apple, microsoft = found
    assert apple["latest"] == raw[0]["latest"]
    assert (apple["previous_day"]["close"], apple["previous_day"]["volume"]) == (30, 4)
    assert apple["day"] == raw[0]["day"]
    assert apple["previous_close"] == 30
    assert microsoft == raw[1]
    (ahead,) = client.get("/snapshots?adjustment=all&symbols=MSFT").json()["snapshots"]
    assert ahead == microsoft


def test_answers_change_their_version_and_tag_with_an_action(client: TestClient, connection: Connection):
    store(connection, at("2024-03-01", "100"), at("2024-03-08", "100"))
    urls = [
        "/candles?symbol=AAPL&interval=1h&start=2024-03-01&end=2024-03-02&adjustment=all",
        "/candles?symbol=AAPL&interval=3m&start=2024-03-01&end=2024-03-02&adjustment=all",
        "/candles?symbol=AAPL&interval=1d&start=2024-03-01&end=2024-03-02&adjustment=all&fill=null",
        "/trades?symbol=AAPL&start=2024-03-01&end=2024-03-02&adjustment=all",
    ]

    def answers() -> list[httpx.Response]:
        return [client.get(url) for url in urls]

    changes: list[Callable[[], object]] = [
        lambda: dividend("2024-03-05", "10").add(connection),
        lambda: connection.execute(  # a later trade before the ex-date, outside of the range
            "INSERT INTO trades (symbol, time, trade_id, price, volume) VALUES ('AAPL', '2024-03-04Z', 0, 50, 1)"
        ),
        lambda: split("2024-03-06", "2").add(connection),
        lambda: connection.execute(
            """
            UPDATE corporate_actions SET ended_write_id = reference_write(), ended_by = 'x', ended_at = now()
            WHERE type = 'split'
            """
        ),
    ]
    before = answers()
    for change in changes:
        same = [
            client.get(url, headers={"If-None-Match": old.headers["etag"]}) for url, old in zip(urls, before, strict=True)
        ]
        assert [each.status_code for each in same] == [304] * len(urls)
        change()
        after = answers()
        for url, old, new in zip(urls, before, after, strict=True):
            assert old.headers["etag"] != new.headers["etag"], url
            assert old.text != new.text
            assert int(old.headers["data-version"]) < int(new.headers["data-version"])
            past = client.get(f"{url}&as_of={old.headers['data-version']}")
            assert past.json() == old.json(), "actions and trades that were not known then do not count"
        before = after


def test_adjustments_have_different_tags_and_page_tokens(client: TestClient, connection: Connection):
    store(connection, *random_trades(3, FIRST, UNTIL, 50))
    for action in ACTIONS:
        action.add(connection)
    url = "/candles?symbol=AAPL&interval=1h&start=2024-02-26&end=2024-03-20&limit=5"
    found = {each: client.get(f"{url}&adjustment={each}") for each in ("raw", *ADJUSTMENTS)}
    assert len({each.headers["etag"] for each in found.values()}) == 4
    assert found["raw"].headers["etag"] == client.get(url).headers["etag"]
    token = found["all"].json()["next_page_token"]
    assert client.get(f"{url}&adjustment=all&page_token={token}").status_code == 200
    assert client.get(f"{url}&page_token={token}").status_code == 400
    assert client.get(f"{url}&adjustment=split&page_token={token}").status_code == 400


def test_adjustment_can_not_be_combined_with_candles_of_their_close(client: TestClient, connection: Connection):
    store(connection, at("2024-03-01", "100"))
    wrong = client.get("/candles?symbol=AAPL&interval=1h&as_of=close&adjustment=split")
    assert (wrong.status_code, wrong.json()["errors"][0]["name"]) == (400, "as_of")
    wrong = client.get("/candles?symbol=AAPL&interval=1h&adjustment=both")
    assert (wrong.status_code, wrong.json()["errors"][0]["name"]) == (400, "adjustment")
