"""Whether the server is one for this schema, and has room for the service."""

from collections.abc import Iterator

import psycopg

from market_data.cli.care.checks.finding import CheckContext, Finding, error, ok, warning
from market_data.database import migrations
from market_data.errors import first_line

TESTED_POSTGRESQL = 17

FLOOR = (2, 29, 2)
"""The release of TimescaleDB for servers: those before it have wrong results and open doors."""

EMBEDDED_FLOOR = migrations.MIN_VERSION

VERSION = "SELECT current_setting('server_version'), current_setting('server_version_num')::integer / 10000"


def postgresql(patient: CheckContext) -> Iterator[Finding]:
    """The release of PostgreSQL."""
    version, major = patient.row(VERSION)
    if major < TESTED_POSTGRESQL:
        yield warning(
            "postgresql",
            f"version {version}, while this service is tested on {TESTED_POSTGRESQL}",
            f"move to PostgreSQL {TESTED_POSTGRESQL}: `market-data backup` here, `market-data restore` there",
        )
    else:
        yield ok("postgresql", f"version {version}")


EXTENSION = """
    SELECT available.default_version, installed.extversion
    FROM pg_available_extensions AS available
    LEFT JOIN pg_extension AS installed ON installed.extname = available.name
    WHERE available.name = 'timescaledb'
"""


def extension(patient: CheckContext) -> Iterator[Finding]:
    """The release of TimescaleDB."""
    found = patient.rows(EXTENSION)
    if not found:
        yield error("timescaledb", "the server does not have it", migrations.REMEDY)
        return
    available, installed = found[0]
    floor = EMBEDDED_FLOOR if patient.embedded else FLOOR
    needed = ".".join(map(str, floor))
    update = "as the first statement of a new session run ALTER EXTENSION timescaledb UPDATE (market-data psql -X -c …)"
    if installed is None:
        yield error("timescaledb", "the extension is not in this database", "run `market-data migrate`, which creates it")
    elif _number(installed) >= floor:
        if _number(available) > _number(installed):
            yield warning("timescaledb", f"version {installed}, while the server has {available}", update)
        else:
            yield ok("timescaledb", f"version {installed}")
    elif _number(available) >= floor:
        yield error("timescaledb", f"version {installed} is older than {needed}, and the server has {available}", update)
    else:
        yield error("timescaledb", f"version {installed} is older than {needed}", migrations.REMEDY)


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.partition("-")[0].split("."))


def edition(patient: CheckContext) -> Iterator[Finding]:
    """Whether the features of the Community edition are there."""
    (license_,) = patient.row(migrations.LICENSE)
    if license_ == "timescale":
        yield ok("edition", "Community")
    else:
        yield error("edition", f"{license_.capitalize()}, which has no continuous aggregates", migrations.REMEDY)


def schema(patient: CheckContext) -> Iterator[Finding]:
    """Whether a migration is missing."""
    newest = migrations.revisions()[-1]
    try:
        (revision,) = patient.row(migrations.REVISION)
    except psycopg.errors.UndefinedTable:
        revision = None
    if revision == newest:
        yield ok("schema", f"revision {revision}, the newest")
    elif revision is None:
        yield error("schema", "the database is not migrated", "run `market-data migrate`, or start the service")
    elif revision in migrations.revisions():
        finding = f"revision {revision}, while {newest} is the newest"
        yield error("schema", finding, "run `market-data migrate`, or restart the service")
    else:
        finding = f"revision {revision}, which this version does not know"
        yield error("schema", finding, "run a newer version of market-data on it")


WORKERS = """
    SELECT
        current_setting('timescaledb.max_background_workers')::integer,
        current_setting('max_worker_processes')::integer,
        current_setting('max_parallel_workers')::integer,
        count(*) FILTER (WHERE backend_type LIKE 'TimescaleDB Background Worker Scheduler'),
        coalesce(
            bool_or(backend_type LIKE 'TimescaleDB Background Worker Scheduler' AND datname = current_database()), false
        ),
        count(backend_type) > 1
    FROM pg_stat_activity
"""
AT_ONCE = 4
"""Jobs of this database that should be able to run at the same time."""


def workers(patient: CheckContext) -> Iterator[Finding]:
    """Whether the server has background workers for the jobs."""
    if patient.embedded:
        yield ok("workers", "jobs are run by the embedded engine's process")
        return
    most, processes, parallel, schedulers, scheduled, visible = patient.row(WORKERS)
    needed = schedulers + AT_ONCE
    if most < needed:
        finding = f"timescaledb.max_background_workers is {most}, for {schedulers} databases and {AT_ONCE} jobs at a time"
        remedy = f"ALTER SYSTEM SET timescaledb.max_background_workers = {needed + AT_ONCE}, and restart the server"
        yield (error if most <= schedulers else warning)("workers", finding, remedy)
    elif processes < 3 + most + parallel:
        finding = f"max_worker_processes is {processes}, less than {most} for jobs, {parallel} for parallel queries and 3"
        remedy = f"ALTER SYSTEM SET max_worker_processes = {3 + most + parallel}, and restart the server"
        yield warning("workers", finding, remedy)
    elif visible and not scheduled:
        finding = "TimescaleDB's scheduler does not run for this database, so no job does"
        yield error("workers", finding, "SELECT _timescaledb_functions.start_background_workers()")
    else:
        yield ok("workers", f"timescaledb.max_background_workers is {most}")


CONNECTIONS = """
    SELECT
        current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
            - coalesce(current_setting('reserved_connections', true), '0')::integer,
        (
            SELECT count(*)
            FROM pg_stat_activity
            WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND application_name NOT LIKE 'market-data%'
        )
"""
BESIDES_POOL = 3
"""Connections of a worker that are not its pool's: of the streams, the feed and the metrics."""


def connections(patient: CheckContext) -> Iterator[Finding]:
    """Whether the server has connections for the pools of all workers."""
    if patient.embedded:
        yield ok("connections", "the embedded engine has one session, which all share")
        return
    most, others = patient.row(CONNECTIONS)
    needed = patient.workers * (patient.settings.pool_size + BESIDES_POOL)
    who = "1 worker takes" if patient.workers == 1 else f"{patient.workers} workers take"
    asked = f"{who} {needed} connections with POOL_SIZE={patient.settings.pool_size}"
    remedy = (
        f"lower POOL_SIZE, or ALTER SYSTEM SET max_connections = {most + needed} and restart the server, "
        "or put PgBouncer between (README, Growing)"
    )
    if patient.settings.database_direct_url:
        yield ok(
            "connections", f"{asked} at most, which PgBouncer shares out; the server takes {most}, others have {others}"
        )
    elif needed > most:
        yield error("connections", f"{asked}, the server takes {most}", remedy)
    elif needed > most - others:
        yield warning("connections", f"{asked}, the server takes {most}, of which others have {others}", remedy)
    else:
        yield ok("connections", f"{asked}, the server takes {most}, of which others have {others}")


SAME = "SELECT pg_backend_pid(), pg_postmaster_start_time(), current_database()"


def pooler(patient: CheckContext) -> Iterator[Finding]:
    """Whether PgBouncer is where it may be, and only there."""
    settings = patient.settings
    pid, started, name = patient.row(SAME)
    # PgBouncer tells a number of its own. So does the embedded engine, which has one session for all.
    pooled = not patient.embedded and patient.connection.info.backend_pid != pid
    if settings.database_direct_url and settings.database_url:
        try:
            with psycopg.connect(settings.database_url, connect_timeout=5, prepare_threshold=None) as connection:
                same = connection.execute(SAME).fetchone()
        except psycopg.Error as failure:
            yield error("pooler", f"DATABASE_URL can't be reached: {first_line(failure)}", "start PgBouncer, or correct it")
            return
        if same is None or same[1:] != (started, name):
            finding = "DATABASE_URL and DATABASE_DIRECT_URL lead to different databases"
            yield error("pooler", finding, "make both name the same database")
            return
        if pooled:
            finding = "DATABASE_DIRECT_URL leads through a pooler, where streams hear of nothing"
            yield error("pooler", finding, "let it name the server itself")
        else:
            yield ok("pooler", "DATABASE_URL may go through PgBouncer, DATABASE_DIRECT_URL goes past it")
    elif pooled:
        finding = "DATABASE_URL leads through a pooler such as PgBouncer"
        yield error("pooler", finding, "name the server itself in DATABASE_DIRECT_URL (README, Growing)")
    else:
        yield ok("pooler", "none between")
