"""Caching headers and conditional requests: `Cache-Control`, `ETag`, `If-None-Match`."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from helpers.support import Connection, now_within_minute, store, trade
from litestar.testing import TestClient

HOUR = {"symbol": "AAPL", "start": "2026-02-08T10:00:00Z", "end": "2026-02-08T11:00:00Z"}
TRADES, CANDLES = ("/trades", HOUR), ("/candles", HOUR | {"interval": "1m"})
BOTH = pytest.mark.parametrize(("path", "parameters"), [TRADES, CANDLES])
FORMATS = pytest.mark.parametrize("form", ["json", "csv", "arrow"])


@BOTH
@FORMATS
def test_unchanged_response_is_304(
    client: TestClient, connection: Connection, path: str, parameters: dict[str, Any], form: str
):
    store(connection, trade(0, "1"))
    parameters = parameters | {"format": form}
    whole = client.get(path, params=parameters)
    tag = whole.headers["etag"]
    assert (whole.headers["cache-control"], whole.headers["vary"]) == ("no-cache", "Accept")
    for asked in (tag, f"W/{tag}", f'"other", W/"another" ,{tag}', "*"):
        response = client.get(path, params=parameters, headers={"If-None-Match": asked})
        assert (response.status_code, response.content) == (304, b"")
        for name in ("etag", "cache-control", "vary"):
            assert response.headers[name] == whole.headers[name]
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


@BOTH
def test_each_format_has_its_own_etag(client: TestClient, connection: Connection, path: str, parameters: dict[str, Any]):
    store(connection, trade(0, "1"))
    tags = {client.get(path, params=parameters | {"format": form}).headers["etag"] for form in ("json", "csv", "arrow")}
    assert len(tags) == 3


@BOTH
@FORMATS
def test_range_that_has_not_ended_is_not_stored(
    client: TestClient, connection: Connection, path: str, parameters: dict[str, Any], form: str
):
    store(connection, trade(0, "1"))
    open_end = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    response = client.get(path, params=parameters | {"end": open_end, "format": form}, headers={"If-None-Match": "*"})
    assert (response.status_code, response.headers["cache-control"], response.headers["vary"]) == (200, "no-store", "Accept")
    assert "etag" not in response.headers


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
        ("/health", "no-store"),
        ("/health/live", "no-store"),
        ("/health/ready", "no-store"),
        ("/status/ingestion", "no-store"),
        ("/metrics", "no-store"),
        ("/nothing", "no-store"),
        ("/trades", "no-store"),
        ("/price?symbol=ACME", "no-store"),
        ("/symbols", "no-cache"),
        ("/", "no-cache"),
        ("/docs", "no-cache"),
        ("/redoc", "no-cache"),
        ("/schema/openapi.json", "no-cache"),
        ("/assets/swagger-ui-bundle.js", "public, max-age=3600"),
    ],
)
def test_every_response_has_cache_control(client: TestClient, connection: Connection, path: str, expected: str):
    store(connection, trade(0, "1"))
    assert client.get(path).headers["cache-control"] == expected
