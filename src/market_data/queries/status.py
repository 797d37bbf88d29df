"""How the data is kept up: who feeds, what is materialized, which jobs ran, what it all takes."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from psycopg.rows import args_row, scalar_row

from market_data.queries.health import NEWEST_TRADE
from market_data.queries.intervals import INTERVALS
from market_data.queries.leases import FEED_LEASE
from market_data.queries.row_pages import Connection

REVISION = "SELECT max(version_num) FROM alembic_version"


async def read_revision(connection: Connection, _: None) -> str | None:
    """The revision of the schema. A migration that has not been committed yet does not show, and is not waited for."""
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(REVISION, prepare=True)
    return await cursor.fetchone()


async def read_newest_trade_time(connection: Connection, _: None) -> datetime | None:
    """The time of the newest trade, whoever stored it."""
    cursor = connection.cursor(binary=True, row_factory=scalar_row)
    await cursor.execute(NEWEST_TRADE, prepare=True)
    return await cursor.fetchone()


class CandleLevel(NamedTuple):
    """How far the candles of an interval are materialized."""

    interval: str
    watermark: datetime | None
    lag_seconds: float | None
    """How far that is behind the newest trade (of the past): nothing is late where nothing is traded."""


# A function of its own for the watermark has been there since the levels have.
LEVELS = """
    SELECT level.interval, found.watermark, greatest(extract(epoch FROM newest.time - found.watermark), 0)::float8
    FROM unnest(%s::text[]) WITH ORDINALITY AS level (interval, position)
    CROSS JOIN LATERAL candles_watermark(level.interval) AS found (watermark)
    CROSS JOIN (SELECT least(max(time), now()) FROM newest_trades) AS newest (time)
    ORDER BY level.position
"""


async def read_candle_levels(connection: Connection) -> list[CandleLevel]:
    """Every level of candles, the finest first."""
    cursor = connection.cursor(binary=True, row_factory=args_row(CandleLevel))
    await cursor.execute(LEVELS, (list(INTERVALS),), prepare=True)
    return await cursor.fetchall()


class JobRun(NamedTuple):
    """A job of the database, and how it ran last."""

    job: str
    table: str | None
    last_run: datetime | None
    last_status: str | None
    next_run: datetime | None


# Of the extension's own jobs (below 1000) nothing here depends.
JOBS = """
    SELECT
        job.proc_name::text,
        coalesce(aggregate.view_name, job.hypertable_name)::text,
        nullif(run.last_run_started_at, '-infinity'),
        CASE WHEN isfinite(run.last_run_started_at) THEN run.last_run_status END,
        CASE WHEN job.scheduled AND isfinite(run.next_start) THEN run.next_start END
    FROM timescaledb_information.jobs AS job
    LEFT JOIN timescaledb_information.job_stats AS run USING (job_id)
    LEFT JOIN timescaledb_information.continuous_aggregates AS aggregate
        ON aggregate.materialization_hypertable_name = job.hypertable_name
    WHERE job.job_id >= 1000
    ORDER BY job.job_id
"""


async def read_jobs(connection: Connection) -> list[JobRun]:
    """The policies and other jobs that this schema has."""
    cursor = connection.cursor(binary=True, row_factory=args_row(JobRun))
    await cursor.execute(JOBS)
    return await cursor.fetchall()


# The embedded engine has no launcher. Others than superusers see neither process, and may not start one.
START_SCHEDULER = """
    SELECT _timescaledb_functions.start_background_workers()
    FROM pg_stat_activity
    HAVING bool_or(backend_type = 'TimescaleDB Background Worker Launcher') AND NOT bool_or(
        backend_type = 'TimescaleDB Background Worker Scheduler' AND datname = current_database()
    ) AND current_setting('is_superuser')::boolean
"""


async def start_scheduler(connection: Connection) -> bool:
    """Start TimescaleDB's scheduler, which runs the jobs, where it has ended; whether it had.

    It ends when it can't write, on a full disk say, and by default TimescaleDB lets it be then.
    """
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(START_SCHEDULER)
    return await cursor.fetchone() is not None


HOLDER = "SELECT holder FROM leases WHERE name = %s AND expires_at > clock_timestamp()"


class Ingestion(NamedTuple):
    """What `GET /status/ingestion` tells of the database."""

    newest_trade: datetime | None
    holder: str | None
    """Of the feed's lease, while that is valid."""
    levels: Sequence[CandleLevel]
    jobs: Sequence[JobRun]


async def read_ingestion(connection: Connection, _: None) -> Ingestion:
    """Who feeds, since when nothing has come, and how far everything else is."""
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(HOLDER, (FEED_LEASE,))
    holder = await cursor.fetchone()
    return Ingestion(
        await read_newest_trade_time(connection, None),
        holder,
        await read_candle_levels(connection),
        await read_jobs(connection),
    )


TABLES = ("trades", *(f"candles_{interval}" for interval in INTERVALS))
"""What holds the data."""

SIZE = "SELECT (SELECT count(*) FROM show_chunks(%(table)s::regclass)), hypertable_size(%(table)s::regclass)"


class Size(NamedTuple):
    """What a table takes."""

    chunks: int
    bytes: int


async def read_sizes(connection: Connection, table: str) -> Size:
    """Chunks and bytes of a hypertable or of candles. Asks the file system about each chunk: 0.3 ms for one of them."""
    cursor = connection.cursor(row_factory=args_row(Size))
    await cursor.execute(SIZE, {"table": table})
    (found,) = await cursor.fetchall()
    return found
