"""Keys, rate limits and outages at `/alpaca`."""

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import httpx
import psycopg
from helpers.api_keys import bearer, store_key
from helpers.foreign_clients import run_client
from helpers.support import T0, Connection, store, trade

PACKAGES = ("alpaca-py==0.44.0",)
SCRIPT = Path(__file__).parent / "rest_client.py"

WRONG = "md_00000000_" + "A" * 43
PATHS = ("/v2/stocks/trades?symbols=AAPL", "/v2/stocks/AAPL/bars?timeframe=1Min", "/v2/assets", "/v2/clock", "/v2/nothing")


def call(base: str, *calls: dict[str, Any]) -> Any:
    return run_client(SCRIPT, f"{base}/alpaca", "secret", json.dumps(calls), packages=PACKAGES)


def pair(secret: str) -> dict[str, str]:
    return {"APCA-API-KEY-ID": "anything", "APCA-API-SECRET-KEY": secret}


def basic(secret: str) -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(f'anything:{secret}'.encode()).decode()}"}


def test_reading_needs_the_secret(serve: Any, database_url: str):
    secret = store_key(database_url, "read")
    with serve(auth="required") as base, httpx.Client(base_url=f"{base}/alpaca") as client:
        for path in PATHS:
            expected = 404 if path == "/v2/nothing" else 200
            for place in (pair, basic, bearer):
                assert client.get(path, headers=place(secret)).status_code == expected, (path, place)
                refused = client.get(path, headers=place(WRONG))
                assert (refused.status_code, refused.json()["message"]) == (401, "forbidden."), (path, place)
            assert client.get(path, headers={**basic(WRONG), **pair(secret)}).status_code == expected
            assert client.get(path, headers={**basic(WRONG), "X-API-Key": secret}).status_code == expected
        missing = client.get(PATHS[0])
        assert (missing.status_code, missing.json()["message"]) == (401, "forbidden.")
        for headers in (pair(""), {"Authorization": "Basic nonsense!"}, {"Authorization": "Basic"}, pair("\xe9")):
            encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
            assert client.get(PATHS[0], headers=encoded).status_code == 401, headers


def test_the_client_sends_its_keys(serve: Any, database_url: str, connection: Connection):
    store(connection, trade(0, "1"))
    secret = store_key(database_url, "read")
    request = {"method": "get_stock_trades", "request": {"symbol_or_symbols": "AAPL", "start": T0.isoformat()}}
    clients: list[dict[str, Any]] = [
        {"secret_key": secret},
        {"secret_key": secret, "use_basic_auth": True},
        {"oauth_token": secret},
        {"secret_key": WRONG},
        {"secret_key": WRONG, "use_basic_auth": True},
    ]
    with serve(auth="required") as base:
        *found, first, second = call(base, *({**request, "client": each} for each in clients))
    assert [[row["price"] for row in each["AAPL"]] for each in found] == [[1], [1], [1]]
    assert [(each["status"], json.loads(each["error"])["message"]) for each in (first, second)] == [(401, "forbidden.")] * 2


def test_without_required_keys_only_those_of_the_service_are_checked(base: str, database_url: str):
    secret = store_key(database_url, "read")
    with httpx.Client(base_url=f"{base}/alpaca") as client:
        for headers in ({}, pair("secret"), pair(""), pair(secret), basic("secret"), basic(WRONG), bearer("secret")):
            assert client.get(PATHS[0], headers=headers).status_code == 200, headers
        for headers in (pair(WRONG), bearer(WRONG)):
            assert client.get(PATHS[0], headers=headers).json()["message"] == "forbidden."


def test_the_client_reports_a_used_up_rate_limit(serve: Any):
    with serve(rate_limit=6, rate_limit_seconds=3600) as base:
        request = {"method": "get_stock_latest_trade", "request": {"symbol_or_symbols": "AAPL"}}
        *granted, refused = call(base, *[request] * 7)
        answer = httpx.get(f"{base}/alpaca/v2/stocks/trades")
    assert granted == [{}] * 6
    assert refused["status"] == 429
    assert json.loads(refused["error"]).keys() == {"code", "message"}
    assert (answer.status_code, answer.json()["code"]) == (429, 42910000)
    assert "retry-after" in answer.headers


def test_an_outage_is_the_error_of_the_protocol(serve: Any, database_url: str):
    settings = {"request_timeout_seconds": 0.8, "pool_timeout_seconds": 20}
    with serve(**settings) as base, psycopg.connect(database_url, autocommit=True) as blocking, blocking.transaction():
        blocking.execute("LOCK TABLE symbols IN ACCESS EXCLUSIVE MODE")
        answer = httpx.get(f"{base}/alpaca/v2/assets", timeout=20)
    assert (answer.status_code, answer.json()["code"]) == (503, 50310000)
    assert answer.headers["content-type"] == "application/json"
