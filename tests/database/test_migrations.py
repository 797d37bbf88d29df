"""Migrations: each way to migrate creates the committed schema.

After an intended change: `UPDATE_SNAPSHOT=1 uv run pytest tests/database/test_migrations.py`, and review the difference.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from alembic.script import ScriptDirectory
from helpers.schema import alembic, describe_schema
from helpers.support import SERVER, Connection, Databases, one

from market_data.database import migrations
from market_data.errors import StartError

SNAPSHOT = Path(__file__).with_name("schema.json")


def drop_version_table(url: str) -> None:
    """Drop the table of Alembic, which a downgrade keeps."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS alembic_version")


@pytest.fixture(scope="module")
def fresh(new_database: Databases) -> Iterator[tuple[str, dict[str, list[str]]]]:
    """URL and schema of an empty database that ten processes migrated at the same time."""
    with new_database() as url:
        program = "import sys; from market_data.database import migrations; migrations.upgrade(sys.argv[1])"
        running = [
            subprocess.Popen([sys.executable, "-c", program, url], stderr=subprocess.PIPE, text=True) for _ in range(10)
        ]
        errors = [process.communicate()[1] for process in running]
        assert [process.returncode for process in running] == [0] * 10, "\n".join(errors)
        yield url, describe_schema(url)


def test_ten_concurrent_upgrades_create_the_committed_schema(fresh: tuple[str, dict[str, list[str]]]):
    _, schema = fresh
    if os.environ.get("UPDATE_SNAPSHOT"):
        SNAPSHOT.write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n")
    assert schema == json.loads(SNAPSHOT.read_text())


def test_every_table_view_and_column_has_a_comment(fresh: tuple[str, dict[str, list[str]]]):
    _, schema = fresh
    uncommented = [
        line for part in ("relations", "columns", "functions") for line in schema[part] if line.endswith("| null")
    ]
    assert uncommented == []


def test_downgrade_drops_everything_and_upgrade_restores_the_schema(fresh: tuple[str, dict[str, list[str]]]):
    url, schema = fresh
    down = alembic(url, "downgrade", "base")
    assert down.returncode == 0, down.stderr
    remaining = describe_schema(url)
    assert [line.partition(" | ")[0] for line in remaining["relations"]] == ["alembic_version"]
    assert not any(remaining[part] for part in ("hypertables", "continuous_aggregates", "jobs", "revision"))
    migrations.upgrade(url)
    assert describe_schema(url) == schema


@pytest.mark.parametrize("scheme", ["postgresql://", "postgresql+psycopg://"])
def test_the_alembic_command_creates_the_same_schema(fresh: tuple[str, dict[str, list[str]]], scheme: str):
    url, schema = fresh
    down = alembic(url, "downgrade", "base")
    assert down.returncode == 0, down.stderr
    drop_version_table(url)
    up = alembic(scheme + url.partition("://")[2], "upgrade", "head")
    assert up.returncode == 0, up.stderr
    assert describe_schema(url) == schema
    assert "(head)" in alembic(url, "current").stdout


@pytest.mark.skipif(shutil.which("psql") is None, reason="psql is not installed")
def test_the_offline_sql_script_creates_the_same_schema_in_psql(fresh: tuple[str, dict[str, list[str]]]):
    url, schema = fresh
    script = alembic("", "upgrade", "head", "--sql")
    assert script.returncode == 0, script.stderr
    down = alembic(url, "downgrade", "base")
    assert down.returncode == 0, down.stderr
    drop_version_table(url)
    psql = ["psql", url, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file=-"]
    run = subprocess.run(psql, input=script.stdout, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert describe_schema(url) == schema
    migrations.upgrade(url)
    assert describe_schema(url) == schema


def test_a_second_upgrade_changes_nothing(fresh: tuple[str, dict[str, list[str]]]):
    url, schema = fresh
    migrations.upgrade(url)
    assert describe_schema(url) == schema


def test_the_newest_schema_is_recognized_without_importing_alembic(fresh: tuple[str, dict[str, list[str]]]):
    url, _ = fresh
    program = (
        "import sys; from market_data.database import migrations; "
        "migrations.upgrade(sys.argv[1]); print('alembic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program, url], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_revisions_from_file_names_are_those_of_alembic():
    known = ScriptDirectory(str(migrations.scripts())).walk_revisions()
    assert migrations.revisions() == [script.revision for script in known][::-1]


def test_schema_of_a_newer_version_is_refused_and_unchanged(fresh: tuple[str, dict[str, list[str]]]):
    url, schema = fresh
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        try:
            with pytest.raises(StartError, match="does not know"):
                migrations.upgrade(url)
        finally:
            connection.execute("UPDATE alembic_version SET version_num = %s", (schema["revision"][0],))
    assert describe_schema(url) == schema


def test_schema_of_the_next_version_is_used_and_unchanged(fresh: tuple[str, dict[str, list[str]]]):
    url, schema = fresh
    following = f"{int(migrations.revisions()[-1]) + 1:04}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = %s", (following,))
        try:
            migrations.upgrade(url)
            done = alembic(url, "upgrade", "head")
            assert (done.returncode, f"revision {following} already" in done.stderr) == (0, True), done.stderr
            assert alembic(url, "downgrade", "-1").returncode != 0
            assert one(connection, "SELECT version_num FROM alembic_version") == following
        finally:
            connection.execute("UPDATE alembic_version SET version_num = %s", (schema["revision"][0],))
    assert describe_schema(url) == schema


def test_alembic_without_a_database_names_the_setting():
    done = alembic("", "upgrade", "head")
    assert done.returncode != 0
    assert "Set DATABASE_URL" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_schema_older_than_the_baseline_is_refused_with_the_commands_that_export_and_import_trades(
    fresh: tuple[str, dict[str, list[str]]],
):
    url, schema = fresh
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0007'")
        try:
            with pytest.raises(StartError, match="schema 0007") as refused:
                migrations.upgrade(url)
            by_alembic = alembic(url, "upgrade", "head")
        finally:
            connection.execute("UPDATE alembic_version SET version_num = %s", (schema["revision"][0],))
    assert by_alembic.returncode != 0
    for text in (str(refused.value), by_alembic.stderr + by_alembic.stdout):
        assert "/trades?symbol=AAPL" in text
        assert "format=csv" in text
        assert "market-data import trades.csv" in text
    assert describe_schema(url) == schema


DEFINITIONS: LiteralString = """
    SELECT pg_proc.oid::regprocedure::text, pg_get_functiondef(pg_proc.oid)
    FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace
        AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
    UNION ALL
    SELECT oid::regclass::text, pg_get_viewdef(oid)
    FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'v'
    UNION ALL
    SELECT 'aggregate ' || view_name, view_definition
    FROM timescaledb_information.continuous_aggregates
"""


def definitions(connection: Connection) -> dict[str, str]:
    """Return the text of each function and view; names of materializations have N instead of a number that differs."""
    return {
        name: re.sub(r"(_materialized_hypertable_|cagg_watermark\()\d+", r"\1N", text)
        for name, text in connection.execute(DEFINITIONS)
    }


def test_the_sql_folder_defines_every_function_and_view(
    fresh: tuple[str, dict[str, list[str]]], new_migrated_database: Databases
):
    """The folder `alembic/sql` has the present text, so executing it in a migrated database changes nothing."""
    url, _ = fresh
    texts = [path.read_text() for path in sorted((migrations.scripts() / "sql").glob("*.sql"))]
    with psycopg.connect(url, autocommit=True) as connection:
        migrated = definitions(connection)
    with new_migrated_database() as second, psycopg.connect(second, autocommit=True) as connection:
        if SERVER:  # a job that runs or starts fails a concurrent DROP
            connection.execute("SELECT _timescaledb_functions.stop_background_workers()")
        # A view can't be replaced by one with fewer columns, and a continuous aggregate can't be replaced.
        connection.execute("DROP MATERIALIZED VIEW candles_1m CASCADE")
        connection.execute("DROP VIEW latest_prices")
        for name in migrated:
            if name.endswith(")"):
                _empty_function(connection, name)
        for text in texts:
            connection.execute(text.encode())
        assert definitions(connection) == migrated


def _empty_function(connection: Connection, name: str) -> None:
    """Replace the body of a function, so that the comparison fails if the folder does not define the function."""
    ((definition,),) = connection.execute("SELECT pg_get_functiondef(%s::regprocedure)", (name,)).fetchall()
    if "LANGUAGE plpgsql" in definition:
        connection.execute(re.sub(r"(?s)(AS \$(\w+)\$).*(\$\2\$)", r"\1 BEGIN NULL; END \3", definition).encode())


def test_no_migration_edits_the_text_of_a_function():
    for path in (migrations.scripts() / "versions").rglob("*"):
        if path.suffix in (".py", ".sql"):
            text = path.read_text()
            assert "pg_get_functiondef" not in text, path
            assert "prosrc" not in text, path
