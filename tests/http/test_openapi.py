"""The OpenAPI document.

After an intended change: `UPDATE_SNAPSHOT=1 uv run pytest tests/http/test_openapi.py`, and review the difference. The
contract changes by addition only.
"""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import TestClient

from market_data import __version__

Document = dict[str, Any]
Validate = Callable[[Document, Any], None]

ROWS = ("GET /trades", "GET /candles")
RANGES = (*ROWS, "GET /symbols", "GET /snapshots", "GET /prices/latest")
PAGES = (*ROWS, "GET /revisions")
PAST = (
    *PAGES,
    "GET /candles/explain",
    "GET /stream",
    "GET /price",
    "GET /price/latest",
    "GET /prices/latest",
    "GET /snapshots",
)
ROW_FORMS = ("text/csv", "application/x-ndjson", "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet")

FORMS = {
    "GET /metrics": "text/plain",
    "GET /stream": "text/event-stream",
    "GET /log/key": "text/plain",
    "GET /log/checkpoint": "text/plain",
    "GET /log/tile/{tile}": "application/octet-stream",
    "GET /log/proof": "text/plain",
}
"""Media types other than JSON."""

MORE = {
    "POST /symbols": {"201", "409"},
    "PATCH /symbols/{symbol}": {"409"},
    "POST /symbols/{symbol}/rename": {"404", "409"},
    "GET /symbols/{symbol}/actions": {"410"},
    "POST /symbols/{symbol}/actions": {"201", "404", "409"},
    "POST /symbols/{symbol}/actions/correct": {"404"},
    "POST /symbols/{symbol}/actions/cancel": {"404"},
    "GET /symbols/{symbol}/actions/changes": {"403"},
    "POST /trades": {"409"},
    "POST /trades/cancel": {"404"},
    "POST /trades/correct": {"404"},
    "GET /trades/changes": {"403"},
    "GET /log/key": {"404"},
    "GET /log/checkpoint": {"404"},
    "GET /log/proof": {"409", "410"},
}
"""Statuses of an operation besides those of its kind."""

NOT_SENT = (
    "page_token",
    "format",
    "fill",
    "tz",
    "order",
    "limit",
    "end",
    "as_of",
    "on",
    "adjustment",
    "session",
    "grace",
    "partial",
    "last_event_id",
    "from",
    "to",
    "speed",
    "Last-Event-ID",
    "trade_id",
    "version",
)
"""Parameters that the documentation page sends only if they are filled in; and `symbols` if there is `symbol`."""

SNAPSHOT = Path(__file__).with_name("openapi.json")


def operations(document: Document) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_document_is_the_committed_one(service: TestClient):
    document = service.get("/schema/openapi.json").json()
    assert document["info"].pop("version") == __version__
    if os.environ.get("UPDATE_SNAPSHOT"):
        SNAPSHOT.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    assert document == json.loads(SNAPSHOT.read_text())


def test_document_has_the_operations_and_parameters_of_the_contract(document: Document):
    found = {
        name: {parameter["name"]: parameter["required"] for parameter in operation["parameters"]}
        for name, operation in operations(document)
    }
    ranged = {
        "symbol": False,
        "symbols": False,
        "start": False,
        "end": False,
        "order": False,
        "limit": False,
        "page_token": False,
        "as_of": False,
        "on": False,
        "adjustment": False,
        "format": False,
    }
    assert found == {
        "GET /": {},
        "GET /health": {},
        "GET /health/live": {},
        "GET /health/ready": {},
        "GET /status/ingestion": {},
        "GET /status/audit": {},
        "GET /metrics": {},
        "GET /symbols": {},
        "GET /calendars": {},
        "GET /calendars/{code}/sessions": {"code": True, "start": False, "end": False, "as_of": False},
        "GET /market/status": {"symbol": True},
        "GET /price": {"symbol": True, "adjustment": False, "as_of": False, "on": False},
        "GET /price/latest": {"symbol": True, "adjustment": False, "as_of": False, "on": False},
        "GET /prices/latest": {"symbols": False, "adjustment": False, "as_of": False, "on": False},
        "GET /snapshots": {"symbols": False, "adjustment": False, "as_of": False, "on": False, "session": False},
        "GET /trades": ranged,
        "GET /candles/explain": {
            "symbol": True,
            "interval": True,
            "timestamp": True,
            "tz": False,
            "as_of": False,
            "on": False,
        },
        "GET /candles/revised": {"symbol": True, "interval": True, "start": True, "end": False},
        "GET /candles": ranged | {"interval": True, "fill": False, "tz": False, "session": False, "grace": False},
        "GET /revisions": {
            "symbol": False,
            "symbols": False,
            "interval": True,
            "since_version": False,
            "start": False,
            "end": False,
            "limit": False,
            "page_token": False,
            "format": False,
        },
        "POST /symbols": {},
        "GET /symbols/{symbol}": {"symbol": True},
        "PATCH /symbols/{symbol}": {"symbol": True},
        "POST /symbols/{symbol}/rename": {"symbol": True},
        "GET /symbols/{symbol}/actions": {"symbol": True, "as_of": False},
        "POST /symbols/{symbol}/actions": {"symbol": True},
        "POST /symbols/{symbol}/actions/correct": {"symbol": True},
        "POST /symbols/{symbol}/actions/cancel": {"symbol": True},
        "GET /symbols/{symbol}/actions/changes": {"symbol": True},
        "POST /trades": {"partial": False},
        "POST /trades/cancel": {},
        "POST /trades/correct": {},
        "GET /trades/changes": {"symbol": False, "limit": False, "page_token": False},
        "GET /log/key": {},
        "GET /log/checkpoint": {},
        "GET /log/tile/{tile}": {"tile": True},
        "GET /log/proof": {"symbol": True, "timestamp": True, "trade_id": False, "interval": False, "version": False},
        "GET /stream": dict.fromkeys(
            ["symbols", "channels", "last_event_id", "Last-Event-ID", "from", "to", "speed", "order", "session"], False
        ),
    }


def test_everything_is_described(document: Document):
    bare = []
    for name, operation in operations(document):
        described = [
            (name, operation),
            *((f"{name} {parameter['name']}", parameter) for parameter in operation["parameters"]),
            *((f"{name} {status}", response) for status, response in operation["responses"].items()),
            *(
                (f"{name} {status} {header}", contents)
                for status, response in operation["responses"].items()
                for header, contents in response.get("headers", {}).items()
            ),
        ]
        bare += [name for name, item in described if not item.get("description")]
        assert operation["summary"]
    assert bare == []


def test_parameters_have_valid_examples_except_those_that_the_page_should_not_send(document: Document, valid: Validate):
    for name, operation in operations(document):
        for parameter in operation["parameters"]:
            examples = [example["value"] for example in parameter.get("examples", {}).values()]
            sent = parameter["name"] not in NOT_SENT and (name not in PAGES or parameter["name"] != "symbols")
            sent = sent and (name, parameter["name"]) != ("GET /log/proof", "interval")  # it chooses a candle
            assert bool(examples) == sent, name
            for example in examples:
                valid(parameter["schema"], example)


def test_every_error_is_a_problem_with_a_valid_example(document: Document, valid: Validate):
    for name, operation in operations(document):
        assert operation["responses"].keys() >= {"200", "500"}, name
        for status, response in operation["responses"].items():
            if status in ("200", "201") or (name, status) in (("GET /health", "503"), ("GET /health/ready", "503")):
                form = FORMS.get(name, "application/json")
                assert response["content"].keys() == {form, *(ROW_FORMS if name in PAGES else ())}
                continue
            if status in ("206", "304"):
                assert "content" not in response
                continue
            (media_type,) = response["content"]
            assert media_type == "application/problem+json", f"{name} {status}"
            described = response["content"][media_type]
            assert described["schema"] == {"$ref": "#/components/schemas/Problem"}
            examples = [example["value"] for example in described["examples"].values()]
            assert examples, f"{name} {status}"
            for example in examples:
                valid(described["schema"], example)
                assert str(example["status"]) == status


def test_every_operation_documents_its_errors(document: Document):
    found = {name: set(operation["responses"]) for name, operation in operations(document)}
    operation_has_parameters = {name: bool(operation["parameters"]) for name, operation in operations(document)}
    for name, statuses in found.items():
        expected = {"200", "400", "500"} | MORE.get(name, set()) | ({"410"} if name in PAST else set())
        if name not in ("GET /", "GET /health/live", "GET /metrics"):
            expected.add("503")
        if operation_has_parameters[name] and name != "POST /trades":
            expected.add("404")
        if name in ROWS:
            expected.add("304")
        if name in RANGES:
            expected |= {"206", "412", "416"}
        if name not in ("GET /health/live", "GET /health/ready"):
            expected.add("421")
        if not name.startswith("GET /health"):
            expected.add("429")
            if name != "GET /":
                expected.add("401")
        if name.partition(" ")[0] in ("POST", "PATCH"):
            expected |= {"403", "413", "415"}
        assert statuses == expected, name


def test_examples_of_fields_are_valid(document: Document, valid: Validate):
    count = 0
    for schema in document["components"]["schemas"].values():
        for field in schema.get("properties", {}).values():
            for example in field.get("examples", []):
                valid(field, example)
                count += 1
    assert count > 20


@pytest.mark.parametrize("path", ["/trades", "/candles"])
def test_headers_of_rows_are_documented(document: Document, path: str):
    responses = document["paths"][path]["get"]["responses"]
    limits = {"RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "RateLimit-Policy"}
    assert responses["200"]["headers"].keys() == limits | {
        "Cache-Control",
        "Data-Version",
        "Vary",
        "Link",
        "ETag",
        "Last-Modified",
    }
    assert responses["304"]["headers"].keys() == {"Cache-Control", "Data-Version", "Vary", "ETag", "Last-Modified"}
    assert responses["503"]["headers"]["Retry-After"]["required"]


def test_bodies_have_valid_examples(document: Document, valid: Validate):
    found = {name for name, operation in operations(document) if "requestBody" in operation}
    assert found == {name for name, _ in operations(document) if name.partition(" ")[0] in ("POST", "PATCH")}
    for name, operation in operations(document):
        for described in operation.get("requestBody", {"content": {}})["content"].values():
            assert described["examples"], name
            for example in described["examples"].values():
                valid(described["schema"], example["value"])


def test_examples_of_bodies_are_accepted(writer: TestClient, document: Document):
    """Send the examples in the order of a workflow."""
    answers: list[tuple[str, int]] = []
    for method, path in (
        ("post", "/symbols"),
        ("patch", "/symbols/NVDA"),
        ("post", "/trades"),
        ("post", "/trades/correct"),
        ("post", "/trades/cancel"),
        ("post", "/symbols/NVDA/actions"),
        ("post", "/symbols/NVDA/actions/correct"),
        ("post", "/symbols/NVDA/actions/cancel"),
    ):
        template = path.replace("NVDA", "{symbol}")
        for media_type, described in document["paths"][template][method]["requestBody"]["content"].items():
            writer.post("/symbols", json={"symbol": "AAPL", "name": "Apple"})
            for example in described["examples"].values():
                value = example["value"]
                content = value if isinstance(value, str) else json.dumps(value)
                answer = writer.request(method, path, content=content, headers={"Content-Type": media_type})
                answers.append((path, answer.status_code))
    assert [status for _, status in answers] == [201, 200, 200, 200, 200, 200, 200, 201, 200, 200], answers
