"""The queries for analysts in `alembic/README.md`, each run as the analyst on a few days of trades."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import LiteralString, cast

import psycopg
import pytest
from helpers.service import eventually
from helpers.support import PROJECT, Connection, Databases
from psycopg.rows import dict_row

TEXT = f"\n{(PROJECT / 'alembic/README.md').read_text()}"
SECTION = TEXT.partition("\n## Queries for analysts\n")[2].partition("\n## ")[0]
QUERIES = [query.strip() for block in re.findall(r"```sql\n(.*?)```", SECTION, re.DOTALL) for query in block.split(";\n")]
QUERIES = [query for query in QUERIES if query]

FILL = """
    INSERT INTO trades (time, symbol, price, volume)
    SELECT
        moment, symbol,
        CASE symbol
            WHEN 'BY DAY' THEN extract(epoch FROM moment)::bigint / 86400 % 3 - 1
            WHEN 'BY TRADE' THEN extract(epoch FROM moment)::bigint / 540 % 3 - 1
            ELSE 100 + 10 * sin(extract(epoch FROM moment) / 5000 + length(symbol))::numeric(9, 2)
        END,
        2
    FROM generate_series(now() - INTERVAL '3 days', now() - INTERVAL '1 second', INTERVAL '9 minutes') AS moment
    CROSS JOIN symbols
"""


@pytest.fixture(scope="module")
def analyst(new_migrated_database: Callable[[], AbstractContextManager[str]]) -> Iterator[Connection]:
    with new_migrated_database() as url, psycopg.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
        connection.execute("SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs")
        connection.execute("INSERT INTO symbols (symbol, name) VALUES ('AAPL', 'Apple Inc.'), ('MSFT', 'Microsoft')")
        connection.execute("INSERT INTO symbols (symbol, name, signed) VALUES ('BY DAY', '', true), ('BY TRADE', '', true)")
        connection.execute(FILL)
        connection.execute("CALL refresh_candles()")
        connection.execute("SET SESSION AUTHORIZATION analyst")
        yield connection
        connection.execute("SET SESSION AUTHORIZATION postgres")


def test_there_are_queries():
    assert len(QUERIES) >= 12


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: re.sub(r"\W+", " ", query)[:40])
def test_query_returns_rows(analyst: Connection, query: str):
    rows = analyst.execute(cast(LiteralString, query)).fetchall()
    assert rows
    assert any(value is not None for value in rows[-1])


def test_the_query_of_jobs_shows_the_status_of_each(new_migrated_database: Databases):
    (query,) = [query for query in QUERIES if "timescaledb_information.jobs" in query]
    with new_migrated_database() as url, psycopg.connect(url, autocommit=True) as connection:

        def without_status() -> list[str]:
            rows = connection.cursor(row_factory=dict_row).execute(cast("LiteralString", query)).fetchall()
            assert {"candles_1w", "trades", "commits"} <= {row["hypertable_name"] for row in rows}
            return [row["proc_name"] for row in rows if row["last_run_status"] is None]

        # All other jobs run as soon as they exist.
        assert eventually(lambda: without_status() == ["drop_old_trades"], 60)
