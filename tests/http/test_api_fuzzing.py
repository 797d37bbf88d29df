"""Fuzzing with Schemathesis: responses to single requests and to sequences match the OpenAPI document."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest
import schemathesis
from helpers.api_keys import bearer, store_key
from helpers.support import Connection, create_patient_app, serving, store, trade
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.errors import FlakyStrategyDefinition
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from market_data.settings import Settings

Document = dict[str, Any]

nowhere = Settings(database_url="postgresql:///nowhere", feed_enabled=False, compatibility="none")
document: Document = json.loads(json.dumps(create_patient_app(nowhere).openapi_schema.to_schema()))

# The service also accepts numbers as strings, which the document leaves out for the sake of generated clients.
NUMBER = r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$"
STRINGS = {"price": NUMBER, "volume": NUMBER, "trade_id": r"^[+-]?\d{1,4000}$"}
for body in ("TradeIn", "CancelIn", "CorrectIn"):
    fields = document["components"]["schemas"][body]["properties"]
    for name in STRINGS.keys() & fields.keys():
        fields[name] = {"oneOf": [fields[name], {"type": "string", "pattern": STRINGS[name]}]}

schema = schemathesis.openapi.from_dict(document)

# Schemathesis does not know NDJSON: generated strings are sent as they are.
schemathesis.serializer("application/x-ndjson")(lambda _, value: str(value).encode("utf-8", "replace"))

SCENARIOS = settings(
    max_examples=10,
    stateful_step_count=10,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module")
def database(session_database: str) -> str:
    """A database with a few trades."""
    with psycopg.connect(session_database, autocommit=True) as connection:
        reset(connection)
    return session_database


@pytest.fixture(scope="module")
def address(database: str) -> Iterator[str]:
    """URL of a service on that database."""
    with serving(create_patient_app(Settings(database_url=database, feed_enabled=False, compatibility="none"))) as address:
        yield address


@pytest.fixture(scope="module")
def secret(database: str) -> str:
    """An API key with the scope admin."""
    return store_key(database, "admin")


def reset(connection: Connection) -> None:
    """Empty the database but for a few trades."""
    connection.execute(
        "TRUNCATE trades, latest_trades, symbols, symbol_names, symbol_calendars, corporate_actions, stale_ranges, "
        "trade_changes, stream_events, commits"
    )
    store(connection, *(trade(number, "104.90") for number in range(200)))


def excluded(case: schemathesis.Case) -> list[Any]:
    """Return the checks that do not apply to a response."""
    # The document can't describe that a start must lie before an end, and that a token belongs to its parameters.
    if case.operation.label == "POST /trades":  # with partial=true, 200 lists the rejected trades
        return [positive_data_acceptance, negative_data_rejection]
    return [positive_data_acceptance]


# A response of /stream never ends; test_stream.py covers it.
@schema.exclude(path="/stream").parametrize()
@settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
def test_every_response_is_as_documented(case: schemathesis.Case, address: str, secret: str):
    case.call_and_validate(base_url=address, headers=bearer(secret), excluded_checks=excluded(case))


IDENTITY = {name: f"$request.body#/{name}" for name in ("symbol", "timestamp", "trade_id")}
TRADE = {
    "symbol": "$response.body#/symbol",
    "timestamp": "2026-02-08T10:30:00Z",
    "trade_id": 1,
    "price": "104.9",
    "volume": 3,
}
SYMBOL = {"symbol": "$response.body#/symbol"}
RANGE = SYMBOL | {"start": "2026-02-08T10:00:00Z", "end": "2026-02-08T11:00:00Z"}
NEXT = {"page_token": "$response.body#/next_page_token"}

LINKS: list[tuple[str, str, str, dict[str, Any], dict[str, Any] | None]] = [
    ("POST /symbols", "201", "POST /trades", {}, TRADE),
    ("POST /symbols", "200", "POST /trades", {}, TRADE),
    ("PATCH /symbols/{symbol}", "200", "POST /trades", {}, TRADE),
    ("POST /trades", "200", "GET /trades", RANGE | {"symbol": IDENTITY["symbol"]}, None),
    ("POST /trades", "200", "GET /candles", RANGE | {"symbol": IDENTITY["symbol"], "interval": "1m"}, None),
    ("POST /trades", "200", "GET /price/latest", {"symbol": IDENTITY["symbol"]}, None),
    ("POST /trades", "200", "POST /trades/cancel", {}, IDENTITY | {"reason": "reported twice"}),
    ("POST /trades", "200", "POST /trades/correct", {}, IDENTITY | {"price": "100", "reason": "fat finger"}),
    ("GET /trades", "200", "GET /trades", RANGE | NEXT, None),
    ("GET /trades", "200", "GET /price/latest", SYMBOL, None),
    ("POST /trades/correct", "200", "POST /trades/cancel", {}, IDENTITY | {"reason": "wrong all the same"}),
    ("POST /trades/correct", "200", "GET /candles", RANGE | {"interval": "1m"}, None),
    ("POST /trades/cancel", "200", "POST /trades", {}, TRADE),
    ("POST /trades/cancel", "200", "GET /trades", RANGE, None),
    ("POST /trades/cancel", "200", "GET /trades/changes", SYMBOL, None),
    ("GET /trades/changes", "200", "GET /trades/changes", NEXT, None),
]
"""OpenAPI links from a response to the next request, which Schemathesis does not infer."""

CHAIN = {
    ("POST /symbols", 201),
    ("PATCH /symbols/{symbol}", 200),
    ("POST /trades", 200),
    ("POST /trades/correct", 200),
    ("POST /trades/cancel", 200),
    ("GET /trades", 200),
    ("GET /candles", 200),
    ("GET /price/latest", 200),
    ("GET /trades/changes", 200),
}
"""Responses that a run with a key must have reached."""


def linked() -> schemathesis.BaseSchema:
    """Return the document with the links."""
    with_links: Document = json.loads(json.dumps(document))
    operations = {
        f"{method.upper()} {path}": operation
        for path, methods in with_links["paths"].items()
        for method, operation in methods.items()
    }
    del operations["POST /trades"]["requestBody"]["content"]["application/x-ndjson"]  # a link can't choose between two
    # With these, most of the requests for candles would be wrong.
    candles = operations["GET /candles"]["parameters"]
    candles[:] = [parameter for parameter in candles if parameter["name"] not in ("symbols", "tz", "page_token")]
    for source, status, target, parameters, body in LINKS:
        link: Document = {"operationId": operations[target]["operationId"], "parameters": parameters}
        if body is not None:
            link |= {"requestBody": body, "x-schemathesis": {"merge_body": False}}
        operations[source]["responses"][status].setdefault("links", {})[f"then {target}"] = link
    # Without those that no link leads to, so that others are reached sooner.
    return schemathesis.openapi.from_dict(with_links).exclude(path="/stream").exclude(path_regex="^/(calendars|log)")


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("key", "steps"), [("admin", 200), (None, 60)], ids=["with a key", "without a key"])
def test_every_sequence_has_documented_responses(
    address: str, connection: Connection, secret: str, key: str | None, steps: int
):
    described = linked()
    described.config.generation.update(with_security_parameters=key is None)  # which it would generate
    answers: Counter[tuple[str, int]] = Counter()
    wrong: list[str] = []

    class Workflow(described.as_state_machine()):
        def setup(self) -> None:
            reset(connection)

        def get_call_kwargs(self, case: schemathesis.Case) -> dict[str, Any]:
            return {"base_url": address, "headers": bearer(secret) if key else {}}

        def validate_response(
            self, response: schemathesis.Response, case: schemathesis.Case, additional_checks: Any = None, **_: Any
        ) -> None:
            answers[case.operation.label, response.status_code] += 1
            try:
                case.validate_response(response, excluded_checks=excluded(case))
            except FailureGroup as failure:
                wrong.append("\n".join(map(str, failure.exceptions)))

    for number in range(30):
        if wrong or (answers.total() >= steps and (key is None or set(answers) >= CHAIN)):
            break
        with suppress(
            FlakyStrategyDefinition
        ):  # the same steps may have other results later, which Schemathesis itself ignores too
            seed(number)(Workflow).run(settings=SCENARIOS)
    assert not wrong, wrong[0]
    assert not [status for _, status in answers if status >= 500]
    if key:
        assert set(answers) >= CHAIN, answers
    else:
        assert not [label for label, status in answers if status < 300 and not label.startswith("GET ")]
