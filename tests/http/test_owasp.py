"""OWASP API Security Top 10 (2023), items 1 to 7: access, consumption of resources, requests forged by the server.

Other tests cover these subjects in detail: test_authorization, test_rate_limit, test_request_limits, test_security_headers,
test_cors.
"""

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from helpers.api_keys import bearer
from helpers.support import Connection, store, trade
from helpers.write_requests import GIVEN, IDENTITY, WRITES, unchanged
from litestar.testing import TestClient
from psycopg.conninfo import conninfo_to_dict

from market_data.auth.api_keys import generate_key, hash_key
from market_data.settings import Settings

Document = dict[str, Any]
MakeClient = Callable[[Settings], TestClient]

RANGE = "start=2026-02-08T10:00:00Z&end=2026-02-08T11:00:00Z"


def test_api1_a_page_token_grants_no_access(client: TestClient, two_trades: Connection, keys: dict[str, str]):
    """Trades have no owner. Only the audit trail is protected, with a valid page token too."""
    store(two_trades, *(trade(second, "1", symbol=symbol) for second in (1, 2) for symbol in ("AAPL", "MSFT")))
    for price in (2, 3):
        assert client.post("/trades/correct", json=IDENTITY | {"price": price}, headers=bearer(keys["write"])).is_success
    page = client.get("/trades/changes?limit=1", headers=bearer(keys["admin"]))
    token, following = page.json()["next_page_token"], page.links["next"]["url"]
    assert client.get(following, headers=bearer(keys["admin"])).json()["count"] == 1
    for headers in ({}, bearer(keys["read"]), bearer(keys["write"])):
        assert client.get(following, headers=headers).status_code in {401, 403}
    assert client.get(f"/trades?symbol=AAPL&{RANGE}&page_token={token}").status_code == 400
    token = client.get(f"/trades?symbol=AAPL&{RANGE}&limit=1").json()["next_page_token"]
    assert client.get(f"/trades?symbol=MSFT&{RANGE}&page_token={token}").status_code == 400


def test_api1_the_path_of_a_symbol_cannot_address_another_resource(writer: TestClient, two_trades: Connection):
    with unchanged(two_trades):
        for name in (
            "..%2ftrades%2fcancel",
            "AAPL%2f..%2f..%2ftrades",
            "AAPL%00",
            "AAPL'--",
            "%2e%2e",
            "AAPL;x",
            "*",
            "A%25",
        ):
            assert writer.patch(f"/symbols/{name}", json={"active": False}).status_code in {400, 404}


def test_api2_all_wrong_keys_get_the_same_response(client: TestClient, keys: dict[str, str]):
    key = keys["admin"]
    prefix = key[:12]
    wrong = [
        generate_key(),
        prefix + generate_key()[12:],
        key[:-1],
        key + "A",
        key.swapcase(),
        prefix,
        prefix + hash_key(key).hex(),
        hash_key(key).hex(),
        "null",
        "' OR true --",
        f"{key},{key}",
    ]
    answers = [
        client.get("/trades/changes", headers=headers) for each in wrong for headers in (bearer(each), {"X-API-Key": each})
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.json()["detail"] for answer in answers}) == 1, "does not reveal existing prefixes"
    assert client.get("/trades/changes", headers=bearer(key)).status_code == 200


def test_api2_keys_are_read_from_two_headers_only(client: TestClient, keys: dict[str, str]):
    key = keys["admin"]
    for parameter in ("key", "api_key", "apikey", "access_token", "token", "X-API-Key", "Authorization"):
        assert client.get("/trades/changes", params={parameter: key}).status_code == 401
        assert client.get("/trades/changes", headers={"Cookie": f"{parameter}={key}"}).status_code == 401
    for headers in ({"X-Forwarded-Authorization": f"Bearer {key}"}, {"Proxy-Authorization": f"Bearer {key}"}):
        assert client.get("/trades/changes", headers=headers).status_code == 401
    assert client.get("/trades/changes", auth=("admin", key)).status_code == 401


def test_api3_clients_cannot_set_fields_of_the_service(writer: TestClient, two_trades: Connection):
    with unchanged(two_trades):
        for method, path, body, more in (
            ("POST", "/symbols", {"symbol": "NEW", "name": "New"}, ("active", "created_at", "id")),
            ("PATCH", "/symbols/AAPL", {"name": "New"}, ("symbol", "created_at", "__proto__")),
            ("POST", "/symbols/AAPL/rename", {"to": "NEW", "at": "2024-01-01"}, ("actor", "since", "changed_at")),
            ("POST", "/trades", GIVEN | {"trade_id": 5}, ("write_id", "time", "Price")),
            ("POST", "/trades/correct", IDENTITY | {"price": 5}, ("actor", "changed_at", "new_trade_id", "before")),
            ("POST", "/trades/cancel", IDENTITY, ("actor", "changed_at", "price")),
        ):
            for name in more:
                answer = writer.request(method, path, json=body | {name: "2020-01-01T00:00:00Z"})
                assert answer.status_code == 400, (path, name)
                assert name in answer.text
    assert writer.post("/trades/cancel", json=IDENTITY).json()["actor"] == "tester", "always the name of the key"


def test_api3_no_response_has_a_key_a_hash_or_a_server_path(
    writer: TestClient, two_trades: Connection, keys: dict[str, str], document: Document, session_database: str
):
    writer.post("/trades/correct", json=IDENTITY | {"price": 9})
    parts = conninfo_to_dict(session_database)
    hidden = [session_database, f":{parts['port']}", str(Path.home()), "site-packages"]
    hidden += [text for key in keys.values() for text in (key, key[3:11], hash_key(key).hex())]
    query = {"symbol": "AAPL", "interval": "1m", "start": "2026-02-08T10:00:00Z", "end": "2026-02-08T11:00:00Z"}
    query["timestamp"] = query["start"]
    for path in sorted({*document["paths"], "/metrics", "/schema/openapi.json"} - {"/stream"}):
        described = document["paths"].get(path, {}).get("get", {}).get("parameters", [])
        known = {each["name"] for each in described if each["in"] == "query"}
        given = {name: value for name, value in query.items() if name in known}
        answer = writer.get(path.replace("{symbol}", "AAPL").replace("{tile}", "0/000.p/1"), params=given)
        has_none = path.startswith("/log/")  # until the log has begun
        assert answer.status_code in ({200, 404} if has_none else {200, 405}), path
        assert not [text for text in hidden if text in answer.text], path
    assert not {"hash", "secret", "password", "key"} & {
        name for schema in document["components"]["schemas"].values() for name in schema.get("properties", {})
    }


def test_api4_resources_of_a_request_are_limited(
    settings: Settings, make_client: MakeClient, two_trades: Connection, keys: Any
):
    json_headers = {**bearer(keys["write"]), "Content-Type": "application/json"}
    with make_client(msgspec.structs.replace(settings, rate_limit=18)) as client, unchanged(two_trades):
        for path, status in (
            (f"/trades?symbol=AAPL&{RANGE}&limit=1001", 400),
            (f"/trades?symbol=AAPL&{RANGE}&limit={'9' * 400}", 400),
            (f"/candles?symbol=AAPL&interval=1m&{RANGE}&limit=10001", 400),
            (f"/prices/latest?symbols={'A,' * 10_000}A", 400),
            (f"/snapshots?symbols={'A,' * 10_000}A", 400),
            (f"/symbols?{'a=1&' * 14_000}", 400),
            (f"/symbols?x={'a' * 65_001}", 414),
        ):
            assert client.get(path).status_code == status, path[:60]
        assert client.get("/symbols", headers={"X-Large": "a" * 40_000}).status_code == 431
        for body, status in (
            (b" " * 5_000_001, 413),
            (b"[" * 100_000, 400),
            (b"[" + b"1," * 60_000 + b"1]", 413),
            (json.dumps([GIVEN] * 10_001).encode(), 413),
            (b'{"price":' + b"9" * 1_000_000 + b"}", 400),
            (b'{"price":1e999999999}', 400),
        ):
            assert client.post("/trades", content=body, headers=json_headers).status_code == status, body[:20]
        # A page is limited even if the range is almost unlimited.
        always = "start=0001-01-01T00:00:00Z&end=9999-12-31T00:00:00Z"
        page = client.get(f"/candles?symbol=AAPL&interval=1m&fill=null&{always}").json()
        assert (page["count"], page["next_page_token"] is None) == (10_000, False)
        assert [client.get("/").status_code for _ in range(10)][-1] == 429


def test_api5_a_scope_does_not_grant_higher_ones(client: TestClient, two_trades: Connection, keys: dict[str, str]):
    with unchanged(two_trades):
        for method, path, body in WRITES:
            assert client.request(method, path, json=body, headers=bearer(keys["read"])).status_code == 403
    for scope in ("read", "write"):
        assert client.get("/trades/changes", headers=bearer(keys[scope])).status_code == 403


def test_api5_other_spellings_of_path_and_method_grant_nothing(
    client: TestClient, two_trades: Connection, keys: dict[str, str]
):
    with unchanged(two_trades):
        for path in ("/trades/changes/", "//trades/changes", "/Trades/Changes", "/trades%2fchanges", "/./trades/changes"):
            for headers in ({}, bearer(keys["write"])):
                assert client.get(path, headers=headers).status_code in {401, 403, 404}, path
        for name in ("X-HTTP-Method-Override", "X-Method-Override", "X-Original-URL", "X-Rewrite-URL"):
            for value in ("POST", "PATCH", "/trades/changes"):
                assert client.get("/", headers={name: value}).json()["version"]
        assert client.get("/symbols?_method=POST").status_code == 400
        for method in ("PUT", "DELETE", "TRACE", "CONNECT", "PROPFIND"):
            for path in ("/trades", "/trades/changes", "/symbols", "/symbols/AAPL"):
                assert client.request(method, path, headers=bearer(keys["admin"])).status_code == 405


def test_api6_writes_need_a_key(client: TestClient, two_trades: Connection, document: Document):
    written = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods} - {
        ("GET", path) for path in document["paths"]
    }
    assert {(method, path.partition("?")[0].replace("AAPL", "{symbol}")) for method, path, _ in WRITES} == written
    with unchanged(two_trades):
        for method, path, body in WRITES:
            assert client.request(method, path, json=body).status_code == 401


def test_api6_repeated_writes_change_nothing(client: TestClient, two_trades: Connection, keys: dict[str, str]):
    def send() -> list[int]:
        headers = bearer(keys["write"])
        return [client.request(method, path, json=body, headers=headers).status_code for method, path, body in WRITES]

    assert send() == [200, 200, 200, 200, 201, 200, 200]
    with unchanged(two_trades):
        assert send() == [200] * len(WRITES)


def test_api7_the_service_never_connects_to_a_url_in_a_request(
    writer: TestClient, two_trades: Connection, document: Document
):
    """The service fetches nothing: a URL is stored as text, or rejected."""
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.setblocking(False)
        url = f"http://127.0.0.1:{trap.getsockname()[1]}/x"
        for path, methods in document["paths"].items():
            names = [each["name"] for each in methods.get("get", {}).get("parameters", [])]
            for name in [*names, "url", "callback", "next"] if "get" in methods and path != "/stream" else ():
                assert writer.get(path, params={name: url}).status_code < 500
        assert writer.get("/stream", params={"symbols": url}).status_code == 404
        for name in ("Referer", "Origin", "X-Forwarded-Host", "X-Forwarded-For", "Forwarded", "Last-Event-ID"):
            assert writer.get(f"/trades?symbol=AAPL&{RANGE}", headers={name: url}).status_code == 200
        for method, path, body in WRITES:
            for name in body if isinstance(body, dict) else ():
                assert writer.request(method, path, json=body | {name: url}).status_code < 500
        with pytest.raises(BlockingIOError):
            trap.accept()


def test_api7_links_are_relative_whatever_the_host_header(client: TestClient, two_trades: Connection):
    store(two_trades, trade(1, "1"))
    answer = client.get(f"/trades?symbol=AAPL&{RANGE}&limit=1", headers={"Host": "evil.example", "X-Forwarded-Host": "evil"})
    assert answer.links["next"]["url"].startswith("/trades?")
    assert "evil" not in answer.text + str(answer.headers)
    assert "evil" not in client.get("/", headers={"Host": "evil.example"}).text
