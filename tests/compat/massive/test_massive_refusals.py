"""Keys, limits and outages as Massive's unmodified REST client sees them."""

import json
from typing import Any

import httpx
from helpers.api_keys import store_key
from helpers.massive_calls import call, one
from helpers.support import changed_url, create_patient_app, serving

from market_data.settings import Settings


def test_without_the_database(database_url: str):
    settings = Settings(database_url=changed_url(database_url, port=1), feed_enabled=False, pool_timeout_seconds=0.3)
    with serving(create_patient_app(settings)) as base:
        failed = one(base, "get_last_trade", "AAPL")
        response = httpx.get(f"{base}/massive/v2/last/trade/AAPL")
    assert failed["error"] == "MaxRetryError"
    assert "503" in failed["text"]
    assert response.status_code == 503
    assert response.json()["status"] == "ERROR"
    assert response.json()["request_id"] == response.headers["x-request-id"]


def test_over_the_rate_limit(serve: Any):
    with serve(rate_limit=2, rate_limit_seconds=2.0) as base:
        found = call(base, *[["list_tickers", [], {}]] * 4)
        refused = [httpx.get(f"{base}/massive/v1/marketstatus/now") for _ in range(5)][-1]
    assert found == [[]] * 4  # the client obeys Retry-After
    assert refused.status_code == 429
    assert refused.json()["status"] == "ERROR"
    assert int(refused.headers["retry-after"]) >= 1


def test_keys(serve: Any, database_url: str):
    key = store_key(database_url, "read")
    wrong = key[:-1] + ("A" if key[-1] != "A" else "B")
    path = "/massive/v1/marketstatus/now"
    with serve(auth="required") as base:
        assert one(base, "get_market_status")["error"] == "BadResponse"
        (refused,) = call(base, ["get_market_status", [], {}], key=wrong)
        (accepted,) = call(base, ["get_market_status", [], {}], key=key)
        statuses = [
            httpx.get(f"{base}{path}", params=params, headers=headers).status_code
            for params, headers in (
                ({}, {}),
                ({"apiKey": key}, {}),
                ({"apiKey": wrong}, {}),
                ({"apiKey": ""}, {}),
                ({"apikey": key}, {}),
                ({"apiKey": key}, {"Authorization": f"Bearer {key}"}),
                ({"apiKey": wrong}, {"Authorization": f"Bearer {key}"}),
            )
        ]
        paths = ("/massive/v3/trades/AAPL", "/massive/nothing", "/massive//v3/trades/AAPL", "/massive/v3/snapshot")
        assert [httpx.get(f"{base}{each}").status_code for each in paths] == [401, 404, 401, 401]
    assert json.loads(refused["text"])["status"] == "ERROR"
    assert "unknown, expired or revoked" in json.loads(refused["text"])["error"]
    assert accepted["market"] == "open"
    assert statuses == [401, 200, 401, 401, 401, 200, 401]


def test_the_paths_are_described(base: str):
    paths = httpx.get(f"{base}/openapi.json").raise_for_status().json()["paths"]
    assert "/massive/v3/trades/{ticker}" in paths
    assert "/massive/v2/aggs/ticker/{bars}" in paths
