"""Unmodified MCP clients of both generations: each tool compared with the answer of the HTTP API, errors, and keys."""

import csv
import io
import json
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from helpers.api_keys import bearer, store_key
from helpers.foreign_clients import run_client
from helpers.support import Connection, store, trade

from market_data.auth.api_keys import generate_key
from market_data.embedded import node_modules
from market_data.embedded.packages import node_binary

pytestmark = pytest.mark.slow  # installs clients, and starts many of them


FOLDER = Path(__file__).parent
NPM = FOLDER / "npm"
INVALID_PARAMS = -32602

Call = tuple[str, dict[str, Any]]
Talk = Callable[..., Any]

HOUR = {"start": "2026-02-08T10:00:00Z", "end": "2026-02-08T11:00:00Z"}
MINUTE = {"symbol": "AAPL", "interval": "1m"}
NAMES = [
    "list_symbols",
    "get_latest_prices",
    "get_candles",
    "get_trades",
    "get_status",
    "explain_candle",
    "get_revisions",
]
READS: dict[str, tuple[str, dict[str, Any]]] = {
    "list_symbols": ("/symbols", {}),
    "get_latest_prices": ("/prices/latest", {"symbols": "aapl,MSFT"}),
    "get_candles": ("/candles", {**MINUTE, **HOUR, "limit": 2}),
    "get_trades": ("/trades", {"symbols": "AAPL,MSFT", **HOUR}),
    "explain_candle": ("/candles/explain", {**MINUTE, "timestamp": "2026-02-08T10:30:00Z"}),
    "get_revisions": ("/revisions", {**MINUTE, "since_version": 0}),
}
"""Path and parameters of the HTTP API, by the name of the tool. Each answer is the same at any time."""


class Conversation(NamedTuple):
    """Calls of a client after its start and the list of the tools."""

    base: str
    calls: Sequence[Call] = ()
    headers: Mapping[str, str] = {}

    def as_json(self, mode: str) -> dict[str, Any]:
        return {"url": f"{self.base}/mcp", "headers": self.headers, "mode": mode, "calls": self.calls}


def talk_in_python(script: str, package: str, mode: str = "") -> Talk:
    def talk(*conversations: Conversation) -> Any:
        given = json.dumps([each.as_json(mode) for each in conversations])
        return run_client(FOLDER / script, given, packages=(package,))

    return talk


def talk_in_node(*conversations: Conversation) -> Any:
    script = Path(shutil.copy(NPM / "client.mjs", node_modules(lambda _: None, NPM).parent))
    command = [node_binary(), script, json.dumps([each.as_json("") for each in conversations])]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


CLIENTS: dict[str, tuple[Talk, str]] = {
    "mcp-1.30.0": (talk_in_python("handshake_client.py", "mcp==1.30.0"), "2025-11-25"),
    "mcp-2.3.0": (talk_in_python("modern_client.py", "mcp==2.3.0", "auto"), "2026-07-28"),
    "mcp-2.3.0-legacy": (talk_in_python("modern_client.py", "mcp==2.3.0", "legacy"), "2025-11-25"),
    "npm-1.32.2": (talk_in_node, "2025-11-25"),
}
"""Clients, and the revision of the protocol that each of them speaks."""


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def talk(client: str) -> Talk:
    return CLIENTS[client][0]


def text_of(answer: dict[str, Any]) -> str:
    (content,) = answer["content"]
    assert content["type"] == "text"
    return content["text"]


def error_of(answer: dict[str, Any]) -> str:
    assert answer["isError"], answer
    assert answer.get("structuredContent") is None
    return text_of(answer)


def data_of(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the structured answer without the fields that the HTTP API has in headers and in the address."""
    assert not answer.get("isError"), answer
    return {name: value for name, value in answer["structuredContent"].items() if name not in ("data_version", "url")}


def read(base: str, path: str, parameters: dict[str, Any]) -> httpx.Response:
    response = httpx.get(f"{base}{path}", params=parameters, timeout=60)
    assert response.status_code == 200, response.text
    return response


def same_columns(text: str, table: str) -> list[list[Any]]:
    """Return the rows of a CSV text, with the columns that a table has in common with it."""
    columns = [name for name in csv.DictReader(io.StringIO(table)).fieldnames or () if name in text.partition("\n")[0]]
    rows = list(csv.DictReader(io.StringIO(text)))
    return [[datetime.fromisoformat(row[name]) if name == "timestamp" else row[name] for name in columns] for row in rows]


def test_tools_answer_as_the_http_api(serve: Callable[..., Any], connection: Connection, client: str, talk: Talk):
    trades = [trade(number * 0.5, f"{100 + number}.05", "0.5") for number in range(150)]
    store(connection, *trades, trade(130, "7", symbol="MSFT"))
    with serve(mcp_enabled=True) as base:
        hour = {"symbol": "AAPL", **HOUR}
        before = read(base, "/trades", {**hour, "limit": 100})
        version, token = before.headers["data-version"], before.json()["next_page_token"]
        store(connection, trade(200, "1"))
        calls = [
            *((name, parameters) for name, (_, parameters) in READS.items()),
            ("list_symbols", {"contains": "msft ltd"}),
            ("get_status", {}),
            ("get_trades", {**hour, "as_of": int(version)}),
            ("get_trades", {**hour, "page_token": token}),
            ("get_candles", {"symbol": "NOPE", "interval": "1m"}),
            ("get_candles", {"symbol": "AAPL", "from": "now-1h", "limit": None}),
            ("get_trades", {"symbol": "AAPL", "limit": 101}),
            ("drop_tables", {}),
        ]
        (said,) = talk(Conversation(base, calls))
        assert said["version"] == CLIENTS[client][1]
        assert [tool["name"] for tool in said["tools"]] == NAMES
        assert all(tool["annotations"]["readOnlyHint"] for tool in said["tools"])
        for (name, (path, parameters)), answer in zip(READS.items(), said["answers"], strict=False):
            assert_same_as_http(base, name, path, parameters, answer)
        found, status, past, page, unknown, wrong, too_many, no_tool = said["answers"][len(READS) :]
        assert [row["symbol"] for row in data_of(found)["symbols"]] == ["MSFT"]
        assert data_of(status).keys() == read(base, "/status/ingestion", {}).json().keys()
        assert data_of(past)["trades"] == before.json()["trades"]
        assert data_of(page)["trades"] == read(base, "/trades", {**hour, "page_token": token}).json()["trades"]
        assert "NOPE" in error_of(unknown)
        assert "list_symbols" in error_of(unknown)
        assert all(words in error_of(wrong) for words in ("interval: is required", "did you mean start?"))
        assert error_of(too_many) == "limit: must be a whole number from 1 to 100, not '101'."
        assert no_tool["code"] == INVALID_PARAMS
        assert "drop_tables" in no_tool["message"]


def assert_same_as_http(base: str, name: str, path: str, parameters: dict[str, Any], answer: dict[str, Any]) -> None:
    limit = {"limit": 100} if name in ("get_candles", "get_trades", "get_revisions") else {}
    response = read(base, path, {**limit, **parameters})
    assert data_of(answer) == response.json(), name
    structured, text = answer["structuredContent"], text_of(answer)
    if "data-version" in response.headers:
        assert structured["data_version"] == int(response.headers["data-version"])
    without_limit = {key: value for key, value in parameters.items() if key != "limit"}
    assert httpx.get(structured["url"], timeout=60).json() == read(base, path, without_limit).json()
    assert structured["url"] in text
    if name in ("get_candles", "get_trades"):
        table = text.partition("\n\n")[0]
        given = read(base, path, {"format": "csv", **limit, **parameters}).text
        assert same_columns(table, given) == same_columns(given, table)
        assert len(table.splitlines()) == response.json()["count"] + 1


def test_refusals(serve: Callable[..., Any], database_url: str, connection: Connection, talk: Talk):
    """Refusals of requests without a key, with a wrong key, and over the rate limit."""
    store(connection, trade(0, "189.44"))
    with serve(mcp_enabled=True, auth="required") as base, serve(mcp_enabled=True, rate_limit=1) as limited:
        httpx.get(f"{limited}/symbols")
        none, wrong, right, over = talk(
            Conversation(base),
            Conversation(base, headers=bearer(generate_key())),
            Conversation(base, [("get_latest_prices", {})], bearer(store_key(database_url, "read"))),
            Conversation(limited),
        )
        assert "401" in str(none) or "with the scope read" in str(none)
        assert "401" in str(wrong) or "The key is unknown" in str(wrong)
        assert [row["price"] for row in data_of(right["answers"][0])["prices"]] == [189.44]
        assert "429" in str(over) or "rate limit" in str(over)
