"""Checks of maintenance: candles, dead rows, clock and disk."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from market_data.cli.care.checks.finding import CheckContext, Finding, error, ok, warning
from market_data.cli.care.checks.jobs import read_jobs
from market_data.cli.durations import format_short
from market_data.queries.intervals import INTERVALS
from market_data.queries.status import LEVELS, NEWEST_TRADE, STALE_RANGES, StaleRanges

REFRESH = "CALL refresh_candles()"

REFRESHING = ("refresh_candles", "policy_refresh_continuous_aggregate")
"""Jobs that materialize candles."""

MAX_STALE_SECONDS = 300
"""Maximum age of a stale range that is not reported: a large import takes longer than late trades, whose candles are
refreshed within seconds."""


def candles(context: CheckContext) -> Iterator[Finding]:
    """Check how far candles are materialized, and how many ranges with late trades wait for a refresh.

    Candles that are behind are no problem if their job runs, as after an import or after a pause without trades.
    """
    running = {
        (job.table or "candles_1m").removeprefix("candles_")
        for job in read_jobs(context)
        if job.job in REFRESHING and job.state == "ok"
    }
    (newest,) = context.row(NEWEST_TRADE)
    behind: list[tuple[str, float | None]] = []
    waiting: list[str] = []
    for interval, _, lag in context.rows(LEVELS, (list(INTERVALS),)):
        if newest is None or (lag is not None and lag <= _max_lag(interval).total_seconds()):
            continue
        if interval not in running:
            behind.append((interval, lag))
        elif lag is not None:
            waiting.append(interval)
    stale = StaleRanges(*context.row(STALE_RANGES))
    stale_for = timedelta(seconds=stale.oldest_seconds or 0)
    if behind:
        interval, lag = behind[0]
        others = f" (and {', '.join(each for each, _ in behind[1:])})" if behind[1:] else ""
        distance = "not materialized at all"
        if lag is not None:
            distance = f"materialized {format_short(timedelta(seconds=lag))} behind the newest trade"
        remedy = f"see jobs; {REFRESH} materializes 1m now, then stale ranges of all intervals"
        yield warning("candles", f"candles_{interval}{others} are {distance}", remedy)
    overdue = stale_for.total_seconds() > MAX_STALE_SECONDS
    if overdue:
        finding = f"{stale.waiting:,} ranges with late trades wait for a refresh, the oldest for {format_short(stale_for)}"
        yield warning("candles", finding, REFRESH)
    if not behind and not overdue:
        finding = "materialized up to the newest trades"
        if waiting:
            finding += f", except {', '.join(waiting)}, which follow at the next run of their jobs"
        yield ok("candles", f"{finding}; {stale.waiting:,} ranges with late trades wait")


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
