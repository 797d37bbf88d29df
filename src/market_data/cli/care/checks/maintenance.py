"""Checks of maintenance: jobs, candles, dead rows, clock and disk."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from market_data.cli.care.checks.finding import CheckContext, Finding, error, ok, warning
from market_data.cli.care.checks.policies import EXPECTED
from market_data.cli.durations import format_short
from market_data.queries.intervals import INTERVALS
from market_data.queries.status import LEVELS

MAX_JOB_DELAY = timedelta(minutes=5)
"""Maximum delay of a job's start that is not reported."""

JOBS = """
    SELECT
        job.job_id,
        job.proc_name::text,
        coalesce(aggregate.view_name, job.hypertable_name, '')::text,
        job.scheduled OR job.proc_name = 'drop_old_trades' AND (SELECT drop_after IS NULL FROM retention),
        run.last_run_status = 'Failed',
        run.job_status = 'Running',
        CASE WHEN job.scheduled AND isfinite(run.next_start) THEN now() - run.next_start END,
        nullif(run.last_successful_finish, '-infinity') > now() - 2 * job.schedule_interval - INTERVAL '10 minutes',
        isfinite(run.next_start) AND run.next_start > now() + 2 * job.schedule_interval + INTERVAL '10 minutes'
    FROM timescaledb_information.jobs AS job
    LEFT JOIN timescaledb_information.job_stats AS run USING (job_id)
    LEFT JOIN timescaledb_information.continuous_aggregates AS aggregate
        ON aggregate.materialization_hypertable_name = job.hypertable_name
    WHERE job.job_id >= 1000
    ORDER BY job.job_id
"""

LAST_ERROR = """
    SELECT err_message FROM timescaledb_information.job_errors WHERE job_id = %s ORDER BY finish_time DESC LIMIT 1
"""


def jobs(context: CheckContext) -> list[Finding]:
    """Find jobs that are missing, stopped, failing or late, or that wait for a time far ahead."""
    problems: list[Finding] = []
    found = context.rows(JOBS)
    for key, remedy in EXPECTED.items():
        if not any(key == (name, table) for _, name, table, *_ in found):
            problems.append(error("jobs", f"{_label(*key)} is missing", remedy))
    for number, name, table, scheduled, failed, running, late, lately, ahead in found:
        job = f"{number} ({_label(name, table)})"
        finding = None
        if not scheduled:
            finding = error("jobs", f"{job} is stopped", f"SELECT alter_job({number}, scheduled => true)")
        elif failed:
            remedy = f"CALL run_job({number}) shows the error, as does the log of the database"
            finding = (warning if lately else error)("jobs", f"{job} failed{_last_error(context, number)}", remedy)
        elif ahead:
            remedy = f"SELECT alter_job({number}, next_start => now()); check the clock of the server"
            finding = error("jobs", f"{job} waits for a time far ahead, as after the clock was set back", remedy)
        elif late is not None and late > MAX_JOB_DELAY and not running and not context.engine_started_for_check:
            start = "restart the service" if context.embedded else "SELECT _timescaledb_functions.start_background_workers()"
            finding = error(
                "jobs", f"{job} should have started {format_short(late)} ago", f"{start}; CALL run_job({number}) runs it now"
            )
        if finding:
            problems.append(finding)
    return problems or [ok("jobs", f"{len(found)} jobs, none stopped, failing or late")]


def _label(name: str, table: str) -> str:
    return f"{name} of {table}" if table else name


def _last_error(context: CheckContext, job: int) -> str:
    errors = context.rows(LAST_ERROR, (job,))
    return f" ({errors[0][0].splitlines()[0]})" if errors and errors[0][0] else ""


REFRESH = "CALL refresh_candles()"

STALE = "SELECT count(*) FROM stale_ranges"

MAX_STALE_RANGES = 1000
"""Maximum number of stale ranges that is not reported. A range is refreshed in milliseconds."""


def candles(context: CheckContext) -> Iterator[Finding]:
    """Check how far candles are materialized, and how many ranges with late trades wait for a refresh."""
    behind = [
        (interval, lag)
        for interval, _, lag in context.rows(LEVELS, (list(INTERVALS),))
        if lag is not None and lag > _max_lag(interval).total_seconds()
    ]
    (stale,) = context.row(STALE)
    if behind:
        interval, lag = behind[0]
        others = f" (and {', '.join(each for each, _ in behind[1:])})" if behind[1:] else ""
        finding = (
            f"candles_{interval}{others} are materialized {format_short(timedelta(seconds=lag))} behind the newest trade"
        )
        yield warning("candles", finding, f"see jobs; {REFRESH} materializes 1m now, then stale ranges of all intervals")
    if stale > MAX_STALE_RANGES:
        yield warning("candles", f"{stale:,} ranges with late trades wait for a refresh", REFRESH)
    if not behind and stale <= MAX_STALE_RANGES:
        yield ok("candles", f"materialized up to the newest trades, {stale:,} ranges with late trades wait")


def _max_lag(interval: str) -> timedelta:
    """Return the lag that is normal: the open bucket, the one that has just closed, and the interval between two jobs."""
    return timedelta(minutes=10) if interval == "1m" else 3 * INTERVALS[interval] + timedelta(hours=4)


DEAD = """
    SELECT format('%I.%I', schemaname, relname), n_dead_tup, n_live_tup
    FROM pg_stat_user_tables
    WHERE schemaname IN ('public', '_timescaledb_internal') AND n_dead_tup > 10000 AND n_dead_tup > n_live_tup / 2
    ORDER BY n_dead_tup DESC
"""

# Without chunks, whose setting TimescaleDB decides.
NOT_VACUUMED = """
    SELECT format('%I.%I', nspname, relname)
    FROM pg_class
    JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = 'public' AND EXISTS (
        SELECT FROM pg_options_to_table(reloptions)
        WHERE option_name = 'autovacuum_enabled' AND option_value IN ('false', 'off', 'no', '0')
    )
"""

AUTOVACUUM = "SELECT current_setting('autovacuum')::boolean"


def bloat(context: CheckContext) -> list[Finding]:
    """Find tables with many dead rows or without autovacuum."""
    problems = [
        warning("bloat", f"autovacuum is off for {table}", f"ALTER TABLE {table} RESET (autovacuum_enabled)")
        for (table,) in context.rows(NOT_VACUUMED)
    ]
    # The embedded engine's own process vacuums.
    if not context.embedded and not context.row(AUTOVACUUM)[0]:
        problems.append(error("bloat", "autovacuum is off", "ALTER SYSTEM SET autovacuum = on; SELECT pg_reload_conf()"))
    problems += [
        warning("bloat", f"{table} has {dead:,} dead rows beside {live:,}", f"VACUUM (ANALYZE) {table}")
        for table, dead, live in context.rows(DEAD)
    ]
    return problems or [ok("bloat", "no table has many dead rows")]


CLOCK = "SELECT clock_timestamp()"

MAX_CLOCK_DIFFERENCE_SECONDS = 2.0


def clock(context: CheckContext) -> Iterator[Finding]:
    """Compare the clocks of the database and of this machine."""
    before = datetime.now(UTC)
    (there,) = context.row(CLOCK)
    after = datetime.now(UTC)
    # The database read its clock at some moment between the two.
    difference = max((there - after).total_seconds(), (before - there).total_seconds(), 0.0)
    finding = f"the clocks of the database and of this machine differ by {difference:,.1f} s"
    remedy = "synchronize both with NTP (chrony or systemd-timesyncd), and restart the service"
    if difference > max(context.settings.future_tolerance_seconds, MAX_CLOCK_DIFFERENCE_SECONDS):
        yield error("clock", finding, remedy)
    elif difference > MAX_CLOCK_DIFFERENCE_SECONDS:
        yield warning("clock", finding, remedy)
    else:
        yield ok("clock", finding)


FOLDER = "SELECT current_setting('data_directory')"

SIZE = "SELECT pg_database_size(current_database())"


def disk(context: CheckContext) -> Iterator[Finding]:
    """Check the free space, if the disk of the database is on this machine."""
    (size,) = context.row(SIZE)
    folder = _folder(context)
    if folder is None:
        yield ok("disk", f"the database takes {_format_bytes(size)}; free space can't be seen from here")
        return
    total, _, free = shutil.disk_usage(folder)
    finding = f"{_format_bytes(free)} of {_format_bytes(total)} free at {folder}, the database takes {_format_bytes(size)}"
    remedy = "enlarge the disk, or drop old trades with `market-data retention --trades 1y`"
    if free < min(total * 0.02, 1e9):
        yield error("disk", finding, remedy)
    elif free < min(total * 0.1, 10e9):
        yield warning("disk", finding, remedy)
    else:
        yield ok("disk", finding)


def _folder(context: CheckContext) -> Path | None:
    """Return the data folder, if it is on this machine."""
    if context.embedded:
        return context.settings.home if context.settings.home.exists() else None
    try:
        (folder,) = context.row(FOLDER)
    except psycopg.errors.InsufficientPrivilege:
        return None
    host = str(conninfo_to_dict(context.settings.direct_url or "").get("host") or "")
    here = host in {"", "localhost", "127.0.0.1", "::1"} or host.startswith("/")
    path = Path(folder)
    try:
        # A folder in a container may have the name of one on this machine.
        return path if here and (path / "postmaster.pid").exists() else None
    except OSError:
        return None


def _format_bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"
