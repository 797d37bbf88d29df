"""Check of the jobs that TimescaleDB, or the process of the embedded engine, runs."""

from collections.abc import Iterator, Sequence

from market_data.cli.care.checks.finding import CheckContext, Finding, error, ok, warning
from market_data.cli.care.checks.policies import EXPECTED
from market_data.cli.console import counted
from market_data.cli.operate.text_tables import format_time
from market_data.models_status import JobStatus
from market_data.queries.status import JOBS

# Recorded on a server only, and visible to the owner of the job.
LAST_ERRORS = """
    SELECT DISTINCT ON (job_id) job_id, err_message
    FROM timescaledb_information.job_errors
    WHERE job_id = ANY (%s)
    ORDER BY job_id, start_time DESC
"""

PORTAL_ERROR = "cannot drop portal"
"""Error of every job if PostgreSQL refuses to drop a portal that TimescaleDB's job runner has not started."""

VERSIONS = """
    SELECT current_setting('server_version_num')::integer, current_setting('server_version'), extversion
    FROM pg_extension WHERE extname = 'timescaledb'
"""

MISMATCHED = (170012, "2.29.2")
"""Releases of PostgreSQL and TimescaleDB on which all jobs fail with PORTAL_ERROR."""


def read_jobs(context: CheckContext) -> list[JobStatus]:
    """Return the jobs of the schema."""
    return [JobStatus(*row) for row in context.rows(JOBS)]


def jobs(context: CheckContext) -> list[Finding]:
    """Find jobs that are missing, stopped, failing or late, or that wait for a time far ahead."""
    found = read_jobs(context)
    present = {(job.job, job.table or "") for job in found}
    problems = [
        error("jobs", f"{' of '.join(filter(None, key))} is missing", remedy)
        for key, remedy in EXPECTED.items()
        if key not in present
    ]
    problems += _failures(context, [job for job in found if job.state == "failing"])
    for job in found:
        name = f"{job.id} ({job.name})"
        if job.state == "stopped":
            problems.append(error("jobs", f"{name} is stopped", f"SELECT alter_job({job.id}, scheduled => true)"))
        elif job.state == "postponed":
            remedy = f"SELECT alter_job({job.id}, next_start => now()); check the clock of the server"
            problems.append(error("jobs", f"{name} waits for a time far ahead, as after the clock was set back", remedy))
        elif job.state == "late":
            start = "restart the service" if context.embedded else scheduler_remedy(context)
            finding = f"{name} should have started at {format_time(job.next_run)}"
            problems.append(error("jobs", finding, f"{start}; CALL run_job({job.id}) runs it now"))
    return problems or [ok("jobs", f"{len(found)} jobs, none stopped, failing or late{_repeated(found)}")]


STUCK_REFRESH = """
    SELECT
        pid, holder.usename::text, holder.application_name,
        (extract(epoch FROM clock_timestamp() - lease.active_at) / 60)::integer
    FROM candle_refresh AS lease
    JOIN pg_stat_activity AS holder USING (pid)
    WHERE is_held(lease) AND lease.active_at < clock_timestamp() - INTERVAL '5 minutes'
"""
"""A single refresh takes less than that."""


def refresh(context: CheckContext) -> Iterator[Finding]:
    """Find a session that keeps others from refreshing candles, but makes no progress."""
    found = context.rows(STUCK_REFRESH)
    for pid, role, application, minutes in found:
        finding = f"session {pid} of {role} ({application}) refreshes candles, without progress for {minutes} minutes"
        yield error("refresh", finding, f"SELECT pg_terminate_backend({pid})")
    if not found:
        yield ok("refresh", "no session keeps others from refreshing candles")


IS_SUPERUSER = "SELECT current_setting('is_superuser')::boolean"


def scheduler_remedy(context: CheckContext) -> str:
    """Return the remedy for a scheduler that does not run, which needs a superuser."""
    start = "SELECT _timescaledb_functions.start_background_workers()"
    return start if context.row(IS_SUPERUSER)[0] else f"let a superuser execute {start}, or restart the server"


def _repeated(jobs: Sequence[JobStatus]) -> str:
    """Describe the jobs that failed once and will run again."""
    return "".join(f"; {job.id} ({job.name}) failed, and runs again" for job in jobs if job.failures_in_a_row)


def _failures(context: CheckContext, jobs: Sequence[JobStatus]) -> Iterator[Finding]:
    """Yield a finding per failing job, or one for all of them if they fail because of the releases."""
    errors = dict(context.rows(LAST_ERRORS, ([job.id for job in jobs],))) if jobs else {}
    number, postgresql, extension = context.row(VERSIONS)
    mismatched = [
        job
        for job in jobs
        if PORTAL_ERROR in (errors.get(job.id) or (PORTAL_ERROR if (number, extension) == MISMATCHED else ""))
    ]
    if mismatched:
        names = ", ".join(f"{job.id} ({job.name})" for job in mismatched)
        finding = (
            f"PostgreSQL {postgresql.partition(' ')[0]} and TimescaleDB {extension} are incompatible, "
            f'so jobs fail with `cannot drop portal "" while it is being set up`: {names}'
        )
        yield error("jobs", finding, "install another minor release of PostgreSQL, such as 17.11, or update TimescaleDB")
    for job in jobs:
        if job in mismatched:
            continue
        message = (errors.get(job.id) or "").partition("\n")[0]
        finding = (
            f"{job.id} ({job.name}) failed {counted(job.failures_in_a_row, 'time')}{f' ({message})' if message else ''}"
        )
        remedy = (
            f"CALL run_job({job.id}) shows the error, as does the log of the database; "
            f"then SELECT alter_job({job.id}, next_start => now()) runs it in the background"
        )
        lately = job.seconds_since_success is not None and job.seconds_since_success < 2 * job.interval_seconds + 600
        yield (warning if lately else error)("jobs", finding, remedy)
