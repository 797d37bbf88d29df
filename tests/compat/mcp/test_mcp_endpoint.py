"""`/mcp` by plain requests: schemas, keys, origins, hosts, limits, noise, logs, and a service without it."""

import importlib.util
import json
import logging
import random
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from helpers.api_keys import bearer, store_key
from helpers.support import Connection, store, trade

from market_data.api.mcp.tools import TOOLS
from market_data.app import create_app
from market_data.auth.api_keys import Scope, generate_key
from market_data.errors import SettingsError
from market_data.settings import Settings

Serve = Callable[..., Any]

HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


def send(base: str, message: Any, **headers: str) -> httpx.Response:
    content = message if isinstance(message, bytes) else json.dumps(message).encode()
    return httpx.post(f"{base}/mcp", content=content, headers={**HEADERS, **headers}, timeout=60)


def call(base: str, name: str, arguments: Any, **headers: str) -> Any:
    message = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": name, "arguments": arguments}}
    response = send(base, message, **headers)
    assert response.status_code == 200, response.text
    return response.json()["result"]


def error_of(response: httpx.Response) -> str:
    body = response.json()
    assert (body["jsonrpc"], body["id"], body["error"]["code"] < 0) == ("2.0", None, True)
    return body["error"]["message"]


@pytest.fixture
def served(serve: Serve) -> Iterator[str]:
    with serve(mcp_enabled=True) as base:
        yield base


def test_arguments_are_the_parameters_of_the_document(served: str):
    document = httpx.get(f"{served}/openapi.json").json()
    tools = send(served, LIST).json()["result"]["tools"]
    assert [tool["name"] for tool in tools] == [*TOOLS]
    for tool in tools:
        documented = document["paths"][TOOLS[tool["name"]].path]["get"].get("parameters", [])
        parameters = {each["name"]: each for each in documented if each["name"] != "format"}
        given = {name: schema for name, schema in tool["inputSchema"]["properties"].items() if name != "contains"}
        assert given.keys() == parameters.keys()
        assert {*tool["inputSchema"]["required"]} == {name for name, each in parameters.items() if each["required"]}
        for name, schema in given.items():
            known = parameters[name]["schema"]
            if "$ref" in known:
                known = document["components"]["schemas"][known["$ref"].rpartition("/")[2]]
            assert schema.get("enum") == known.get("enum"), name
            assert schema.get("pattern") == known.get("pattern"), name


def test_keys_and_scopes(serve: Serve, database_url: str, connection: Connection):
    store(connection, trade(0, "189.44"))
    with serve(mcp_enabled=True, auth="required") as base:
        for headers in ({}, bearer(generate_key()), bearer(store_key(database_url, "read", revoked=True))):
            for path in ("/mcp", "/mcp/", "//mcp"):
                refused = httpx.post(f"{base}{path}", json=LIST, headers={**HEADERS, **headers})
                assert refused.status_code == 401, path
                assert refused.headers["www-authenticate"].startswith("Bearer")
            assert "key" in error_of(send(base, LIST, **headers))
        scopes: list[Scope] = ["read", "write", "admin"]
        for scope in scopes:
            secret = store_key(database_url, scope)
            assert send(base, LIST, **bearer(secret)).status_code == 200
            assert "189.44" in call(base, "get_latest_prices", {}, **{"X-API-Key": secret})["content"][0]["text"]


def test_methods_media_types_and_sizes(served: str):
    for method in ("GET", "DELETE", "PUT"):
        refused = httpx.request(method, f"{served}/mcp", headers=HEADERS)
        assert refused.status_code == 405
        assert "POST" in refused.headers["allow"]
    assert send(served, LIST, **{"Content-Type": "text/plain"}).status_code == 415
    assert send(served, LIST, Accept="text/plain").status_code == 406
    assert send(served, b" " * 1_000_001).status_code == 413
    assert send(served, LIST).headers["cache-control"] == "no-store"


def test_origins_and_hosts(serve: Serve):
    foreign, friendly = "https://evil.example", "https://friend.example"
    with serve(mcp_enabled=True, cors_origins=friendly, allowed_hosts="prices.example") as base:
        assert send(base, LIST, Origin=foreign).status_code == 403
        assert "CORS_ORIGINS" in error_of(send(base, LIST, Origin=foreign))
        assert send(base, LIST, Origin="null").status_code == 403
        assert send(base, LIST, Origin=base).status_code == 200
        allowed = send(base, LIST, Origin=friendly)
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, friendly)
        assert send(base, LIST, Host="rebound.example").status_code == 421
        assert send(base, LIST, Host="prices.example").status_code == 200
        preflight = {"Origin": friendly, "Access-Control-Request-Method": "POST"}
        wanted = httpx.options(f"{base}/mcp", headers=preflight).headers["access-control-allow-headers"].lower()
        assert all(name in wanted for name in ("mcp-protocol-version", "mcp-method", "mcp-name", "authorization"))


def test_links_have_the_prefix_and_host_of_the_client(serve: Serve, connection: Connection):
    store(connection, trade(0, "189.44", symbol="EUR/USD"))
    with serve(mcp_enabled=True, root_path="/md") as base:
        given = {"symbols": ["eur/usd"], "as_of": None}
        answer = call(base, "get_latest_prices", given, Host="prices.example")["structuredContent"]
        assert answer["url"] == "http://prices.example/md/prices/latest?symbols=eur%2Fusd"
        assert httpx.get(f"{base}/").json()["base_urls"]["mcp"] == f"{base}/md/mcp"


def test_rate_limit_metrics_and_log(serve: Serve, database_url: str, caplog: pytest.LogCaptureFixture):
    secret = store_key(database_url, "read")
    with caplog.at_level(logging.DEBUG), serve(mcp_enabled=True, rate_limit=3) as base:
        answers = [send(base, LIST, **bearer(secret)) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert answers[0].headers["ratelimit-remaining"] == "2"
        assert int(answers[3].headers["retry-after"]) > 0
        assert "rate limit" in error_of(answers[3])
        counted = [line for line in httpx.get(f"{base}/metrics").text.splitlines() if 'path="/mcp"' in line]
        assert any('method="POST"' in line and 'status_code="200"' in line for line in counted), counted
    assert secret not in caplog.text
    assert secret.rpartition("_")[2] not in caplog.text


def test_tables_end_after_a_hundred_rows(served: str, connection: Connection):
    store(connection, *(trade(number, "5", symbol=f"S{number}") for number in range(130)))
    for name, rows in (("list_symbols", "symbols"), ("get_latest_prices", "prices")):
        answer = call(served, name, {})
        assert (len(answer["structuredContent"][rows]), answer["structuredContent"]["omitted"]) == (100, 30)
        table, _, facts = answer["content"][0]["text"].partition("\n\n")
        assert len(table.splitlines()) == 101
        assert "30 further rows are left out" in facts


def test_revisions_are_flat_rows(served: str, connection: Connection):
    store(connection, trade(0, "189.44"))
    text = call(served, "get_revisions", {"symbol": "AAPL", "interval": "1m", "since_version": 0})["content"][0]["text"]
    assert "after.close" in text.partition("\n")[0].split(",")
    assert "189.44" in text


BAD_ARGUMENTS: list[tuple[str, dict[str, Any], str]] = [
    ("get_candles", {"symbol": "AAPL", "interval": "1m", "as_of": 999999}, "as_of: "),
    ("get_candles", {"symbol": "AAPL", "interval": "7m"}, "interval: must be one of"),
    ("get_candles", {"symbol": "AAPL", "interval": ["1m"]}, "interval must be a text or a whole number"),
    ("get_candles", {"symbol": "AAPL", "interval": "1m", "format": "csv"}, "format is not an argument"),
    ("get_candles", {"symbol": "AAPL", "symbols": "MSFT", "interval": "1m"}, "symbols: can't be given together"),
    ("get_trades", {"symbol": "AAPL", "start": "yesterday"}, "start: must be a time such as"),
    ("get_trades", {"symbol": "\0"}, "symbol: must be"),
    ("get_trades", {"symbol": "AAPL", "limit": True}, "limit must be"),
    ("get_trades", {"symbol": 10**30}, "symbol must be"),
    ("get_trades", {"symbol": "AAPL", "page_token": "x"}, "page_token: "),
    ("get_trades", {}, "symbol: is required"),
    ("get_trades", {"symbols": ["AAPL", {}]}, "symbols must be"),
    ("get_latest_prices", {"symbols": ",".join(["AAPL"] * 10_001)}, "ask for 10000 at a time"),
    ("get_status", {"verbose": "yes"}, "is not an argument of this tool"),
    ("list_symbols", {"limit": 5}, "is not an argument of this tool"),
    ("explain_candle", {"symbol": "AAPL", "interval": "1m", "timestamp": "2026-02-08T10:30:01Z"}, "must be the start"),
    ("explain_candle", {"symbol": "GOOG", "interval": "1m", "timestamp": "now"}, "list_symbols"),
    ("get_revisions", {"symbol": "AAPL", "interval": "1m"}, "since_version: is required without start"),
]
"""Tool, arguments, and words of the answer."""


def test_bad_arguments(served: str, connection: Connection):
    store(connection, trade(0, "189.44"))
    for name, arguments, words in BAD_ARGUMENTS:
        answer = call(served, name, arguments)
        assert (answer["isError"], words in answer["content"][0]["text"]) == (True, True), (name, arguments, answer)


def test_no_database(serve: Serve):
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        nowhere = f"postgresql://user:h0rse@127.0.0.1:{bound.getsockname()[1]}/database"
        with serve(mcp_enabled=True, database_url=nowhere, pool_timeout_seconds=0.2) as base:
            answer = call(base, "get_trades", {"symbol": "AAPL"})
            assert answer["isError"]
            assert answer["content"][0]["text"] == "The database can't be reached or is too busy; try again in a moment."


def noise() -> Iterator[tuple[bytes, dict[str, str]]]:
    """Messages of clients that are broken."""
    choose = random.Random(19)
    calls = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    messages: list[Any] = [
        *([], {}, None, 5, "text", [LIST, LIST], {**LIST, "id": {}}, {**LIST, "id": 1.5}, {**LIST, "method": 5}),
        *({**LIST, "params": 5}, {**LIST, "params": {"cursor": 5}}, {**LIST, "jsonrpc": "1.0"}, {**LIST, "method": "x"}),
        *({**calls, "params": each} for each in ({}, {"name": 5}, {"name": "get_trades", "arguments": 5})),
        *({**calls, "params": each} for each in ({"name": "\0\ud800"}, {"name": "get_trades", "arguments": None})),
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": {}}},
        {"jsonrpc": "2.0", "method": "notifications/\0"},
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": 5}},
        {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": {}},
        {"jsonrpc": "2.0", "id": 1, "result": {}},
    ]
    bodies = [json.dumps(each).encode() for each in messages]
    bodies += [b"", b"{", b"\xff\xfe", b"[" * 50_000, b'{"a":' * 20_000, b'{"jsonrpc":"2.0","id":%s}' % (b"9" * 5000)]
    bodies.append(
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{"a":%s}}}' % (b"9" * 5000)
    )
    whole = json.dumps({**calls, "params": {"name": "get_trades", "arguments": {"symbol": "AAPL"}}}).encode()
    for _ in range(60):
        changed = bytearray(whole)
        changed[choose.randrange(len(changed))] = choose.randrange(256)
        bodies.append(bytes(changed))
    for body in bodies:
        yield body, {}
        yield body, {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "get_trades"}
        yield body, {"MCP-Protocol-Version": choose.choice(["2025-06-18", "1999-01-01", "\xff", "x" * 100])}


def test_noise_is_never_an_internal_error(served: str, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING), httpx.Client(base_url=served, timeout=60) as client:
        for body, headers in noise():
            encoded = [(name.encode(), value.encode("latin-1")) for name, value in {**HEADERS, **headers}.items()]
            answer = client.post("/mcp", content=body, headers=encoded)
            assert answer.status_code < 500, (body[:200], headers, answer.text)
    assert [record for record in caplog.records if record.exc_info or record.levelno > logging.WARNING] == []


def test_a_call_without_a_handshake_is_answered_in_both_generations(served: str, connection: Connection):
    store(connection, trade(0, "189.44"))
    params = {"name": "get_latest_prices", "arguments": {}, "_meta": MODERN}
    message = {"jsonrpc": "2.0", "id": "a", "method": "tools/call", "params": params}
    headers = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "get_latest_prices"}
    result = send(served, message, **headers).json()["result"]
    assert result["resultType"] == "complete"
    assert result["content"] == call(served, "get_latest_prices", {})["content"]


OFF = """
import sys
from market_data.app import create_app
from market_data.settings import Settings
app = create_app(Settings(database_url="postgresql:///nowhere", mcp_enabled=sys.argv[1] == "on"))
loaded = {"mcp", "mcp_types"} & sys.modules.keys()
print(sorted(loaded), any(route.path == "/mcp" for route in app.routes))
"""


@pytest.mark.parametrize(("state", "printed"), [("off", "[] False"), ("on", "['mcp', 'mcp_types'] True")])
def test_library_is_imported_only_if_enabled(state: str, printed: str):
    ended = subprocess.run([sys.executable, "-c", OFF, state], capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout.strip() == printed


def test_missing_library_is_an_error_with_the_remedy(monkeypatch: pytest.MonkeyPatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, package=None: None if name == "mcp" else found(name, package)
    )
    with pytest.raises(SettingsError, match=r"MCP_ENABLED.*pip install 'market-data-platform\[mcp\]'"):
        create_app(Settings(database_url="postgresql:///nowhere", mcp_enabled=True))


def test_without_mcp_there_is_no_endpoint(base: str):
    assert httpx.post(f"{base}/mcp", json=LIST).status_code == 404
    assert "mcp" not in httpx.get(f"{base}/").json()["base_urls"]
