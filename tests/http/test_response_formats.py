"""NDJSON, CSV, Arrow and Parquet of `/trades` and `/candles`."""

import csv
import io
import json
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.support import Connection, store, trade
from litestar.testing import TestClient

from market_data.api.http import row_responses

HOUR = {"symbol": "aapl", "start": "2026-02-08T10:00:00Z", "end": "2026-02-08T11:00:00Z"}
CSV, ARROW, JSON = "text/csv", "application/vnd.apache.arrow.stream", "application/json"
REQUESTS = [
    ("/trades", HOUR),
    ("/trades", HOUR | {"order": "asc"}),
    ("/candles", HOUR | {"interval": "1m"}),
    ("/candles", HOUR | {"interval": "5m", "order": "desc"}),
    ("/candles", HOUR | {"interval": "1m", "fill": "previous"}),
    ("/candles", HOUR | {"interval": "15m", "fill": "null", "order": "desc"}),
]
ALL = pytest.mark.parametrize(("path", "parameters"), REQUESTS)


@pytest.fixture
def filled(connection: Connection) -> None:
    store(
        connection,
        *(trade(61.5 * number, "104.90", "0.000001", trade_id=number - 3) for number in range(8)),
        *(trade(0.000001 * number, f"{number + 1}.25", "0") for number in range(5)),
        trade(600, "7", "0"),
        trade(0, "9", symbol="MSFT"),
        *(trade(300, "5", trade_id=number) for number in (-(2**63), 2**63 - 1)),
    )


def as_json(client: TestClient, path: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of JSON with what only the other formats repeat, and times without trailing zeros."""
    body = client.get(path, params=parameters | {"limit": 1000}).json()
    rarely_false = {"settled": True} if path == "/candles" else {}
    rows = body.get("trades") or body["candles"]
    return [{"symbol": "AAPL", **row, "timestamp": short(row["timestamp"])} | rarely_false for row in rows]


def short(time: str) -> str:
    return time.rstrip("Z").rstrip("0") + "Z" if "." in time else time


def from_csv(text: str) -> list[dict[str, Any]]:
    return [
        {name: value if name in ("symbol", "timestamp") else json.loads(value or "null") for name, value in row.items()}
        for row in csv.DictReader(io.StringIO(text))
    ]


def from_arrow(body: bytes) -> list[dict[str, Any]]:
    rows = pa.ipc.open_stream(body).read_all().to_pylist()
    return [{**row, "timestamp": short(msgspec.to_builtins(row["timestamp"]))} for row in rows]


@ALL
@pytest.mark.usefixtures("filled")
def test_csv_has_the_rows_of_json_with_the_same_names(client: TestClient, path: str, parameters: dict[str, Any]):
    response = client.get(path, params=parameters | {"format": "csv"})
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    plain = client.get(path, params=parameters | {"format": "csv"}, headers={"Accept-Encoding": "identity"})
    assert int(plain.headers["content-length"]) == len(response.content)
    assert from_csv(response.text) == as_json(client, path, parameters)
    assert response.text.splitlines()[0] == ",".join(as_json(client, path, parameters)[0])


@ALL
@pytest.mark.usefixtures("filled")
def test_arrow_has_the_rows_of_json_with_the_same_names(client: TestClient, path: str, parameters: dict[str, Any]):
    response = client.get(path, params=parameters | {"format": "arrow"})
    assert response.headers["content-type"] == ARROW
    found = from_arrow(response.content)
    assert found == as_json(client, path, parameters)
    assert list(found[0]) == list(as_json(client, path, parameters)[0])


@ALL
@pytest.mark.usefixtures("filled")
def test_parquet_has_the_rows_and_types_of_arrow(client: TestClient, path: str, parameters: dict[str, Any]):
    response = client.get(path, params=parameters | {"format": "parquet"})
    assert response.headers["content-type"] == "application/vnd.apache.parquet"
    assert response.headers["accept-ranges"] == "bytes"
    arrow = pa.ipc.open_stream(client.get(path, params=parameters | {"format": "arrow"}).content).read_all()
    assert pq.read_table(io.BytesIO(response.content)) == arrow
    assert arrow.num_rows


@ALL
@pytest.mark.usefixtures("filled")
def test_ndjson_has_a_row_of_json_per_line(client: TestClient, path: str, parameters: dict[str, Any]):
    response = client.get(path, params=parameters | {"format": "ndjson"})
    assert response.headers["content-type"] == "application/x-ndjson"
    assert response.text.endswith("}\n")
    rows = [json.loads(line) for line in response.text.splitlines()]
    rarely_false = {"settled": True} if path == "/candles" else {}
    assert [{**row, "timestamp": short(row["timestamp"])} | rarely_false for row in rows] == as_json(
        client, path, parameters
    )


@pytest.mark.parametrize("form", ["csv", "ndjson", "arrow", "parquet"])
@pytest.mark.usefixtures("filled")
def test_formats_have_pages_if_a_limit_is_given(client: TestClient, form: str):
    for parameters in ({"order": "asc"}, {"order": "desc"}, {"order": "asc", "start": None}):
        asked = {name: value for name, value in (HOUR | parameters).items() if value}
        asked["symbol"] = "AAPL"
        whole = client.get("/trades", params=asked | {"format": "csv", "limit": 1000}).text.splitlines()[1:]
        found: list[list[str]] = []
        url = str(client.build_request("GET", "/trades", params=asked | {"format": form, "limit": 4}).url)
        while url:
            response = client.get(url)
            found.append([f"{row['price']:g}|{row['trade_id']}" for row in rows_of(form, response.content)])
            url = response.links.get("next", {}).get("url")
        pages = found[::-1] if "start" in parameters else found
        expected = [f"{float(line.split(',')[1]):g}|{line.split(',')[4]}" for line in whole]
        assert [row for page in pages for row in page] == expected
        assert len(expected) == 16
        assert len(pages) == 4


def rows_of(form: str, body: bytes) -> list[dict[str, Any]]:
    if form == "csv":
        return from_csv(body.decode())
    if form == "ndjson":
        return [json.loads(line) for line in body.splitlines()]
    return from_arrow(body) if form == "arrow" else pq.read_table(io.BytesIO(body)).to_pylist()


@pytest.mark.usefixtures("filled")
def test_numbers_of_csv_are_exact_and_shortest(client: TestClient, connection: Connection):
    store(connection, trade(1200, "100.10", "0.1234567890123456789"))
    rows = client.get("/trades", params=HOUR | {"format": "csv"}).text.splitlines()
    assert rows[:2] == ["symbol,price,volume,timestamp,trade_id", "AAPL,100.1,0.1234567890123456789,2026-02-08T10:50:00Z,0"]


def test_arrow_types(client: TestClient, connection: Connection):
    store(connection, trade(0, "1"))
    trades, candles = (
        pa.ipc.open_stream(client.get(path, params=parameters | {"format": "arrow"}).content).schema
        for path, parameters in (REQUESTS[0], REQUESTS[4])
    )
    time, number = pa.timestamp("us", tz="UTC"), pa.float64()
    assert trades.types == [pa.string(), number, number, time, pa.int64()]
    assert candles.types == [pa.string(), time, *[number] * 6, pa.int64(), *[pa.bool_()] * 3]


@pytest.mark.parametrize("form", ["csv", "arrow"])
def test_empty_range_has_columns_and_no_row(client: TestClient, connection: Connection, form: str):
    store(connection, trade(0, "1"))
    body = client.get("/trades", params=HOUR | {"end": "2026-02-08T10:00:01Z", "format": form}).content
    assert (from_csv(body.decode()) if form == "csv" else from_arrow(body)) == []
    assert b"trade_id" in body


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, JSON),
        ("*/*", JSON),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", JSON),
        ("image/png", JSON),
        ("", JSON),
        (CSV, CSV),
        ("text/*", CSV),
        (ARROW, ARROW),
        (f"{CSV};q=0.5, {ARROW}", ARROW),
        (f"{CSV}, {JSON};q=0.9", CSV),
        (f"{JSON}, {CSV}", JSON),
        (f"{CSV};q=0", JSON),
        (f"{JSON};q=0, */*", CSV),
    ],
)
@ALL
@pytest.mark.usefixtures("filled")
def test_accept_chooses_the_format_with_json_as_default(
    client: TestClient, path: str, parameters: dict[str, Any], accept: str | None, expected: str
):
    headers = {"accept": accept} if accept is not None else {}
    response = client.get(path, params=parameters, headers=headers)
    assert response.headers["content-type"].partition(";")[0] == expected
    assert response.headers["vary"] == "Accept, Accept-Encoding"
    forced = client.get(path, params=parameters | {"format": "json"}, headers=headers)
    assert forced.headers["content-type"] == JSON


@ALL
@pytest.mark.parametrize("form", ["csv", "arrow"])
@pytest.mark.usefixtures("filled")
def test_pages_follow_by_link(client: TestClient, path: str, parameters: dict[str, Any], form: str):
    found, pages = [], 0
    response = client.get(path, params=parameters | {"format": form, "limit": 3})
    while True:
        rows = from_csv(response.text) if form == "csv" else from_arrow(response.content)
        found, pages = found + rows, pages + 1
        if "next" not in response.links:
            break
        assert len(rows) == 3
        response = client.get(response.links["next"]["url"])
    assert found == as_json(client, path, parameters)
    assert pages == -(-len(found) // 3)


@ALL
@pytest.mark.parametrize("form", ["csv", "arrow"])
@pytest.mark.parametrize("page_rows", [1, 2])
@pytest.mark.usefixtures("filled")
def test_response_of_several_pages_is_streamed_completely(
    client: TestClient,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    parameters: dict[str, Any],
    form: str,
    page_rows: int,
):
    monkeypatch.setattr(row_responses, "PAGE_ROWS", page_rows)
    response = client.get(path, params=parameters | {"format": form})
    assert "content-length" not in response.headers
    assert "link" not in response.headers
    assert "etag" not in response.headers
    rows = from_csv(response.text) if form == "csv" else from_arrow(response.content)
    assert rows == as_json(client, path, parameters)
