"""How the statements of `queries` are run over many chunks: by an index, and only over the chunks that matter."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any, LiteralString

import psycopg
import pytest
from support import T0, Connection

from market_data import migrate, queries

DAY = timedelta(days=1)
DAYS = 210
SYMBOLS = ["AAPL", "GOOGL", "MSFT", "TSLA"]


@pytest.fixture(scope="module")
def filled(new_database: Callable[[], AbstractContextManager[str]]) -> Iterator[Connection]:
    """Thirty chunks, all but the last two days materialized, and statistics."""
    with new_database() as url:
        migrate.upgrade(url)
        with psycopg.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
            connection.execute("SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs")
            connection.execute("INSERT INTO symbols (symbol, name) SELECT s, s FROM unnest(%s::text[]) AS s", (SYMBOLS,))
            connection.execute(
                """
                INSERT INTO trades (time, symbol, price, volume)
                SELECT minute, symbol, 1, 1
                FROM generate_series(%s, %s, INTERVAL '10 minutes') AS minute
                CROSS JOIN symbols
                """,
                (T0, T0 + DAYS * DAY),
            )
            connection.execute(
                "CALL refresh_continuous_aggregate('candles_1m', %s::timestamptz, %s::timestamptz)",
                (T0 - DAY, T0 + (DAYS - 2) * DAY),
            )
            connection.execute("ANALYZE")
            yield connection


# A statement that the service prepares is planned anew for its first executions, and then perhaps once for all.
@pytest.fixture(params=["force_custom_plan", "force_generic_plan"])
def planned(filled: Connection, request: pytest.FixtureRequest) -> Iterator[Connection]:
    filled.execute("SELECT set_config('plan_cache_mode', %s, false)", (request.param,))
    yield filled
    filled.execute("RESET plan_cache_mode")


Node = dict[str, Any]


def executed(connection: Connection, statement: LiteralString, parameters: tuple[Any, ...]) -> list[Node]:
    """The nodes of a statement's plan that were executed, prepared as the service does it."""
    types = ", ".join("timestamptz" if hasattr(value, "tzinfo") else "text" for value in parameters)
    types = types if parameters else ""
    numbered = statement
    for number in range(1, len(parameters) + 1):
        numbered = numbered.replace("%s", f"${number}", 1)
    literals = ", ".join(psycopg.sql.Literal(value).as_string(connection) for value in parameters)
    typed = ", ".join(
        {"datetime": "timestamptz", "str": "text", "int": "bigint"}[type(value).__name__] for value in parameters
    )
    connection.execute(f"PREPARE statement ({typed}) AS {numbered}" if parameters else f"PREPARE statement AS {statement}")
    try:
        explain = f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE statement{f' ({literals})' if parameters else ''}"
        ((((plan,),),)) = connection.execute(explain).fetchall()
    finally:
        connection.execute("DEALLOCATE statement")
    return [node for node in _walk(plan["Plan"]) if node["Actual Loops"]]


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.get("Plans", []):
        yield from _walk(child)
