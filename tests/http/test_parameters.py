"""Wrong parameters: 400, with all problems named."""

from typing import Any
from urllib.parse import quote, urlencode

import pytest
from helpers.support import Connection, store, trade
from litestar.testing import TestClient

from market_data.api import prices

GOOD = {"symbol": "AAPL", "start": "2026-02-08T10:00:00Z", "end": "2026-02-08T11:00:00Z", "interval": "1m"}
TAKES = {
    "/price": ["symbol"],
    "/price/latest": ["symbol"],
    "/trades": ["symbol", "start", "end", "order", "limit", "page_token", "format"],
    "/candles": ["symbol", "interval", "start", "end", "order", "fill", "tz", "limit", "page_token", "format"],
}
REQUIRED = [(path, name) for path, names in TAKES.items() for name in names if name in ("symbol", "interval")]


def refused(service: TestClient, path: str, parameters: dict[str, Any] | str) -> dict[str, str]:
    """Return the problem of each parameter."""
    response = service.get(f"{path}?{parameters if isinstance(parameters, str) else urlencode(parameters, doseq=True)}")
    assert response.status_code == 400, response.text
    body = response.json()
    for error in body["errors"]:
        assert f"{error['name']}: {error['detail']}" in body["detail"]
    return {error["name"]: error["detail"] for error in body["errors"]}


def good_for(path: str) -> dict[str, str]:
    return {name: value for name, value in GOOD.items() if name in TAKES[path]}


@pytest.mark.parametrize(("path", "name"), REQUIRED)
def test_missing_parameter_is_named_with_an_example(service: TestClient, path: str, name: str):
    parameters = good_for(path)
    del parameters[name]
    problems = refused(service, path, parameters)
    assert problems.keys() == {name}
    assert "required" in problems[name]
    assert f"{name}=" in problems[name]


@pytest.mark.parametrize(
    ("path", "name"), [(path, name) for path, names in TAKES.items() for name in names if name != "page_token"]
)
@pytest.mark.parametrize("same", [True, False])
def test_repeated_parameter_is_refused_even_if_both_agree(service: TestClient, path: str, name: str, same: bool):
    value = {**GOOD, "limit": "5", "order": "asc", "fill": "null", "format": "csv", "tz": "UTC"}[name]
    parameters = {**good_for(path), name: [value, value if same else "other"]}
    assert refused(service, path, parameters) == {name: "is given 2 times; give it once"}


@pytest.mark.parametrize("path", TAKES)
@pytest.mark.parametrize(
    "symbol",
    [
        "",
        " ",
        "A" * 65,
        "-A",
        "..",
        "A  B",
        "A,B",
        "A;B",
        "A'B",
        "A%",
        "A\n",
        "A\0",
        "ß",
        "\uff21APL",
        "\u017f",
        "'; DROP--",
    ],
)
def test_malformed_symbol_is_refused(service: TestClient, path: str, symbol: str):
    assert refused(service, path, good_for(path) | {"symbol": symbol}).keys() == {"symbol"}


@pytest.mark.parametrize("path", ["/trades", "/candles"])
@pytest.mark.parametrize("name", ["start", "end"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "must be a time"),
        ("yesterday", "must be a time"),
        ("2026", "must be a time"),
        ("20260208", "must be a time"),
        ("now+1h", "must be a time"),
        ("now-1y", "must be a time"),
        ("now-999999999w", "does not exist"),
        ("2026-02-08T10:30", "no time zone"),
        ("2026-02-08T10:30:00", "no time zone"),
        ("2026-02-30T10:30:00Z", "does not exist"),
        ("0000-01-01T00:00:00Z", "does not exist"),
        ("9999-12-31T23:59:59-01:00", "does not exist"),
    ],
)
def test_malformed_time_is_refused(service: TestClient, path: str, name: str, text: str, expected: str):
    problems = refused(service, path, good_for(path) | {name: text})
    assert problems.keys() == {name}
    assert expected in problems[name]


@pytest.mark.parametrize("path", ["/trades", "/candles"])
@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-02-08T10:00:00Z", "2026-02-08T10:00:00Z"),
        ("2026-02-08T10:00:00.000001Z", "2026-02-08T10:00:00Z"),
        ("2026-02-08T10:00:00Z", "2026-02-08T11:00:00+01:00"),
    ],
)
def test_start_that_is_not_before_end_is_refused(service: TestClient, path: str, start: str, end: str):
    problems = refused(service, path, good_for(path) | {"start": start, "end": end})
    assert problems == {"start": "must be before end; the range includes start and excludes end"}


@pytest.mark.parametrize(("path", "highest"), [("/trades", 1000), ("/candles", 10000)])
@pytest.mark.parametrize("limit", ["", "0", "-1", "+5", "1.0", "1e2", "ten", "0x10", "\u0665", "9" * 5000, None])
def test_invalid_limit_is_refused(service: TestClient, path: str, highest: int, limit: str | None):
    limit = str(highest + 1) if limit is None else limit
    problems = refused(service, path, good_for(path) | {"limit": limit})
    assert problems.keys() == {"limit"}
    assert f"from 1 to {highest}" in problems["limit"]
    assert len(problems["limit"]) < 200


@pytest.mark.parametrize("interval", ["", "5M", "1H M", "1 m", "2m", "60", "1m; DROP TABLE trades", "../1m"])
def test_unknown_interval_lists_the_known_ones(service: TestClient, interval: str):
    problems = refused(service, "/candles", good_for("/candles") | {"interval": interval})
    assert problems.keys() == {"interval"}
    assert "must be one of 1s, 5s, 15s, 1m, 3m" in problems["interval"]


@pytest.mark.parametrize("path", ["/trades", "/candles"])
@pytest.mark.parametrize("token", ["", "1", "last", "a" * 4000, "é", "\0", "kw==", "AAAAAAAAAAAAAAAAAAAA"])
def test_invalid_page_token_is_refused(service: TestClient, path: str, token: str):
    assert refused(service, path, good_for(path) | {"page_token": token}).keys() == {"page_token"}


def test_all_wrong_parameters_are_named(service: TestClient):
    query = "symbol=%21&symbol=A&interval=2m&start=x&end=y&limit=0&order=up&fill=zero&tz=Mars&format=xml&foo=1"
    problems = refused(service, "/candles", query)
    assert list(problems) == ["interval", "symbol", "start", "end", "order", "fill", "tz", "limit", "format", "foo"]


@pytest.mark.parametrize(
    ("name", "known"), [("order", "asc, desc"), ("fill", "previous, null"), ("format", "json, ndjson, csv, arrow, parquet")]
)
@pytest.mark.parametrize("text", ["", "ASC;", "DESC ", "prev", "CSV,JSON", "text/csv", "null,previous"])
def test_unknown_choice_lists_the_known_ones(service: TestClient, name: str, known: str, text: str):
    problems = refused(service, "/candles", good_for("/candles") | {name: text})
    assert problems.keys() == {name}
    assert f"must be one of {known}, not" in problems[name]


@pytest.mark.parametrize("path", ["/prices/latest", "/snapshots"])
@pytest.mark.parametrize("symbols", ["", ",", "AAPL,", "AAPL,,MSFT", "AAPL, MSFT", "AAPL;MSFT", "A" * 65])
def test_malformed_list_of_symbols_is_refused(service: TestClient, path: str, symbols: str):
    assert refused(service, path, {"symbols": symbols}).keys() == {"symbols"}


def test_list_of_too_many_symbols_is_refused(service: TestClient):
    problems = refused(service, "/prices/latest", {"symbols": ",".join(["A"] * 10_001)})
    assert "ask for 10000 at a time" in problems["symbols"]


@pytest.mark.parametrize("query", ["symbol=%ff", "symbol=%zz", "symbol", "&&&", "symbol=" + quote("💥")])
def test_malformed_query_string_is_refused(service: TestClient, query: str):
    assert refused(service, "/price/latest", query).keys() == {"symbol"}


def test_parameters_are_checked_before_the_database_is_queried(service: TestClient):
    assert refused(service, "/trades", good_for("/trades") | {"symbol": "ACME", "limit": "0"}).keys() == {"limit"}


@pytest.mark.parametrize("parameters", [{"order": "DESC"}, {"interval": "1H"}, {"fill": "Null"}, {"format": "JSON"}])
def test_choices_are_read_in_any_case(client: TestClient, connection: Connection, parameters: dict[str, str]):
    store(connection, trade(0, "1"))
    lower = {name: value.lower() for name, value in parameters.items()}
    given, expected = (client.get("/candles", params=GOOD | each).json() for each in (parameters, lower))
    assert given == expected
    assert given["count"]


def test_upper_case_m_is_a_month(client: TestClient, connection: Connection):
    store(connection, trade(0, "1"))
    month = GOOD | {"interval": "1M", "start": "2026-01-01", "end": "2026-03-01"}
    body = client.get("/candles", params=month).json()
    assert (body["interval"], body["candles"][0]["timestamp"]) == ("1M", "2026-02-01T00:00:00Z")


@pytest.mark.parametrize(
    ("path", "name", "near"),
    [
        ("/prices/latest", "symbol", "symbols"),
        ("/snapshots", "symbol", "symbols"),
        ("/price/latest", "Symbol", "symbol"),
        ("/candles", "timezone", "tz"),
        ("/candles", "from", "start"),
        ("/candles", "timeframe", "interval"),
        ("/trades", "lmit", "limit"),
        ("/stream", "symbol", "symbols"),
        ("/stream", "channel", "channels"),
    ],
)
def test_unknown_parameter_is_refused_with_the_nearest_name(service: TestClient, path: str, name: str, near: str):
    problems = refused(service, path, good_for(path) | {name: "AAPL"} if path in TAKES else {name: "AAPL"})
    assert problems[name] == f"is not a parameter of this path; did you mean {near}?"


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready", "/symbols", "/status/ingestion", "/metrics"])
def test_path_without_parameters_refuses_them(service: TestClient, path: str):
    assert refused(service, path, {"foo": "1"}) == {"foo": "is not a parameter of this path, which has none"}


@pytest.mark.parametrize("path", ["/", "/docs", "/redoc", "/dashboard", "/schema/openapi.json"])
def test_pages_have_any_parameters(service: TestClient, path: str):
    assert service.get(f"{path}?utm_source=mail").status_code == 200


def test_hostile_names_are_refused_shortly(service: TestClient):
    problems = refused(service, "/price", urlencode({"symbol": "AAPL", "x" * 5000: "1"} | {f"p{n}": "" for n in range(900)}))
    assert len(problems) == 20
    assert all(len(name) + len(detail) < 200 for name, detail in problems.items())


def test_symbol_and_symbols_exclude_each_other(service: TestClient):
    for path in ("/trades", "/candles"):
        assert refused(service, path, good_for(path) | {"symbols": "AAPL"}).keys() == {"symbols"}


@pytest.mark.parametrize("tz", ["", "New York", "../etc/passwd", "America/New_Yorc", "+01:00", "EST5", "x" * 5000, "\0"])
def test_unknown_zone_is_refused(service: TestClient, tz: str):
    problems = refused(service, "/candles", GOOD | {"interval": "1d", "tz": tz})
    assert "must be a time zone such as America/New_York" in problems["tz"]
    assert ("did you mean America/New_York?" in problems["tz"]) == (tz == "America/New_Yorc")


@pytest.mark.parametrize("interval", ["1s", "1m", "3m", "4h", "12h"])
def test_zone_of_an_interval_of_less_than_a_day_is_refused(service: TestClient, interval: str):
    assert refused(service, "/candles", GOOD | {"interval": interval, "tz": "Asia/Tokyo"}).keys() == {"tz"}


def test_an_equal_query_string_is_answered_alike(service: TestClient, connection: Connection):
    store(connection, trade(0, "100"))
    path = f"/candles?{urlencode(GOOD)}"
    first, second = service.get(path), service.get(path)
    assert first.status_code == 200
    assert (first.json(), first.headers["etag"]) == (second.json(), second.headers["etag"])
    store(connection, trade(60, "101"))
    assert service.get(path).json()["count"] == 2


def test_a_relative_time_of_an_equal_query_string_is_that_of_each_request(service: TestClient):
    path = "/candles?symbol=AAPL&interval=1m&start=now-1h&end=now"
    first, second = service.get(path).json(), service.get(path).json()
    assert first["end"] < second["end"]


def test_a_wrong_query_string_stays_wrong(service: TestClient):
    for _ in range(2):
        assert refused(service, "/price/latest", "symbol=AAPL&nothing=1").keys() == {"nothing"}
        assert refused(service, "/candles", "symbol=AAPL&interval=1m&limit=0").keys() == {"limit"}


@pytest.mark.parametrize("start", [0, 5])
def test_an_error_of_the_handler_of_a_range_is_not_one_of_the_folder(
    service: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, start: int
):
    async def fail(*_: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(prices, "read_latest_prices", fail)
    response = service.get("/prices/latest", headers={"Range": f"bytes={start}-9"})
    assert response.status_code == 500
    assert "no byte ranges" not in caplog.text
