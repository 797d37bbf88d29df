"""State of the data: totals, the feed's lease, materialization of candles, jobs, sizes of tables."""

from datetime import datetime
from typing import NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import args_row, scalar_row

from market_data.models_status import JobStatus, LevelStatus
from market_data.queries.intervals import INTERVALS
from market_data.queries.leases import FEED_LEASE

REVISION = "SELECT max(version_num) FROM alembic_version"


async def read_revision(connection: AsyncConnection) -> str | None:
    """Return the revision of the schema, without waiting for a running migration."""
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(REVISION, prepare=True)
    return await cursor.fetchone()


NEWEST_TRADE = "SELECT max(time) FROM latest_trades"
# One row and one for each symbol. A transaction above READ COMMITTED adds a row to data_version until the next commit.
TRADE_TOTALS = f"SELECT (SELECT sum(trade_count)::bigint FROM data_version), ({NEWEST_TRADE})"


async def read_trade_totals(connection: AsyncConnection) -> tuple[int, datetime | None]:
    """Return the number of trades and the time of the newest."""
    cursor = connection.cursor(binary=True)
    await cursor.execute(TRADE_TOTALS)
    ((count, newest),) = await cursor.fetchall()
    return count, newest


class NewestTrade(NamedTuple):
    """Time of the newest trade, and the time since then during which no market was open."""

    time: datetime | None
    closed_seconds: float

    def age(self, now: datetime) -> float | None:
        """Return the age of the newest trade in seconds; None if there is none."""
        return max((now - self.time).total_seconds(), 0) if self.time else None

    def open_age(self, now: datetime) -> float | None:
        """Return the part of its age during which a market was open."""
        age = self.age(now)
        return None if age is None else max(age - self.closed_seconds, 0)


# Of the calendars of active symbols with trades, the one that was open for the longest. A session opens at most a day before
# its date. Without symbols that have a calendar, as by default, only the first line is executed.
OPEN_AGE = """
    SELECT max(CASE WHEN used.calendar = '24/7' THEN full_age ELSE coalesce(opened.seconds, 0) END)
    FROM (SELECT DISTINCT calendar FROM symbols JOIN latest_trades USING (symbol) WHERE active) AS used
    CROSS JOIN LATERAL (
        SELECT sum(
            extract(epoch FROM greatest(least(closes_at, now) - greatest(opens_at, newest.time), '0'))
            - coalesce(
                extract(epoch FROM greatest(least(break_ends_at, now) - greatest(break_starts_at, newest.time), '0')), 0
            )
        ) AS seconds
        FROM sessions
        WHERE sessions.calendar = used.calendar
            AND day BETWEEN (newest.time AT TIME ZONE 'UTC')::date - 2 AND (now AT TIME ZONE 'UTC')::date + 2
    ) AS opened
"""
NEWEST_TRADE_AGE = f"""
    SELECT newest.time, CASE
        WHEN EXISTS (SELECT FROM symbol_calendars WHERE ended_write_id IS NULL)
            THEN full_age - coalesce(({OPEN_AGE}), full_age)
        ELSE 0
    END::float8
    FROM ({NEWEST_TRADE}) AS newest (time)
    CROSS JOIN (SELECT coalesce(%s, now())) AS moment (now)
    CROSS JOIN LATERAL (SELECT extract(epoch FROM greatest(now - newest.time, '0'))) AS whole (full_age)
"""


async def read_newest_trade(connection: AsyncConnection, now: datetime | None = None) -> NewestTrade:
    """Return the newest trade, from any source. `now` is the current time by default."""
    cursor = connection.cursor(binary=True, row_factory=args_row(NewestTrade))
    await cursor.execute(NEWEST_TRADE_AGE, (now,), prepare=True)
    (found,) = await cursor.fetchall()
    return found._replace(closed_seconds=found.closed_seconds or 0)


LEVELS = """
    SELECT
        level.interval,
        found.watermark,
        extract(epoch FROM greatest(newest.time, found.watermark) - found.watermark)::float8
    FROM unnest(%s::text[]) WITH ORDINALITY AS level (interval, position)
    CROSS JOIN LATERAL candles_watermark(level.interval) AS found (watermark)
    CROSS JOIN (SELECT least(max(time), now()) FROM latest_trades) AS newest (time)
    ORDER BY level.position
"""


async def read_candle_levels(connection: AsyncConnection) -> list[LevelStatus]:
    """Return the materialization of each interval, shortest interval first."""
    cursor = connection.cursor(binary=True, row_factory=args_row(LevelStatus))
    await cursor.execute(LEVELS, (list(INTERVALS),), prepare=True)
    return await cursor.fetchall()


# Without the extension's own jobs, whose ids are below 1000. Not from job_stats, which has several rows for a job with
# parallel workers. While a job runs, it counts as crashed, and the end of its last run and its next start are -infinity.
JOBS = """
    SELECT
        job.proc_name::text,
        job.hypertable_name::text,
        nullif(run.last_start, '-infinity'),
        CASE WHEN isfinite(run.last_finish) THEN CASE WHEN run.last_run_success THEN 'Success' ELSE 'Failed' END END,
        CASE WHEN job.scheduled AND isfinite(run.next_start) THEN run.next_start END,
        job.job_id,
        CASE
            WHEN NOT job.scheduled THEN CASE
                WHEN job.proc_name = 'drop_old_trades' AND (SELECT drop_after IS NULL FROM retention) THEN 'unused'
                ELSE 'stopped'
            END
            WHEN job.proc_name = 'drop_old_trades' AND EXISTS (SELECT FROM pins) THEN 'pinned'
            -- It fails while another session refreshes candles: an import, for example.
            WHEN job.proc_name = 'refresh_candles' AND lease.is_active THEN 'ok'
            WHEN failed.in_a_row > 1 OR failed.in_a_row = 1 AND run.last_successful_finish < now() - tolerance THEN 'failing'
            WHEN isfinite(run.next_start) AND run.next_start > now() + tolerance THEN 'postponed'
            WHEN isfinite(run.next_start) AND (
                greatest(run.next_start, pg_postmaster_start_time()) < now() - INTERVAL '5 minutes'
            ) THEN 'late'
            ELSE 'ok'
        END,
        nullif(run.last_successful_finish, '-infinity'),
        extract(epoch FROM now() - nullif(run.last_successful_finish, '-infinity'))::float8,
        extract(epoch FROM job.schedule_interval)::float8,
        coalesce(run.total_failures, 0)::integer,
        coalesce(failed.in_a_row, 0)
    FROM timescaledb_information.jobs AS job
    LEFT JOIN _timescaledb_internal.bgw_job_stat AS run USING (job_id)
    CROSS JOIN LATERAL (
        SELECT run.consecutive_failures + greatest(run.consecutive_crashes - 1, 0),
            2 * job.schedule_interval + INTERVAL '10 minutes'
    ) AS failed (in_a_row, tolerance)
    CROSS JOIN (
        SELECT is_held(candle_refresh) AND active_at > clock_timestamp() - INTERVAL '5 minutes' FROM candle_refresh
    ) AS lease (is_active)
    WHERE job.job_id >= 1000
    ORDER BY job.job_id
"""


async def read_jobs(connection: AsyncConnection) -> list[JobStatus]:
    """Return the policies and other jobs of this schema."""
    cursor = connection.cursor(binary=True, row_factory=args_row(JobStatus))
    await cursor.execute(JOBS)
    return await cursor.fetchall()


# The embedded engine has no launcher. Only superusers see the processes and may start one.
START_SCHEDULER = """
    SELECT _timescaledb_functions.start_background_workers()
    FROM pg_stat_activity
    HAVING bool_or(backend_type = 'TimescaleDB Background Worker Launcher') AND NOT bool_or(
        backend_type = 'TimescaleDB Background Worker Scheduler' AND datname = current_database()
    ) AND current_setting('is_superuser')::boolean
"""


async def start_scheduler(connection: AsyncConnection) -> bool:
    """Start TimescaleDB's job scheduler if it has ended; return True if it had.

    It ends when it can't write, for example on a full disk, and by default TimescaleDB does not restart it then.
    """
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(START_SCHEDULER)
    return await cursor.fetchone() is not None


STALE_RANGES = "SELECT count(*), extract(epoch FROM clock_timestamp() - min(created_at))::float8 FROM stale_ranges"


class StaleRanges(NamedTuple):
    """Ranges whose candles wait for a refresh."""

    waiting: int
    oldest_seconds: float | None
    """Time for which the oldest has waited; None if none waits."""


async def read_stale_ranges(connection: AsyncConnection) -> StaleRanges:
    """Return how many ranges wait for a refresh, and for how long."""
    cursor = connection.cursor(row_factory=args_row(StaleRanges))
    await cursor.execute(STALE_RANGES)
    (ranges,) = await cursor.fetchall()
    return ranges


LEASE_HOLDER = "SELECT holder FROM leases WHERE name = %s AND expires_at > clock_timestamp()"


class Ingestion(NamedTuple):
    """State of ingestion in the database, for `GET /status/ingestion`."""

    newest_trade: NewestTrade
    holder: str | None
    """Holder of the feed's lease, while the lease is valid."""
    levels: list[LevelStatus]
    jobs: list[JobStatus]
    stale: StaleRanges


async def read_ingestion(connection: AsyncConnection) -> Ingestion:
    """Return the state of ingestion."""
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(LEASE_HOLDER, (FEED_LEASE,))
    holder = await cursor.fetchone()
    return Ingestion(
        await read_newest_trade(connection),
        holder,
        await read_candle_levels(connection),
        await read_jobs(connection),
        await read_stale_ranges(connection),
    )


TABLES = ("trades", *(f"candles_{interval}" for interval in INTERVALS))
"""Hypertable and continuous aggregates with the data."""

SIZE = "SELECT (SELECT count(*) FROM show_chunks(%(table)s::regclass)), hypertable_size(%(table)s::regclass)"


class TableSize(NamedTuple):
    """Number of chunks and bytes on disk of a table."""

    chunks: int
    bytes: int


async def read_table_size(connection: AsyncConnection, table: str) -> TableSize:
    """Return the size of a hypertable or continuous aggregate. Takes 0.3 ms for each chunk, in the file system."""
    cursor = connection.cursor(row_factory=args_row(TableSize))
    await cursor.execute(SIZE, {"table": table})
    (size,) = await cursor.fetchall()
    return size
