"""Schema of a database as comparable text, and its migration."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg
from helpers.support import PROJECT, Connection

# Everything that a client or a statement can see.
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
    # Without the triggers of TimescaleDB, which depend on its release.
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


def alembic(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Alembic's command on a database."""
    return subprocess.run(
        [sys.executable, "-m", "alembic", *arguments],
        cwd=PROJECT,
        env={**os.environ, "DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )


def describe_schema(url: str) -> dict[str, list[str]]:
    """Return the sorted lines of each part; names of materializations have N instead of a number that differs."""
    with psycopg.connect(url, autocommit=True) as connection:
        return {part: sorted(_lines(connection, query)) for part, query in PARTS.items()}


def _lines(connection: Connection, query: LiteralString) -> Iterator[str]:
    for row in connection.execute(query):
        yield re.sub(r"(_materialized_hypertable_|_hyper_)\d+", r"\1N", " | ".join(map(_text, row)))


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return re.sub(r"\s+", " ", text).strip()
