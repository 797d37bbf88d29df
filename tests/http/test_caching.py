"""Caching headers and conditional requests: `Cache-Control`, `ETag`, `If-None-Match`."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Literal, LiteralString

import msgspec
import psycopg
import pytest
from helpers.api_keys import bearer
from helpers.support import SERVER, Connection, now_within_minute, one, store, trade
from litestar.testing import TestClient

from market_data.settings import Settings

HOUR = {"symbol": "AAPL", "start": "2026-02-08T10:00:00Z", "end": "2026-02-08T11:00:00Z"}
TRADES, CANDLES = ("/trades", HOUR), ("/candles", HOUR | {"interval": "1m"})
BOTH = pytest.mark.parametrize(("path", "parameters"), [TRADES, CANDLES])
FORMATS = pytest.mark.parametrize("form", ["json", "ndjson", "csv", "arrow", "parquet"])


@BOTH
@FORMATS
def test_unchanged_response_is_304(
    client: TestClient, connection: Connection, path: str, parameters: dict[str, Any], form: str
):
    store(connection, trade(0, "1"))
    parameters = parameters | {"format": form}
    whole = client.get(path, params=parameters)
    tag = whole.headers["etag"].removeprefix("W/")
    assert whole.headers["cache-control"] == "public, max-age=5, stale-while-revalidate=5"
    assert whole.headers["vary"] == "Accept, Accept-Encoding"
    assert parsedate_to_datetime(whole.headers["last-modified"]) <= datetime.now(UTC)
    for asked in (tag, f"W/{tag}", f'"other", W/"another" ,{tag}', "*"):
        response = client.get(path, params=parameters, headers={"If-None-Match": asked})
        assert (response.status_code, response.content) == (304, b"")
        for name in ("cache-control", "vary", "last-modified"):
            assert response.headers[name] == whole.headers[name]
        assert response.headers["etag"].removeprefix("W/") == tag
    for asked in ("", '"other"', tag.strip('"'), tag.upper() + "x", 'W/"'):
        assert client.get(path, params=parameters, headers={"If-None-Match": asked}).content == whole.content


@BOTH
def test_late_trade_changes_the_etag(client: TestClient, connection: Connection, path: str, parameters: dict[str, Any]):
    store(connection, trade(0, "1"))
    tag = client.get(path, params=parameters).headers["etag"]
    store(connection, trade(1, "2"))
    response = client.get(path, params=parameters, headers={"If-None-Match": tag})
    assert response.status_code == 200
    assert response.headers["etag"] != tag


CHANGES = {
    "corrected": "UPDATE trades SET price = 5 WHERE price = 1",
    "cancelled": "DELETE FROM trades WHERE price = 1",
    "moved": "UPDATE trades SET time = time + INTERVAL '1 minute' WHERE price = 1",
    "moved away": "UPDATE trades SET time = time - INTERVAL '1 day' WHERE price = 1",
}


@BOTH
@FORMATS
@pytest.mark.parametrize("more", [{}, {"limit": 1}, {"symbols": "AAPL,MSFT"}], ids=["all", "page", "several"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_each_change_changes_the_etag(
    client: TestClient,
    connection: Connection,
    path: str,
    parameters: dict[str, Any],
    form: str,
    more: dict[str, Any],
    change: LiteralString,
):
    store(connection, trade(10, "1"), trade(11, "2"), trade(12, "3"), trade(0, "9", symbol="MSFT"))
    parameters = parameters | {"format": form, "order": "asc"} | more
    if "symbols" in parameters:
        del parameters["symbol"]
    tag = client.get(path, params=parameters).headers["etag"]
    assert client.get(path, params=parameters, headers={"If-None-Match": tag}).status_code == 304
    connection.execute(change)
    connection.execute("DELETE FROM stale_ranges")  # as a refresh does
    response = client.get(path, params=parameters, headers={"If-None-Match": tag})
    assert response.status_code == 200
    assert response.headers["etag"] != tag


if SERVER:  # the embedded engine has one session

    def test_trade_exchanged_for_one_of_an_earlier_write_changes_the_etag(
        client: TestClient, connection: Connection, database_url: str
    ):
        """The count, and the greatest `write_id`, stay the same."""
        store(connection, trade(20, "9"))  # the newest trade, whose row in latest_trades the others do not lock
        with psycopg.connect(database_url) as late:
            late.execute("SELECT nextval('write_ids')")
            late.execute(
                "INSERT INTO trades (time, symbol, trade_id, price, volume) VALUES (%s, 'AAPL', 1, 7, 1)",
                (trade(3, "7")[0],),
            )
            store(connection, trade(10, "1"), trade(11, "2"))
            tag = client.get("/trades", params=HOUR).headers["etag"]
            late.commit()
        connection.execute("DELETE FROM trades WHERE price = 1")
        response = client.get("/trades", params=HOUR, headers={"If-None-Match": tag})
        assert response.status_code == 200
        assert [each["price"] for each in response.json()["trades"]] == [9, 2, 7]


def test_fill_depends_on_a_candle_before_the_range(client: TestClient, connection: Connection):
    store(connection, trade(-7200, "1"), trade(10, "2"))
    parameters = HOUR | {"interval": "1m", "fill": "previous", "start": "2026-02-08T10:20:00Z"}
    tag = client.get("/candles", params=parameters).headers["etag"]
    connection.execute("UPDATE trades SET price = 3 WHERE price = 1")
    connection.execute("DELETE FROM stale_ranges")
    response = client.get("/candles", params=parameters, headers={"If-None-Match": tag})
    assert response.status_code == 200
    assert response.json()["candles"][0]["close"] == 3


def test_last_modified_is_the_time_of_the_newest_write(client: TestClient, connection: Connection):
    before = datetime.now(UTC).replace(microsecond=0)
    store(connection, trade(0, "1"))
    first = parsedate_to_datetime(client.get(*TRADES[:1], params=HOUR).headers["last-modified"])
    assert before <= first <= datetime.now(UTC)
    committed = one(connection, "SELECT max(committed_at) FROM commits")
    assert first == committed.replace(microsecond=0)
    empty = client.get("/trades", params=HOUR | {"end": "2026-02-08T10:00:01Z"})
    assert "etag" in empty.headers
    assert "last-modified" not in empty.headers


@pytest.mark.parametrize(
    ("auth", "seconds", "expected"),
    [
        ("open", 10, "public, max-age=5, stale-while-revalidate=5"),
        ("required", 10, "private, max-age=5, stale-while-revalidate=5"),
        ("open", 3, "public, max-age=2, stale-while-revalidate=1"),
        ("open", 0, "no-cache"),
        ("required", 0, "private, no-cache"),
    ],
)
def test_setting_and_keys_decide_which_caches_may_keep_a_response(
    settings: Settings,
    make_client: Callable[[Settings], TestClient],
    keys: dict[str, str],
    database_url: str,
    connection: Connection,
    auth: Literal["open", "required"],
    seconds: int,
    expected: str,
):
    store(connection, trade(0, "1"))
    changed = msgspec.structs.replace(settings, database_url=database_url, auth=auth, cache_seconds=seconds)
    with make_client(changed) as client:
        for path, parameters in (TRADES, CANDLES):
            response = client.get(path, params=parameters | {"symbol": "AAPL"}, headers=bearer(keys["read"]))
            assert response.headers["cache-control"] == expected


@BOTH
def test_each_format_has_its_own_etag(client: TestClient, connection: Connection, path: str, parameters: dict[str, Any]):
    store(connection, trade(0, "1"))
    tags = {
        client.get(path, params=parameters | {"format": form}).headers["etag"]
        for form in ("json", "ndjson", "csv", "arrow", "parquet")
    }
    assert len(tags) == 5


@BOTH
@FORMATS
def test_range_that_has_not_ended_is_not_stored(
    client: TestClient, connection: Connection, path: str, parameters: dict[str, Any], form: str
):
    store(connection, trade(0, "1"))
    open_end = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    response = client.get(path, params=parameters | {"end": open_end, "format": form}, headers={"If-None-Match": "*"})
    assert (response.status_code, response.headers["cache-control"]) == (200, "no-store")
    assert response.headers.get_list("vary", split_commas=True)[0] == "Accept"
    assert "etag" not in response.headers


@BOTH
@pytest.mark.parametrize("bounds", [{"end": "now-1h"}, {"end": None}, {"start": "now-2000d"}, {"start": None, "end": None}])
def test_range_that_moves_with_time_is_not_stored(
    client: TestClient, connection: Connection, path: str, parameters: dict[str, Any], bounds: dict[str, str | None]
):
    store(connection, trade(0, "1"))
    given = {name: value for name, value in (parameters | bounds).items() if value}
    for more in ({}, {"symbols": "AAPL", "symbol": None}):
        asked = {name: value for name, value in (given | more).items() if value}
        response = client.get(path, params=asked, headers={"If-None-Match": "*"})
        assert (response.status_code, response.headers["cache-control"]) == (200, "no-store")
        assert "etag" not in response.headers
        assert response.json()["count"] == 1


@BOTH
def test_newest_rows_before_a_fixed_time_are_stored(
    client: TestClient, connection: Connection, path: str, parameters: dict[str, Any]
):
    store(connection, trade(0, "1"))
    given = {name: value for name, value in parameters.items() if name != "start"}
    tag = client.get(path, params=given).headers["etag"]
    assert client.get(path, params=given, headers={"If-None-Match": tag}).status_code == 304


@BOTH
def test_unknown_symbol_is_404_for_any_tag(client: TestClient, path: str, parameters: dict[str, Any]):
    for symbol in ({"symbol": "ACME"}, {"symbol": None, "symbols": "ACME,NOPE"}):
        asked = {name: value for name, value in (parameters | symbol).items() if value}
        assert client.get(path, params=asked, headers={"If-None-Match": "*"}).status_code == 404


def test_range_with_an_open_last_bucket_is_not_stored(client: TestClient, connection: Connection):
    store(connection, trade(0, "1"))
    now = now_within_minute()
    this_week = HOUR | {"interval": "1w", "end": now.isoformat()}
    assert client.get("/candles", params=this_week).headers["cache-control"] == "no-store"
    week_ago = this_week | {"end": (now - timedelta(days=7)).isoformat()}
    assert "etag" in client.get("/candles", params=week_ago).headers


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/price?symbol=AAPL", "no-store"),
        ("/prices/latest", "no-store"),
        ("/snapshots", "no-store"),
        ("/health", "no-store"),
        ("/health/live", "no-store"),
        ("/health/ready", "no-store"),
        ("/status/ingestion", "no-store"),
        ("/metrics", "no-store"),
        ("/nothing", "no-store"),
        ("/trades", "no-store"),
        ("/price?symbol=ACME", "no-store"),
        ("/symbols", "no-cache"),
        ("/calendars", "no-cache"),
        ("/calendars/24/7/sessions", "no-cache"),
        ("/calendars/24/7/sessions?as_of=0", "public, max-age=31536000, immutable"),
        ("/market/status?symbol=AAPL", "no-store"),
        ("/", "no-cache"),
        ("/docs", "no-cache"),
        ("/redoc", "no-cache"),
        ("/schema/openapi.json", "no-cache"),
        ("/openapi.json", "no-cache"),
        ("/assets/front_page.css", "no-cache"),
        ("/assets/swagger-ui-bundle.js", "public, max-age=3600"),
    ],
)
def test_every_response_has_cache_control(client: TestClient, connection: Connection, path: str, expected: str):
    store(connection, trade(0, "1"))
    assert client.get(path).headers["cache-control"] == expected
