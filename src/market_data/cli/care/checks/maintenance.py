"""Whether the database keeps itself up: jobs, candles, dead rows, the clock, the disk."""

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

LATE = timedelta(minutes=5)
"""How long after its time a job may start."""

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


def jobs(patient: CheckContext) -> Iterator[Finding]:
    """Jobs that are missing, stopped, failing, late or waiting for too long."""
    well = True
    found = patient.rows(JOBS)
    for key, remedy in EXPECTED.items():
        if not any(key == (name, table) for _, name, table, *_ in found):
            well = False
            yield error("jobs", f"{_named(*key)} is missing", remedy)
    for number, name, table, scheduled, failed, running, late, lately, ahead in found:
        job = f"{number} ({_named(name, table)})"
        finding = None
        if not scheduled:
            finding = error("jobs", f"{job} is stopped", f"SELECT alter_job({number}, scheduled => true)")
        elif failed:
            remedy = f"see what CALL run_job({number}) says, and the database's log"
            finding = (warning if lately else error)("jobs", f"{job} failed{_why(patient, number)}", remedy)
        elif ahead:
            remedy = f"SELECT alter_job({number}, next_start => now()); see that the server's clock is right"
            finding = error("jobs", f"{job} waits for a time far ahead, as if the clock had been put back", remedy)
        elif late is not None and late > LATE and not running and not patient.woken:
            start = "restart the service" if patient.embedded else "SELECT _timescaledb_functions.start_background_workers()"
            finding = error(
                "jobs", f"{job} should have started {format_short(late)} ago", f"{start}; CALL run_job({number}) runs it now"
            )
        if finding:
            well = False
            yield finding
    if well:
        yield ok("jobs", f"{len(found)}, none of them stopped, failing or late")


def _named(name: str, table: str) -> str:
    return f"{name} of {table}" if table else name


def _why(patient: CheckContext, job: int) -> str:
    errors = patient.rows(LAST_ERROR, (job,))
    return f" ({errors[0][0].splitlines()[0]})" if errors and errors[0][0] else ""


REFRESH = "CALL refresh_candles()"

STALE = "SELECT count(*) FROM stale_ranges"

MOST_STALE = 1000
"""Ranges that may wait: each is the work of milliseconds."""


def candles(patient: CheckContext) -> Iterator[Finding]:
    """How far the candles are materialized, and how many late trades they do not show yet."""
    behind = [
        (interval, lag)
        for interval, _, lag in patient.rows(LEVELS, (list(INTERVALS),))
        if lag is not None and lag > _longest_lag(interval).total_seconds()
    ]
    (stale,) = patient.row(STALE)
    if behind:
        interval, lag = behind[0]
        others = f" (and {', '.join(each for each, _ in behind[1:])})" if behind[1:] else ""
        finding = f"candles_{interval}{others} are materialized {format_short(timedelta(seconds=lag))} behind the newest trade"
        yield warning(
            "candles", finding, f"see jobs; {REFRESH} materializes minutes now, and then late ranges of all levels"
        )
    if stale > MOST_STALE:
        yield warning("candles", f"{stale:,} ranges with late trades wait to be refreshed", REFRESH)
    if not behind and stale <= MOST_STALE:
        yield ok("candles", f"materialized up to the newest trades, {stale:,} late ranges waiting")


def _longest_lag(interval: str) -> timedelta:
    """Beyond two buckets, the one that is open and the one that has just closed, what the jobs leave in between."""
    return timedelta(minutes=10) if interval == "1m" else 3 * INTERVALS[interval] + timedelta(hours=4)


DEAD = """
    SELECT format('%I.%I', schemaname, relname), n_dead_tup, n_live_tup
    FROM pg_stat_user_tables
    WHERE schemaname IN ('public', '_timescaledb_internal') AND n_dead_tup > 10000 AND n_dead_tup > n_live_tup / 2
    ORDER BY n_dead_tup DESC
"""

# Of chunks TimescaleDB decides.
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


def bloat(patient: CheckContext) -> Iterator[Finding]:
    """Rows that are dead and take room, and whether anything clears them away."""
    well = True
    # The engine's process does what autovacuum does on a server.
    if not patient.embedded and not patient.row(AUTOVACUUM)[0]:
        well = False
        yield error("bloat", "autovacuum is off", "ALTER SYSTEM SET autovacuum = on; SELECT pg_reload_conf()")
    for (table,) in patient.rows(NOT_VACUUMED):
        well = False
        yield warning("bloat", f"autovacuum is off for {table}", f"ALTER TABLE {table} RESET (autovacuum_enabled)")
    for table, dead, live in patient.rows(DEAD):
        well = False
        yield warning("bloat", f"{table} has {dead:,} dead rows beside {live:,}", f"VACUUM (ANALYZE) {table}")
    if well:
        yield ok("bloat", "no table has many dead rows")


CLOCK = "SELECT clock_timestamp()"

TOLERABLE_SECONDS = 2.0


def clock(patient: CheckContext) -> Iterator[Finding]:
    """How far the clocks of the database and of this machine are apart."""
    before = datetime.now(UTC)
    (there,) = patient.row(CLOCK)
    after = datetime.now(UTC)
    # It was asked at some moment between the two.
    apart = max((there - after).total_seconds(), (before - there).total_seconds(), 0.0)
    finding = f"the database's and this machine's are {apart:,.1f} s apart"
    remedy = "set both by NTP (chrony or systemd-timesyncd), and restart the service"
    if apart > max(patient.settings.future_tolerance_seconds, TOLERABLE_SECONDS):
        yield error("clock", finding, remedy)
    elif apart > TOLERABLE_SECONDS:
        yield warning("clock", finding, remedy)
    else:
        yield ok("clock", finding)


FOLDER = "SELECT current_setting('data_directory')"

SIZE = "SELECT pg_database_size(current_database())"


def disk(patient: CheckContext) -> Iterator[Finding]:
    """How much room is left, where the database's disk is one of this machine's."""
    (size,) = patient.row(SIZE)
    folder = _folder(patient)
    if folder is None:
        yield ok("disk", f"the database takes {_in_bytes(size)}; how much is free can't be seen from here")
        return
    total, _, free = shutil.disk_usage(folder)
    finding = f"{_in_bytes(free)} of {_in_bytes(total)} free at {folder}, the database takes {_in_bytes(size)}"
    remedy = "enlarge the disk, or drop old trades with `market-data retention --trades 1y`"
    if free < min(total * 0.02, 1e9):
        yield error("disk", finding, remedy)
    elif free < min(total * 0.1, 10e9):
        yield warning("disk", finding, remedy)
    else:
        yield ok("disk", finding)


def _folder(patient: CheckContext) -> Path | None:
    """The data folder, if it is on this machine."""
    if patient.embedded:
        return patient.settings.home if patient.settings.home.exists() else None
    try:
        (folder,) = patient.row(FOLDER)
    except psycopg.errors.InsufficientPrivilege:
        return None
    host = str(conninfo_to_dict(patient.settings.direct_url or "").get("host") or "")
    here = host in {"", "localhost", "127.0.0.1", "::1"} or host.startswith("/")
    path = Path(folder)
    try:
        # A container's folder may be called like one of ours.
        return path if here and (path / "postmaster.pid").exists() else None
    except OSError:
        return None


def _in_bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"
