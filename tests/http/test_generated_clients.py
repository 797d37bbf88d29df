"""Clients that openapi-python-client and openapi-typescript generate from the document of a running service.

Each calls every operation. The Python client is imported from a temporary folder, the calls in TypeScript are in `clients/`.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from helpers.api_keys import store_key
from helpers.support import Connection, create_patient_app, serving

from market_data.embedded import node_modules
from market_data.embedded.packages import node_binary
from market_data.settings import Settings

Document = dict[str, Any]

SOURCES = Path(__file__).parent / "clients"
START, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 31, tzinfo=UTC)
HISTORY = END - timedelta(minutes=10)
MONTH_MINUTES = 30 * 24 * 60
LOG_OPERATIONS: dict[str, dict[str, Any]] = {
    "get_log_key": {},
    "get_log_checkpoint": {},
    "get_log_tile": {"tile": "0/000.p/1"},
    "get_log_proof": {"symbol": "AAPL", "timestamp": "2026-01-30T23:58:00Z"},
}
TIME = datetime(2026, 2, 8, 10, 30, tzinfo=UTC)

INSERT_TRADES = """
    INSERT INTO trades (time, symbol, price, volume)
    SELECT minute, 'AAPL', 100 + extract(minute FROM minute), 1
    FROM generate_series(%s, %s - INTERVAL '1 minute', INTERVAL '1 minute') AS minute
"""


def run(*command: str | Path, cwd: Path) -> str:
    """Return the output of a program that must succeed."""
    completed = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=100)
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return completed.stdout + completed.stderr


@pytest.fixture(scope="module")
def base(settings: Settings) -> Iterator[str]:
    """URL of a service that waits for the answers about a month of trades on a busy machine."""
    with serving(create_patient_app(settings)) as address:
        yield address


@pytest.fixture(scope="module")
def python_client(base: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Generate a Python client, and return the generator's output. Tests import it as `generated`."""
    folder = tmp_path_factory.mktemp("python")
    generator = Path(sys.executable).with_name("openapi-python-client")
    arguments = "--url", f"{base}/openapi.json", "--meta", "none", "--output-path", "generated"
    output = run(generator, "generate", *arguments, cwd=folder)
    sys.path.insert(0, str(folder))
    yield output
    sys.path.remove(str(folder))


class Caller:
    """Calls operations of the generated Python client by their ids."""

    def __init__(self, address: str, secret: str) -> None:
        self.client = import_module("generated").AuthenticatedClient(address, secret, raise_on_unexpected_status=True)
        self.models = import_module("generated.models")
        self.modules = {path.stem: path for path in Path(import_module("generated.api").__path__[0]).glob("*/*.py")}
        self.called: set[str] = set()

    def operation(self, name: str) -> ModuleType:
        self.called.add(name)
        return import_module(f"generated.api.{self.modules[name].parent.name}.{name}")

    def __call__(self, name: str, **arguments: Any) -> Any:
        """Return the parsed response."""
        return self.operation(name).sync(client=self.client, **arguments)

    def raw(self, name: str, **arguments: Any) -> bytes:
        """Return the body of a response in another format than JSON."""
        request = self.operation(name)._get_kwargs(**arguments)
        return self.client.get_httpx_client().request(**request).raise_for_status().content


@pytest.fixture
def secret(known: Connection, session_database: str) -> str:
    """An admin's key for a database with a trade of AAPL in each of ten minutes; MSFT has none."""
    known.execute(INSERT_TRADES, (HISTORY, END))
    return store_key(session_database, "admin")


@pytest.fixture
def month(secret: str, connection: Connection) -> Connection:
    """Connect to that database, whose trades now fill 30 days."""
    assert secret
    connection.execute(INSERT_TRADES, (START, HISTORY))
    return connection


@pytest.fixture
def call(python_client: str, base: str, secret: str) -> Iterator[Caller]:
    assert python_client
    caller = Caller(base, secret)
    with caller.client:
        yield caller


def test_the_python_generator_understands_the_whole_document_but_for_ndjson_bodies(python_client: str):
    assert re.findall("^(?:WARNING|ERROR).*|^Unsupported.*|^Invalid.*", python_client, re.MULTILINE) == [
        "WARNING parsing POST /trades within trades.",
        "Unsupported content type application/x-ndjson",
    ]


def call_actions(call: Caller) -> None:
    """Call the operations of corporate actions."""
    models = call.models
    action = models.ActionIn("split", models.ActionInType.SPLIT, date(2000, 1, 3), ratio="4:1")
    assert call("record_action", symbol="AAPL", body=action).ex_date == date(2000, 1, 3)
    assert call("correct_action", symbol="AAPL", body=models.ActionCorrectIn("split", "typo", ratio="5:1")).changed
    assert call("get_symbol_actions", symbol="AAPL").actions[0].ratio == "5:1"
    assert call("cancel_action", symbol="AAPL", body=models.ActionCancelIn("split", "none")).after is None
    assert call("get_action_changes", symbol="AAPL").count == 3


def test_python_calls_every_operation(call: Caller, document: Document):
    models = call.models
    assert call("add_symbol", body=models.SymbolIn("BRK/B", "Berkshire")).symbol == "BRK/B"
    assert call("get_one_symbol", symbol="brk/b").name == "Berkshire"
    assert call("change_symbol", symbol="brk/b", body=models.SymbolChangeIn(name="Berkshire Hathaway")).active
    assert [symbol.symbol for symbol in call("get_symbols").symbols] == ["AAPL", "BRK/B", "MSFT"]
    call("add_symbol", body=models.SymbolIn("OLD", "Old", type_=models.SymbolInType.ETF, aliases=["Older"]))
    named = call("rename_symbol", symbol="old", body=models.RenameIn("NEW", TIME))
    assert (named.symbol, named.type_, [each.until for each in named.names]) == ("NEW", "etf", [TIME, None])
    assert call("get_one_symbol", symbol="OLD").renamed_to == "NEW"

    sent = models.TradeIn(symbol="BRK/B", price=489.5, volume=2, timestamp=TIME)
    free = models.TradeIn(symbol="BRK/B", price=0, volume=2, timestamp=TIME, trade_id=2)
    second = models.TradeIn(symbol="BRK/B", price=489.5, volume=2, timestamp=TIME, trade_id=1)
    assert call("store_trades", body=sent).stored == 1
    answer = call("store_trades", body=[second, free], partial=True)
    assert (answer.stored, [rejection.index for rejection in answer.rejected]) == (1, [1])
    answer = call("correct_trade", body=models.CorrectIn(symbol="BRK/B", timestamp=TIME, price=490, reason="typo"))
    assert (answer.changed, answer.timestamp, answer.after.price) == (True, TIME, 490)
    answer = call("cancel_trade", body=models.CancelIn(symbol="BRK/B", timestamp=TIME, trade_id=1, reason="twice"))
    assert answer.action is models.MadeChangeAction.CANCEL
    assert [change.reason for change in call("get_trade_changes", symbol="BRK/B").changes] == ["twice", "typo"]

    call_actions(call)

    assert call("get_latest_price", symbol="BRK/B").price == call("get_price", symbol="brk/b").price == 490
    assert [price.price for price in call("get_latest_prices").prices] == [159, 490]
    assert [price.symbol for price in call("get_latest_prices", symbols="MSFT,BRK/B").prices] == ["BRK/B"]
    assert [snapshot.latest.price for snapshot in call("get_snapshots", symbols="BRK/B").snapshots] == [490]
    assert len(call("get_trades", symbol="AAPL").trades) == 10
    assert len(call("get_candles", symbol="AAPL", interval=models.Interval.MONTH_1).candles) == 1

    answer = call("get_candle_explanation", symbol="AAPL", interval=models.Interval.MONTH_1, timestamp="2026-01-01")
    assert answer.late_trade_count == 10
    assert call("get_revisions", symbol="AAPL", interval=models.StoredInterval.WEEK_1, start="2026-01-01").version > 0
    assert call("get_revised_buckets", symbol="AAPL", interval=models.StoredInterval.WEEK_1, start="2026-01-01").count > 0
    assert [calendar.code for calendar in call("get_calendars").calendars] == ["24/7"]
    days = {"start": date(2026, 2, 7), "end": date(2026, 2, 9)}
    assert [session.day.day for session in call("get_sessions", code="24/7", **days).sessions] == [7, 8]
    assert call("get_market_status", symbol="AAPL").status is models.MarketStatusStatus.OPEN
    assert call("get_audit_status").open_differences == 0
    for name, arguments in LOG_OPERATIONS.items():  # 404 until the log has begun
        assert call(name, **arguments)
    assert call("get_root").links.additional_properties
    assert call("get_health").last_trade_count == 11
    assert call("get_liveness").status == "alive"
    assert call("get_readiness").status is models.ReadinessStatus.READY
    assert call("get_ingestion_status").ingestion_status is models.IngestionStatusIngestionStatus.DISABLED
    assert "market_data_requests_total" in call("get_metrics")
    request = call.operation("get_stream")._get_kwargs(symbols="AAPL", channels="trades", last_event_id_header="")
    with call.client.get_httpx_client().stream(**request) as stream:
        assert next(stream.iter_lines()).startswith("id: ")

    operations = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert call.called == {re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", name) for name in operations}


def test_python_gets_all_rows_as_csv_without_a_limit(call: Caller, month: Connection):
    assert month
    models = call.models
    ranged = {"symbol": "AAPL", "interval": models.Interval.MINUTE_1, "start": START, "end": END}
    csv = call.raw("get_candles", **ranged, format_=models.ResponseFormat.CSV)
    assert csv.count(b"\n") == 1 + MONTH_MINUTES
    assert call.raw("get_candles", **ranged, format_=models.ResponseFormat.ARROW, limit=10)
    assert (
        call.raw("get_trades", symbol="AAPL", start=START, format_=models.ResponseFormat.CSV).count(b"\n")
        == 1 + MONTH_MINUTES
    )


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (END - timedelta(minutes=2), END),
        (END - timedelta(minutes=2), date(2026, 1, 31)),
        ("2026-01-30T23:58:00Z", "2026-01-31T01:00:00+01:00"),
        (f"{END.timestamp() - 120:.0f}", "2026-01-31"),
    ],
    ids=["datetime", "date", "text", "epoch"],
)
def test_python_takes_times_in_every_notation(call: Caller, start: object, end: object):
    answer = call("get_candles", symbol="AAPL", interval=call.models.Interval.MINUTE_1, start=start, end=end)
    assert answer.count == 2
    assert all(isinstance(candle.timestamp, datetime) and candle.timestamp.tzinfo for candle in answer.candles)


def test_python_decodes_each_kind_of_list_as_its_class_even_without_rows(call: Caller):
    minute, fill = call.models.Interval.MINUTE_1, call.models.Fill
    for start in (END - timedelta(minutes=1), END + timedelta(days=365)):
        ranged = {"interval": minute, "start": start, "end": start + timedelta(minutes=1)}
        kinds = [
            type(call("get_candles", **ranged, **selected)).__name__
            for selected in (
                {"symbol": "AAPL"},
                {"symbol": "AAPL", "fill": fill.PREVIOUS},
                {"symbols": "AAPL,MSFT"},
                {"symbols": "AAPL,MSFT", "fill": fill.NULL},
            )
        ]
        assert kinds == ["CandleList", "FilledCandleList", "SymbolsCandleList", "SymbolsFilledCandleList"]
        del ranged["interval"]
        kinds = [type(call("get_trades", **ranged, **given)).__name__ for given in ({"symbol": "AAPL"}, {"symbols": "AAPL"})]
        assert kinds == ["TradeList", "SymbolsTradeList"]


def test_python_reads_pages_and_typed_problems(call: Caller):
    first = call("get_trades", symbol="AAPL", limit=2)
    second = call("get_trades", symbol="AAPL", limit=2, page_token=first.next_page_token)
    assert [trade.price for trade in (*first.trades, *second.trades)] == [159, 158, 157, 156]
    problem = call("get_latest_price", symbol="ACME")
    assert (type(problem).__name__, problem.status) == ("Problem", 404)
    assert [error.name for error in call("get_trades", symbol="AAPL", limit=0).errors] == ["limit"]
    naive = datetime(2026, 2, 8, 10, 30)
    assert "has no time zone" in call("get_trades", symbol="AAPL", start=naive).detail


def test_the_document_has_no_defaults_and_only_named_choices(document: Document):
    """Generated clients send defaults, and take fields with one for always present."""
    parameters = [
        parameter["schema"]
        for path in document["paths"].values()
        for operation in path.values()
        for parameter in operation["parameters"]
    ]
    schemas = document["components"]["schemas"]
    fields = [field for schema in schemas.values() for field in schema.get("properties", {}).values()]
    assert [schema for schema in (*parameters, *fields) if "default" in schema] == []
    assert [schema for schema in parameters if "enum" in schema] == []
    assert schemas["Interval"]["x-enum-varnames"][schemas["Interval"]["enum"].index("1M")] == "MONTH_1"


@pytest.fixture(scope="module")
def typescript_client(base: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generate a TypeScript client beside the calls."""
    folder = tmp_path_factory.mktemp("typescript")
    modules = node_modules(lambda _: None, SOURCES)
    (folder / "node_modules").symlink_to(modules)
    for source in ("calls.mts", "tsconfig.json"):
        shutil.copy(SOURCES / source, folder)
    generator = modules / "openapi-typescript" / "bin" / "cli.js"
    run(node_binary(), generator, f"{base}/openapi.json", "-o", "schema.d.ts", cwd=folder)
    return folder


def test_typescript_calls_every_operation(
    typescript_client: Path, base: str, secret: str, month: Connection, document: Document
):
    assert month
    (typescript_client / "service.mts").write_text(
        f"export const address: string = {json.dumps(base)}\nexport const key: string = {json.dumps(secret)}\n"
    )
    run(node_binary(), typescript_client / "node_modules" / "typescript" / "bin" / "tsc", cwd=typescript_client)
    found = json.loads(run(node_binary(), "calls.mts", cwd=typescript_client))
    called = set(found.pop("called"))
    assert called == {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert found.pop("event").startswith("id: ")
    assert found == {
        "sameTypes": [True] * 6,
        "symbol": ["Berkshire", "Berkshire Hathaway", "NEW", 2, "Apple", "Berkshire Hathaway", "Microsoft", "Old"],
        "stored": [[1, 0], [1, 1]],
        "changes": [490, "cancel", "twice", "typo"],
        "actions": ["4:1", "5:1", "cancel", 0, 3],
        "prices": [159, 159, 159, 490, 490],
        "pages": [[159, 158], [157, 156]],
        "csvLines": MONTH_MINUTES,
        "arrowBytes": True,
        "candles": [303, "null", None],
        "problems": ["Not Found", "limit"],
        "nothing": True,
        "service": {
            "links": found["service"]["links"],
            "trades": MONTH_MINUTES + 1,
            "live": "alive",
            "ready": "ready",
            "ingestion": "disabled",
            "late": MONTH_MINUTES,
            "revised": 1,
            "revisions": None,
            "calendars": ["24/7"],
            "sessions": ["2026-02-07", "2026-02-08"],
            "market": "open",
            "differences": 0,
            "log": True,
            "metrics": True,
        },
    }
