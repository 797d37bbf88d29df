"""`market-data doctor` on servers with other settings, simulated by functions that shadow the real ones."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import psycopg
import pytest
from helpers.doctor import findings, problem, problems
from helpers.service import command, eventually, running
from helpers.support import PROJECT, SERVER, Connection, changed_url
from psycopg import sql
from psycopg.conninfo import make_conninfo

from market_data.cli.care.checks.finding import Finding
from market_data.cli.care.checks.server import GROWING


@pytest.fixture(scope="module")
def database(new_migrated_database: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    with new_migrated_database() as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA elsewhere")
        yield url


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection
        connection.execute("SET client_min_messages = warning; DROP SCHEMA elsewhere CASCADE; CREATE SCHEMA elsewhere")


@pytest.fixture
def url(database: str) -> str:
    """Names without a schema are resolved in `elsewhere` first."""
    return make_conninfo(database, options="-c search_path=elsewhere,pg_catalog,public")


SETTING = """
    CREATE OR REPLACE FUNCTION elsewhere.current_setting(name text) RETURNS text LANGUAGE sql AS $$
        SELECT CASE name WHEN {} THEN {} ELSE pg_catalog.current_setting(name) END
    $$
"""


def simulate(connection: Connection, name: str, value: str) -> None:
    """Simulate a setting of the server."""
    connection.execute(sql.SQL(SETTING).format(name, value))


class Case(NamedTuple):
    setting: str
    value: str
    level: str
    check: str
    finding: str
    remedy: str


OLD = Case("server_version_num", "160004", "warning", "postgresql", "tested on 17", "market-data backup")
APACHE = Case("timescaledb.license", "apache", "error", "edition", "Apache", "timescale/timescaledb:2.29.2-pg17")
SERVERS = (
    Case("timescaledb.max_background_workers", "1", "error", "workers", "is 1, too few for", "max_background_workers ="),
    Case("max_worker_processes", "8", "warning", "workers", "is 8, less than", "max_worker_processes ="),
    Case("max_connections", "9", "error", "connections", "the server allows 6", "max_connections ="),
    Case("autovacuum", "off", "error", "bloat", "autovacuum is off", "ALTER SYSTEM SET autovacuum = on"),
)


@pytest.mark.parametrize("case", [OLD, APACHE, *(SERVERS if SERVER else ())], ids=lambda case: case.setting)
def test_an_unsuitable_setting_is_reported(url: str, connection: Connection, case: Case):
    simulate(connection, case.setting, case.value)
    found = problem(url)
    assert (found.level, found.check) == (case.level, case.check)
    assert case.finding in found.finding
    assert case.remedy in str(found.remedy)


AVAILABLE = """
    CREATE VIEW elsewhere.pg_available_extensions AS SELECT 'timescaledb' AS name, {} AS default_version;
    CREATE VIEW elsewhere.pg_extension AS SELECT 'timescaledb' AS extname, {} AS extversion WHERE {} <> 'none'
"""


@pytest.mark.parametrize(
    ("available", "installed", "level", "remedy"),
    [
        ("2.99.0", "2.98.1", "warning", "ALTER EXTENSION timescaledb UPDATE"),
        ("2.99.0", "2.20.0", "error", "ALTER EXTENSION timescaledb UPDATE"),
        ("2.20.0", "2.20.0", "error", "timescale/timescaledb:2.29.2-pg17"),
        ("2.99.0", "none", "error", "market-data migrate"),
    ],
)
def test_an_unsuitable_release_of_the_extension_is_reported(
    url: str, connection: Connection, available: str, installed: str, level: str, remedy: str
):
    connection.execute(sql.SQL(AVAILABLE).format(available, installed, installed))
    found = problem(url)
    assert (found.level, found.check) == (level, "timescaledb")
    assert remedy in str(found.remedy)


@pytest.mark.parametrize(("ahead", "level"), [("10 seconds", "warning"), ("-10 seconds", "warning"), ("1 hour", "error")])
def test_a_wrong_clock_is_reported(url: str, connection: Connection, ahead: str, level: str):
    connection.execute(
        sql.SQL(
            "CREATE FUNCTION elsewhere.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS "
            "$$ SELECT pg_catalog.clock_timestamp() + {}::interval $$"
        ).format(ahead)
    )
    found = problem(url)
    assert (found.level, found.check) == (level, "clock")
    assert "NTP" in str(found.remedy)


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.mark.parametrize(("free", "level"), [(0.5e9, "error"), (5e9, "warning"), (50e9, "ok")])
def test_a_nearly_full_disk_is_reported(
    url: str, connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: float, level: str
):
    (tmp_path / "postmaster.pid").touch()
    simulate(connection, "data_directory", str(tmp_path))

    def usage(folder: Path) -> Usage:
        assert folder == tmp_path
        return Usage(100_000_000_000, 0, int(free))

    monkeypatch.setattr(shutil, "disk_usage", usage)
    (found,) = [each for each in findings(url, market_data_home=str(tmp_path)) if each.check == "disk"]
    assert found.level == level
    assert f"{free / 1e6:.0f} MB of 100 GB" in found.finding or f"{free / 1e9:.0f} GB of 100 GB" in found.finding
    assert level == "ok" or "market-data retention" in str(found.remedy)


def test_the_disk_of_another_machine_is_not_checked(url: str, connection: Connection, tmp_path: Path):
    simulate(connection, "data_directory", str(tmp_path / "not-here"))
    (found,) = [each for each in findings(url, market_data_home=str(tmp_path / "not-here")) if each.check == "disk"]
    assert (found.level, found.finding.endswith("can't be seen from here")) == ("ok", True)


def test_a_failing_check_does_not_prevent_the_others(url: str, connection: Connection):
    connection.execute("CREATE VIEW elsewhere.stale_ranges AS SELECT now() AS created_at WHERE 1 / floor(random()) > 0")
    found: Finding = problem(url)
    assert found.check == "candles"
    assert "division by zero" in found.finding


def test_the_readme_that_remedies_refer_to_has_the_section():
    name = GROWING.rpartition(" in ")[2]
    assert (PROJECT / name).read_text().startswith("# Growing\n")


if SERVER:

    def test_an_owner_who_is_not_a_superuser_has_no_problem_while_the_service_runs(database: str, tmp_path: Path):
        """Such a role sees sessions of its own only. It may not create the role analyst, which another database has."""
        assert database
        name = f"market_data_test_{uuid4().hex[:12]}"
        identifier = sql.Identifier(name)
        with psycopg.connect(SERVER, autocommit=True) as superuser:
            superuser.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(identifier, name))
            superuser.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(identifier, identifier))
            url = make_conninfo(SERVER, dbname=name)
            owned = f"postgresql://{name}:{name}@{changed_url(SERVER, database=name).rpartition('@')[2]}"
            try:
                with psycopg.connect(url, autocommit=True) as connection:
                    connection.execute("SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS timescaledb")
                with running(tmp_path, DATABASE_URL=owned) as (service, _):
                    eventually(lambda: "feeding 5 symbols" in service.text)
                    found = findings(owned)
                    assert {each.check for each in found if each.level != "ok"} == {"roles"}, "only a superuser limits them"
                    (workers,) = [each for each in found if each.check == "workers"]
                    assert workers.finding.endswith("this role may not see if the scheduler runs: see jobs")
                    (connections,) = [each for each in found if each.check == "connections"]
                    assert int(connections.finding.rpartition(" ")[2]) >= 1, "the connection of the superuser"
                superuser.execute(sql.SQL("GRANT pg_read_all_stats TO {}").format(identifier))
                with psycopg.connect(url, autocommit=True) as connection:
                    connection.execute("SELECT _timescaledb_functions.stop_background_workers()")
                (stopped,) = [each for each in problems(owned) if each.check != "roles"]
                assert (stopped.level, stopped.check) == ("error", "workers")
                assert stopped.remedy
                assert stopped.remedy.startswith("let a superuser execute SELECT _timescaledb_functions.start_background")
            finally:
                superuser.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))
                superuser.execute(sql.SQL("DROP ROLE {}").format(identifier))

    def test_too_many_workers_for_the_connections_of_the_server_are_reported(url: str):
        found = problem(url, workers=1000)
        assert (found.level, found.check) == ("error", "connections")
        assert GROWING in str(found.remedy)


def test_the_command_ends_quietly_if_its_reader_closes_the_pipe(database: str):
    shell = f"{sys.executable} -m market_data.cli.main doctor | head -n 1"
    environment = {**os.environ, "DATABASE_URL": database}
    ended = subprocess.run(["bash", "-c", shell], env=environment, capture_output=True, text=True, check=False)
    assert ended.stdout.startswith("ok       database")
    assert ended.stderr == ""


def test_the_command_prints_a_line_per_check_or_one_json_object(database: str, url: str, connection: Connection):
    assert problems(database) == []
    ended = command("doctor", DATABASE_URL=database)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert all(line.startswith("ok       ") and " — " in line for line in ended.stdout.splitlines())
    connection.execute("GRANT INSERT ON trades TO analyst")
    ended = command("doctor", "--json", DATABASE_URL=database)
    connection.execute("REVOKE INSERT ON trades FROM analyst")
    report: dict[str, Any] = json.loads(ended.stdout)
    assert (ended.returncode, report["status"]) == (1, "error")
    (bad,) = [each for each in report["checks"] if each["level"] != "ok"]
    assert bad["remedy"].startswith("REVOKE INSERT")
