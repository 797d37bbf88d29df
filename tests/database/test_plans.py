"""How the statements of `queries` are run over many chunks: by an index, and only over the chunks that matter."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import sql
from support import T0, Connection

from market_data import migrate, queries

DAY, HOUR, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
DAYS = 210
END = T0 + DAYS * DAY
MIDDLE = T0 + 100 * DAY
SYMBOLS = ["AAPL", "GOOGL", "MSFT", "TSLA"]


FILL = """
    INSERT INTO trades (time, symbol, price, volume)
    SELECT moment, symbol, 1, 1
    FROM generate_series(%s, %s, INTERVAL '10 minutes') AS moment
    CROSS JOIN symbols
"""


@pytest.fixture(scope="module")
def filled(new_database: Callable[[], AbstractContextManager[str]]) -> Iterator[Connection]:
    """Thirty chunks, all but the last two days materialized, and statistics."""
    with new_database() as url:
        migrate.upgrade(url)
        with psycopg.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
            connection.execute("SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs")
            connection.execute("INSERT INTO symbols (symbol, name) SELECT s, s FROM unnest(%s::text[]) AS s", (SYMBOLS,))
            connection.execute(FILL, (T0, END - 2 * DAY))
            policy = "SELECT job_id FROM timescaledb_information.jobs WHERE hypertable_name = 'candles_1m'"
            connection.execute("CALL run_job(%s)", connection.execute(policy).fetchone())
            connection.execute(FILL, (END - 2 * DAY + 10 * MINUTE, END))
            connection.execute("INSERT INTO symbols (symbol, name) VALUES ('IDLE', 'No trade, so looked for everywhere')")
            connection.execute("ANALYZE")
            yield connection


# A statement that the service prepares is planned anew for its first executions, and then perhaps once for all.
@pytest.fixture(params=["force_custom_plan", "force_generic_plan"])
def planned(filled: Connection, request: pytest.FixtureRequest) -> Iterator[Connection]:
    filled.execute("SELECT set_config('plan_cache_mode', %s, false)", (request.param,))
    yield filled
    filled.execute("RESET plan_cache_mode")


Node = dict[str, Any]
TYPES = {datetime: "timestamptz", str: "text", int: "bigint", list: "text[]"}


def executed(connection: Connection, statement: LiteralString, *parameters: Any) -> list[Node]:
    """The nodes that were executed of the plan of a prepared statement."""
    numbered = statement
    for number in range(len(parameters)):
        numbered = numbered.replace("%s", f"${number + 1}", 1)
    types = ", ".join(TYPES[type(value)] for value in parameters)
    values = sql.SQL(", ").join(map(sql.Literal, parameters)).as_string(connection)
    connection.execute(f"PREPARE planned {f'({types})' if types else ''} AS {numbered}")  # type: ignore[arg-type]
    try:
        explain = f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE planned {f'({values})' if values else ''}"
        (((plan,),),) = connection.execute(explain).fetchall()  # type: ignore[arg-type]
    finally:
        connection.execute("DEALLOCATE planned")
    return [node for node in _walk(plan["Plan"]) if node["Actual Loops"]]


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.get("Plans", []):
        yield from _walk(child)


def chunks(connection: Connection, start: datetime, end: datetime) -> set[str]:
    """The chunks, of trades and of candles, that have a part of a range."""
    rows = connection.execute(
        "SELECT chunk_name FROM timescaledb_information.chunks WHERE range_start < %s AND range_end > %s", (end, start)
    )
    return {name for (name,) in rows}


def scanned(nodes: list[Node]) -> set[str]:
    return {node["Relation Name"] for node in nodes if node.get("Relation Name", "").startswith("_hyper_")}


@pytest.mark.parametrize(
    ("statement", "parameters", "start", "end"),
    [
        pytest.param(queries.LATEST_PRICE, ("MSFT",), END, END + SECOND, id="latest price"),
        pytest.param(queries.LAST_PRICES, (SYMBOLS,), END, END + SECOND, id="last prices"),
        pytest.param(
            queries.NEWEST_TRADE, (END - queries.LATELY,), END - queries.LATELY, END + SECOND, id="newest trade of late"
        ),
        pytest.param(queries.TRADES, ("MSFT", MIDDLE, MIDDLE + HOUR, 1001), MIDDLE, MIDDLE + HOUR, id="trades of an hour"),
        pytest.param(queries.TRADES, ("MSFT", T0, END + DAY, 7), END - HOUR, END + SECOND, id="first page of all trades"),
        pytest.param(
            queries.TRADES_BELOW,
            ("MSFT", T0, MIDDLE, MIDDLE, 0, 7),
            MIDDLE - 2 * HOUR,
            MIDDLE,
            id="later page of trades",
        ),
        *(
            pytest.param(statement, ("MSFT", start, end, 10_001), start, end, id=f"{interval} candles of {name}")
            for interval, statement in queries.CANDLES.items()
            for name, start, end in (
                ("an hour, materialized", MIDDLE, MIDDLE + HOUR),
                ("a day, materialized", MIDDLE, MIDDLE + DAY),
                ("the last hour", END - HOUR, END + SECOND),
                ("three days, materialized in part", END - 3 * DAY, END + SECOND),
            )
        ),
    ],
)
def test_statement_reads_by_index_and_only_the_chunks_of_its_range(
    planned: Connection, statement: LiteralString, parameters: tuple[Any, ...], start: datetime, end: datetime
):
    nodes = executed(planned, statement, *parameters)
    assert scanned(nodes), "it reads no chunk at all"
    assert scanned(nodes) <= chunks(planned, start, end)
    assert len(chunks(planned, T0, END)) > 30
    by_index = {"Index Scan", "Index Only Scan", "Index Scan Backward", "Bitmap Heap Scan"}
    assert {node["Node Type"] for node in nodes if node.get("Relation Name", "").startswith("_hyper_")} <= by_index


def test_trades_are_counted_up_to_ten_thousand_and_no_further(planned: Connection):
    nodes = executed(planned, queries.TRADE_COUNT)
    read = sum(node["Actual Rows"] for node in nodes if node.get("Relation Name", "").startswith("_hyper_"))
    assert read == 10_001
    ((count,),) = planned.execute(queries.TRADE_COUNT).fetchall()
    assert count == pytest.approx(DAYS * 24 * 6 * len(SYMBOLS), rel=0.01)
