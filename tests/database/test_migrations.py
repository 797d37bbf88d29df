"""Migrations: the schema that they make, on every way to it.

After a change that is meant, run `UPDATE_SNAPSHOT=1 uv run pytest tests/database/test_migrations.py` and look at the
difference.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from alembic.script import ScriptDirectory
from helpers.support import PROJECT, Connection

from market_data.database import migrations
from market_data.errors import StartError

Databases = Callable[[], AbstractContextManager[str]]

SNAPSHOT = Path(__file__).with_name("schema.json")

# What an analyst or a statement can see, each part sorted. Names of materializations carry numbers that differ.
PARTS: dict[str, LiteralString] = {
    "relations": """
        SELECT relname, relkind::text, obj_description(oid, 'pg_class')
        FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
    """,
    "columns": """
        SELECT relname, attnum::text, attname, format_type(atttypid, atttypmod), CASE WHEN attnotnull THEN 'NOT NULL' END,
            pg_get_expr(adbin, adrelid), col_description(pg_class.oid, attnum)
        FROM pg_attribute
        JOIN pg_class ON pg_class.oid = attrelid
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f')
            AND attnum > 0 AND NOT attisdropped
    """,
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
        FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace
    """,
    "indexes": """
        SELECT indexdef
        FROM pg_indexes
        WHERE schemaname = 'public' OR tablename LIKE '\\_materialized%'
    """,
    # Those of TimescaleDB itself come and go with its releases.
    "triggers": """
        SELECT tgrelid::regclass::text, pg_get_triggerdef(pg_trigger.oid) FROM pg_trigger
        JOIN pg_class ON pg_class.oid = tgrelid
        WHERE relnamespace = 'public'::regnamespace AND NOT tgisinternal AND NOT starts_with(tgname, 'ts_')
    """,
    "functions": """
        SELECT proname, prosrc, obj_description(oid, 'pg_proc')
        FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace
            AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
    """,
    "hypertables": """
        SELECT hypertable_name, column_name, column_type::text, time_interval::text
        FROM timescaledb_information.dimensions
    """,
    "continuous_aggregates": """
        SELECT view_name, hypertable_name, materialized_only, view_definition
        FROM timescaledb_information.continuous_aggregates
    """,
    "columnstores": """
        SELECT hypertable::text, segmentby, orderby
        FROM timescaledb_information.hypertable_columnstore_settings
    """,
    "grants": """
        SELECT grantee, table_name, privilege_type
        FROM information_schema.role_table_grants
        WHERE table_schema = 'public' AND grantee IN ('PUBLIC', 'analyst')
    """,
    "jobs": """
        SELECT proc_name, schedule_interval::text, scheduled, config - 'mat_hypertable_id' - 'hypertable_id',
            CASE WHEN starts_with(hypertable_name, '_materialized') THEN 'candles' ELSE hypertable_name END
        FROM timescaledb_information.jobs
        WHERE job_id >= 1000
    """,
    "revision": "SELECT version_num FROM alembic_version",
}


def described(url: str) -> dict[str, list[str]]:
    """The schema of a database in words that compare."""
    with psycopg.connect(url, autocommit=True) as connection:
        return {part: sorted(_lines(connection, query)) for part, query in PARTS.items()}


def _lines(connection: Connection, query: LiteralString) -> Iterator[str]:
    for row in connection.execute(query):
        yield re.sub(r"(_materialized_hypertable_|_hyper_)\d+", r"\1N", " | ".join(map(_text, row)))


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return re.sub(r"\s+", " ", text).strip()


def alembic(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "alembic", *arguments],
        cwd=PROJECT,
        env={**os.environ, "DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )


def empty(url: str) -> None:
    """Take away what downgrading leaves: Alembic's own table."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS alembic_version")


@pytest.fixture(scope="module")
def fresh(new_database: Databases) -> Iterator[tuple[str, dict[str, list[str]]]]:
    """A database that ten processes migrate at once, while it is still empty; its schema after that."""
    with new_database() as url:
        program = "import sys; from market_data.database import migrations; migrations.upgrade(sys.argv[1])"
        running = [
            subprocess.Popen([sys.executable, "-c", program, url], stderr=subprocess.PIPE, text=True) for _ in range(10)
        ]
        errors = [process.communicate()[1] for process in running]
        assert [process.returncode for process in running] == [0] * 10, "\n".join(errors)
        yield url, described(url)


def test_ten_that_start_at_once_make_the_committed_schema(fresh: tuple[str, dict[str, list[str]]]):
    _, schema = fresh
    if os.environ.get("UPDATE_SNAPSHOT"):
        SNAPSHOT.write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n")
    assert schema == json.loads(SNAPSHOT.read_text())


def test_every_table_view_and_column_has_a_comment(fresh: tuple[str, dict[str, list[str]]]):
    _, schema = fresh
    bare = [line for part in ("relations", "columns", "functions") for line in schema[part] if line.endswith("| null")]
    assert bare == []


def test_base_and_back_leaves_the_same_schema(fresh: tuple[str, dict[str, list[str]]]):
    url, schema = fresh
    down = alembic(url, "downgrade", "base")
    assert down.returncode == 0, down.stderr
    left = described(url)
    assert [line.partition(" | ")[0] for line in left["relations"]] == ["alembic_version"]
    assert not any(left[part] for part in ("hypertables", "continuous_aggregates", "jobs", "revision"))
    migrations.upgrade(url)
    assert described(url) == schema


@pytest.mark.parametrize("scheme", ["postgresql://", "postgresql+psycopg://"])
def test_alembic_upgrades_by_itself(fresh: tuple[str, dict[str, list[str]]], scheme: str):
    url, schema = fresh
    alembic(url, "downgrade", "base")
    empty(url)
    up = alembic(scheme + url.partition("://")[2], "upgrade", "head")
    assert up.returncode == 0, up.stderr
    assert described(url) == schema
    assert "(head)" in alembic(url, "current").stdout


@pytest.mark.skipif(shutil.which("psql") is None, reason="psql is not installed")
def test_printed_script_makes_the_same_schema_in_psql(fresh: tuple[str, dict[str, list[str]]]):
    url, schema = fresh
    script = alembic("", "upgrade", "head", "--sql")
    assert script.returncode == 0, script.stderr
    alembic(url, "downgrade", "base")
    empty(url)
    psql = ["psql", url, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file=-"]
    run = subprocess.run(psql, input=script.stdout, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert described(url) == schema
    migrations.upgrade(url)
    assert described(url) == schema


def test_migrating_what_is_migrated_changes_nothing(fresh: tuple[str, dict[str, list[str]]]):
    url, schema = fresh
    migrations.upgrade(url)
    assert described(url) == schema


def test_newest_schema_is_known_without_alembic(fresh: tuple[str, dict[str, list[str]]]):
    url, _ = fresh
    program = (
        "import sys; from market_data.database import migrations; "
        "migrations.upgrade(sys.argv[1]); print('alembic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program, url], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_migrations_are_in_files_that_are_named_after_their_revisions():
    known = ScriptDirectory(str(migrations.scripts())).walk_revisions()
    assert migrations.revisions() == [script.revision for script in known][::-1]


def test_schema_of_a_newer_version_is_told_and_left_alone(fresh: tuple[str, dict[str, list[str]]]):
    url, schema = fresh
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        try:
            with pytest.raises(StartError, match="does not know"):
                migrations.upgrade(url)
        finally:
            connection.execute("UPDATE alembic_version SET version_num = %s", (schema["revision"][0],))
    assert described(url) == schema


def test_alembic_without_a_database_says_what_to_set():
    done = alembic("", "upgrade", "head")
    assert done.returncode != 0
    assert "Set DATABASE_URL" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_schema_older_than_the_baseline_is_refused_with_the_commands_that_move_its_trades(
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
        assert "market-data import AAPL.csv" in text
    assert described(url) == schema


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
    """The text of every function and view; the number of a materialization differs from database to database."""
    return {
        name: re.sub(r"(_materialized_hypertable_|cagg_watermark\()\d+", r"\1N", text)
        for name, text in connection.execute(DEFINITIONS)
    }


def test_functions_and_views_are_those_of_the_folder_sql(
    fresh: tuple[str, dict[str, list[str]]], new_migrated_database: Databases
):
    """Run over a migrated database, the folder changes nothing; and it defines everything that there is."""
    url, _ = fresh
    texts = [path.read_text() for path in sorted((migrations.scripts() / "sql").glob("*.sql"))]
    with psycopg.connect(url, autocommit=True) as connection:
        migrated = definitions(connection)
    with new_migrated_database() as second, psycopg.connect(second, autocommit=True) as connection:
        # Views can't be replaced by others with fewer columns, nor aggregates at all.
        connection.execute("DROP MATERIALIZED VIEW candles_1m CASCADE")
        connection.execute("DROP VIEW latest_prices")
        for name in migrated:
            if name.endswith(")"):
                _empty_function(connection, name)
        for text in texts:
            connection.execute(text.encode())
        assert definitions(connection) == migrated


def _empty_function(connection: Connection, name: str) -> None:
    """Replace the body of a function, so that it is found if the folder has it no longer."""
    ((definition,),) = connection.execute("SELECT pg_get_functiondef(%s::regprocedure)", (name,)).fetchall()
    if "LANGUAGE plpgsql" in definition:
        connection.execute(re.sub(r"(?s)(AS \$(\w+)\$).*(\$\2\$)", r"\1 BEGIN NULL; END \3", definition).encode())


def test_no_migration_edits_the_text_of_a_function():
    for path in (migrations.scripts() / "versions").rglob("*"):
        if path.suffix in (".py", ".sql"):
            text = path.read_text()
            assert "pg_get_functiondef" not in text, path
            assert "prosrc" not in text, path
