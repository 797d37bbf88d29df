"""Queries of Grafana's dashboards, run as the analyst, as Grafana sends them."""

import hashlib
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import LiteralString, cast

import psycopg
import pytest
import yaml
from helpers.grafana_dashboards import FOLDER, metrics, statements
from helpers.service import eventually, running
from helpers.support import PROJECT, Connection

from market_data.cli.operate.psql import connection_environment as database_environment

FILL = """
    INSERT INTO trades (time, symbol, price, volume)
    SELECT moment, symbol, CASE WHEN signed THEN 0 ELSE 104 END, 2
    FROM generate_series(now() - INTERVAL '50 minutes', now() - INTERVAL '1 second', INTERVAL '20 seconds') AS moment
    CROSS JOIN symbols
"""


@pytest.fixture(scope="module")
def analyst(new_migrated_database: Callable[[], AbstractContextManager[str]]) -> Iterator[Connection]:
    with new_migrated_database() as url, psycopg.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
        connection.execute("INSERT INTO symbols (symbol, name) VALUES ('AAPL', 'Apple Inc.'), ('MSFT', 'Microsoft')")
        connection.execute("INSERT INTO symbols (symbol, name, signed) VALUES ('CL 1-2', 'Spread', true)")
        connection.execute(FILL)
        connection.execute("SET SESSION AUTHORIZATION analyst")
        yield connection
        connection.execute("SET SESSION AUTHORIZATION postgres")


def filled(statement: str) -> LiteralString:
    """Return a statement with Grafana's macros and variables replaced for the last hour."""
    now = datetime.now(UTC)
    moments = [f"'{moment:%Y-%m-%dT%H:%M:%S.%fZ}'" for moment in (now - timedelta(hours=1), now)]
    statement = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 BETWEEN {moments[0]} AND {moments[1]}", statement)
    statement = statement.replace("${symbol:sqlstring}", "'AAPL'").replace("${interval:sqlstring}", "'1m'")
    assert "$" not in statement
    return cast("LiteralString", statement)


@pytest.mark.parametrize("statement", [pytest.param(statement, id=name) for name, statement in statements()])
def test_query_of_a_dashboard_returns_rows(analyst: Connection, statement: str):
    rows = analyst.execute(filled(statement)).fetchall()
    assert rows
    assert None not in rows[-1]


def test_the_analyst_password_may_contain_any_characters(database_url: str, connection: Connection):
    password = "p@ss $w'rd\\\" :x"
    environment = database_environment(database_url, {**os.environ, "ANALYST_PASSWORD": password})
    arguments = yaml.safe_load((PROJECT / "compose.yaml").read_text())["services"]["analyst"]["command"]
    script = str(FOLDER / "analyst.sql")
    done = subprocess.run(
        [each.replace("/analyst.sql", script) for each in arguments],
        # An MD5 hash contains the role name.
        env={**environment, "PGOPTIONS": "-c password_encryption=md5"},
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        (stored,) = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'analyst'").fetchone() or ("",)
        assert stored == "md5" + hashlib.md5(f"{password}analyst".encode()).hexdigest()
    finally:
        connection.execute("ALTER ROLE analyst PASSWORD NULL")


def test_a_running_service_has_every_metric_of_dashboards_and_alerts(database_url: str, tmp_path: Path):
    assert len(metrics()) >= 12
    with running(tmp_path, DATABASE_URL=database_url) as (_, client):

        def exposed() -> set[str]:
            return set(re.findall(r"^# TYPE (market_data_\w+) ", client.get("/metrics").text, re.MULTILINE))

        eventually(lambda: metrics() <= exposed())
