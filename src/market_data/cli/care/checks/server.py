"""Checks of the server: versions, schema, workers, connections and PgBouncer."""

from collections.abc import Iterator

import psycopg

from market_data.cli.care.checks.finding import CheckContext, Finding, error, ok, warning
from market_data.cli.care.checks.jobs import read_jobs, scheduler_remedy
from market_data.database import migrations
from market_data.database.connection import BlockingConnection, connection_parameters
from market_data.errors import first_line

GROWING = "see Growing in src/market_data/server/README.md"

TESTED_POSTGRESQL = 17

MIN_TIMESCALEDB = (2, 29, 2)
"""Oldest release of TimescaleDB for servers. Earlier ones have wrong results and security holes."""

MIN_EMBEDDED_TIMESCALEDB = migrations.MIN_VERSION

VERSION = "SELECT current_setting('server_version'), current_setting('server_version_num')::integer / 10000"


def postgresql(context: CheckContext) -> Iterator[Finding]:
    """Check the version of PostgreSQL."""
    version, major = context.row(VERSION)
    if major < TESTED_POSTGRESQL:
        yield warning(
            "postgresql",
            f"version {version}, but this service is tested on {TESTED_POSTGRESQL}",
            f"move to PostgreSQL {TESTED_POSTGRESQL} with `market-data backup` and `market-data restore`",
        )
    else:
        yield ok("postgresql", f"version {version}")


EXTENSION = """
    SELECT available.default_version, installed.extversion
    FROM pg_available_extensions AS available
    LEFT JOIN pg_extension AS installed ON installed.extname = available.name
    WHERE available.name = 'timescaledb'
"""


def extension(context: CheckContext) -> Iterator[Finding]:
    """Check the release of TimescaleDB."""
    found = context.rows(EXTENSION)
    if not found:
        yield error("timescaledb", "it is not installed on the server", migrations.REMEDY)
        return
    available, installed = found[0]
    minimum = MIN_EMBEDDED_TIMESCALEDB if context.embedded else MIN_TIMESCALEDB
    needed = ".".join(map(str, minimum))
    update = "run ALTER EXTENSION timescaledb UPDATE as the first statement of a new session (market-data psql -X -c …)"
    if installed is None:
        yield error("timescaledb", "the extension is not created in this database", "run `market-data migrate`")
    elif _number(installed) >= minimum:
        if _number(available) > _number(installed):
            yield warning("timescaledb", f"version {installed}, but the server has {available}", update)
        else:
            yield ok("timescaledb", f"version {installed}")
    elif _number(available) >= minimum:
        yield error("timescaledb", f"version {installed} is older than {needed}, and the server has {available}", update)
    else:
        yield error("timescaledb", f"version {installed} is older than {needed}", migrations.REMEDY)


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.partition("-")[0].split("."))


def edition(context: CheckContext) -> Iterator[Finding]:
    """Check that TimescaleDB is the Community edition."""
    (license_,) = context.row(migrations.LICENSE)
    if license_ == "timescale":
        yield ok("edition", "Community")
    else:
        yield error("edition", f"{license_.capitalize()}, which has no continuous aggregates", migrations.REMEDY)


def schema(context: CheckContext) -> Iterator[Finding]:
    """Check the revision of the schema."""
    newest = migrations.revisions()[-1]
    try:
        (revision,) = context.row(migrations.REVISION)
    except psycopg.errors.UndefinedTable:
        revision = None
    if revision == newest:
        yield ok("schema", f"revision {revision}, the newest")
    elif revision is None:
        yield error("schema", "the database is not migrated", "run `market-data migrate`, or start the service")
    elif revision in migrations.revisions():
        finding = f"revision {revision}, but {newest} is the newest"
        yield error("schema", finding, "run `market-data migrate`, or restart the service")
    elif migrations.is_next(revision):
        yield ok("schema", f"revision {revision}; this version, of revision {newest}, can use it")
    elif migrations.is_too_old(revision):
        yield error("schema", f"revision {revision}, which can't be migrated", migrations.EXPORT)
    else:
        finding = f"revision {revision}, which this version does not know"
        yield error("schema", finding, "use a newer version of market-data")


WORKERS = """
    SELECT
        current_setting('timescaledb.max_background_workers')::integer,
        current_setting('max_worker_processes')::integer,
        current_setting('max_parallel_workers')::integer,
        count(*) FILTER (WHERE backend_type LIKE 'TimescaleDB Background Worker Scheduler'),
        coalesce(
            bool_or(backend_type LIKE 'TimescaleDB Background Worker Scheduler' AND datname = current_database()), false
        ),
        -- Without this role, sessions of other roles have no backend_type.
        pg_has_role('pg_read_all_stats', 'USAGE')
    FROM pg_stat_activity
"""
MIN_PARALLEL_JOBS = 4
"""Jobs of this database that must be able to run at the same time."""


def workers(context: CheckContext) -> Iterator[Finding]:
    """Check that the server has background workers for the jobs."""
    if context.embedded:
        yield ok("workers", "the embedded engine's own process runs the jobs")
        return
    maximum, processes, parallel, schedulers, scheduled, visible = context.row(WORKERS)
    needed = schedulers + MIN_PARALLEL_JOBS
    if maximum < needed:
        demand = f"{schedulers} databases and {MIN_PARALLEL_JOBS} jobs at a time"
        finding = f"timescaledb.max_background_workers is {maximum}, too few for {demand}"
        remedy = (
            f"ALTER SYSTEM SET timescaledb.max_background_workers = {needed + MIN_PARALLEL_JOBS}, and restart the server"
        )
        yield (error if maximum <= schedulers else warning)("workers", finding, remedy)
    elif processes < 3 + maximum + parallel:
        finding = f"max_worker_processes is {processes}, less than {maximum} for jobs, {parallel} for parallel queries and 3"
        remedy = f"ALTER SYSTEM SET max_worker_processes = {3 + maximum + parallel}, and restart the server"
        yield warning("workers", finding, remedy)
    elif visible and not scheduled:
        finding = "TimescaleDB's scheduler does not run for this database, so no job runs"
        yield error("workers", finding, scheduler_remedy(context))
    elif not visible and all(job.last_run is None for job in read_jobs(context)):
        finding = "no job has ever run, and this role may not see if TimescaleDB's scheduler runs"
        yield error("workers", finding, scheduler_remedy(context))
    else:
        unseen = "" if visible else ", and this role may not see if the scheduler runs: see jobs"
        yield ok("workers", f"timescaledb.max_background_workers is {maximum}{unseen}")


# Sessions of other roles may have no backend_type and application_name: these count, even TimescaleDB's own.
CONNECTIONS = """
    SELECT
        current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
            - coalesce(current_setting('reserved_connections', true), '0')::integer,
        (
            SELECT count(*)
            FROM pg_stat_activity
            WHERE datname IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend'
                AND pid <> pg_backend_pid() AND coalesce(application_name, '') NOT LIKE 'market-data%'
        )
"""
CONNECTIONS_BESIDES_POOL = 4
"""Connections of a worker outside its pool: streams, feed, metrics and blocking sessions."""


def connections(context: CheckContext) -> Iterator[Finding]:
    """Check that the server has connections for the pools of all workers."""
    if context.embedded:
        yield ok("connections", "all connections share the one session of the embedded engine")
        return
    maximum, others = context.row(CONNECTIONS)
    needed = context.workers * (context.settings.pool_size + CONNECTIONS_BESIDES_POOL)
    clients = "1 worker uses" if context.workers == 1 else f"{context.workers} workers use"
    usage = f"{clients} up to {needed} connections with POOL_SIZE={context.settings.pool_size}"
    remedy = (
        f"lower POOL_SIZE, or ALTER SYSTEM SET max_connections = {maximum + needed} and restart the server, "
        f"or use PgBouncer ({GROWING})"
    )
    if context.settings.database_direct_url:
        yield ok("connections", f"{usage}, which PgBouncer limits; the server allows {maximum}, other clients use {others}")
    elif needed > maximum:
        yield error("connections", f"{usage}, the server allows {maximum}", remedy)
    elif needed > maximum - others:
        yield warning("connections", f"{usage}, the server allows {maximum}, other clients use {others}", remedy)
    else:
        yield ok("connections", f"{usage}, the server allows {maximum}, other clients use {others}")


IDENTITY = "SELECT pg_backend_pid(), pg_postmaster_start_time(), current_database()"


def pooler(context: CheckContext) -> Iterator[Finding]:
    """Check that DATABASE_DIRECT_URL bypasses PgBouncer, and is set if DATABASE_URL goes through it."""
    settings = context.settings
    pid, started, name = context.row(IDENTITY)
    # PgBouncer reports its own process id. So does the embedded engine, which has one session for all connections.
    pooled = not context.embedded and context.connection.info.backend_pid != pid
    if settings.database_direct_url and settings.database_url:
        try:
            parameters = connection_parameters(settings.database_url, settings.query_timeout_seconds, pgbouncer=True)
            with BlockingConnection.connect(settings.database_url, **parameters) as connection, connection.first_reply():
                same = connection.execute(IDENTITY).fetchone()
        except psycopg.Error as failure:
            yield error(
                "pooler", f"DATABASE_URL can't be reached: {first_line(failure)}", "start PgBouncer, or correct DATABASE_URL"
            )
            return
        if same is None or same[1:] != (started, name):
            finding = "DATABASE_URL and DATABASE_DIRECT_URL are different databases"
            yield error("pooler", finding, "set both to the same database")
            return
        if pooled:
            finding = "DATABASE_DIRECT_URL goes through a pooler, where streams receive no notifications"
            yield error("pooler", finding, "set it to the server itself")
        else:
            yield ok("pooler", "DATABASE_DIRECT_URL bypasses PgBouncer, if DATABASE_URL uses it")
    elif pooled:
        finding = "DATABASE_URL goes through a pooler such as PgBouncer"
        yield error("pooler", finding, f"set DATABASE_DIRECT_URL to the server itself ({GROWING})")
    else:
        yield ok("pooler", "none")
