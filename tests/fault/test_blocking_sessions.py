"""Readers in SQL on a server that keep transactions open: they may not stop the service, its jobs or its migrations."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest
from helpers.doctor import problems
from helpers.service import eventually, running
from helpers.support import PROJECT, Connection, Databases, one
from psycopg.conninfo import make_conninfo

from market_data.database import migrations

OLD_TRADES = """
    INSERT INTO trades (symbol, time, trade_id, price, volume)
    SELECT 'OLD', now() - INTERVAL '30 days' + n * INTERVAL '1 second', 0, 1, 1 FROM generate_series(1, 5000) AS n
"""

COLUMNSTORE_JOB = """
    SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = 'policy_compression' AND hypertable_name = 'trades'
"""

RUNNING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type LIKE 'Columnstore Policy%%'"
)

STATUS = "SELECT last_run_status FROM timescaledb_information.job_stats WHERE job_id = %s"

OLD = "/trades?symbol=OLD&start=2000-01-01T00:00:00Z&end=2100-01-01T00:00:00Z&limit=1"


@pytest.fixture
def database(new_migrated_database: Databases) -> Iterator[str]:
    """A database with old trades that are not in the columnstore. The job that moves them does not run by itself."""
    with new_migrated_database() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SELECT alter_job(%s, scheduled => false)", (one(connection, COLUMNSTORE_JOB),))
            eventually(lambda: one(connection, RUNNING) == 0)  # its first run, right after its creation
            connection.execute("INSERT INTO symbols (symbol, name) VALUES ('OLD', 'OLD')")
            connection.execute(OLD_TRADES)
        yield url


@contextmanager
def reader_in(url: str) -> Iterator[Connection]:
    """Yield a session of a person who belongs to analyst, has lifted his time-outs, and has read trades in a transaction."""
    name = f"reader_{uuid4().hex[:8]}"
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {name} LOGIN".encode())
        owner.execute(f"GRANT analyst TO {name} WITH INHERIT TRUE, SET FALSE".encode())
        try:
            with psycopg.connect(make_conninfo(url, user=name)) as reader:
                reader.execute("SET idle_in_transaction_session_timeout = 0; SET statement_timeout = 0")
                reader.commit()
                reader.execute("SELECT count(*) FROM trades")
                yield reader
        finally:
            owner.execute(f"DROP ROLE {name}".encode())


def start_job(connection: Connection, job: int) -> None:
    connection.execute("SELECT alter_job(%s, scheduled => true, next_start => now())", (job,))


def test_an_idle_reader_delays_requests_only_shortly_and_is_ended(database: str, tmp_path: Path):
    settings = {"DATABASE_URL": database, "FEED_ENABLED": "false", "MAX_BLOCKING_SECONDS": "6"}
    with (
        running(tmp_path, **settings) as (service, client),
        psycopg.connect(database, autocommit=True) as connection,
        reader_in(database) as reader,
    ):
        job = one(connection, COLUMNSTORE_JOB)
        start_job(connection, job)
        slowest = watch(client, until=lambda: one(connection, STATUS, job) == "Failed")
        assert 0.5 < slowest < 4, "the job waits for its lock for two seconds, and requests wait behind it"
        eventually(lambda: "which blocked jobs of the database for" in service.text, 15)
        with pytest.raises(psycopg.OperationalError):
            reader.execute("SELECT 1")
        start_job(connection, job)
        eventually(lambda: one(connection, STATUS, job) == "Success", 30)
        assert one(connection, "SELECT count(*) FROM trades") == 5000


def watch(client: httpx.Client, until: Callable[[], bool]) -> float:
    """Read trades until a condition holds; return the longest time that the requests of a turn took. All must succeed."""
    slowest = 0.0
    while not until():
        began = time.monotonic()
        for path in (OLD, "/health", "/price/latest?symbol=OLD"):
            assert client.get(path).status_code == 200
        slowest = max(slowest, time.monotonic() - began)
    return slowest


def test_a_reader_that_blocks_nothing_is_left_alone(database: str, tmp_path: Path):
    settings = {"DATABASE_URL": database, "FEED_ENABLED": "false", "MAX_BLOCKING_SECONDS": "1"}
    with (
        running(tmp_path, **settings) as (service, client),
        reader_in(database) as reader,
    ):
        for _ in range(10):
            assert client.get(OLD).status_code == 200
            time.sleep(0.5)
        reader.execute("SELECT 1")
        assert "ended a session" not in service.text


def test_migrations_wait_for_no_lock_that_other_roles_can_take(database: str):
    with reader_in(database) as reader:
        with pytest.raises(psycopg.errors.InsufficientPrivilege), reader.transaction():
            reader.execute("SELECT pg_advisory_lock(7164051126)")
        reader.execute("SELECT version_num FROM alembic_version")
        began = time.monotonic()
        migrations.upgrade(database)
        assert time.monotonic() - began < 20


def test_a_migration_ends_an_idle_reader(new_migrated_database: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(migrations, "IDLE_SECONDS", 2)
    with new_migrated_database() as url:
        subprocess.run(
            [sys.executable, "-m", "alembic", "downgrade", "0013"],
            cwd=PROJECT,
            env={**os.environ, "DATABASE_URL": url},
            check=True,
            capture_output=True,
        )
        with reader_in(url) as reader:
            reader.execute("SELECT count(*) FROM trade_changes")
            with pytest.raises(psycopg.OperationalError, match="another session holds a lock"):
                migrations.upgrade(url)
            migrations.upgrade(url)
            with pytest.raises(psycopg.OperationalError):
                reader.execute("SELECT 1")
        assert migrations.check_server(url) == migrations.revisions()[-1]


FAILURES = "SELECT total_failures FROM timescaledb_information.job_stats WHERE job_id = %s"

HOLD_LEASE = """
    DO $$
    BEGIN
        PERFORM lease_candle_refresh();
        COMMIT;
        PERFORM pg_sleep(60);
    END
    $$
"""


def test_a_job_that_cannot_refresh_candles_fails_and_doctor_names_the_session(database: str):
    job_named = "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = 'refresh_candles'"
    with (
        psycopg.connect(database, autocommit=True) as connection,
        psycopg.connect(database, autocommit=True, application_name="a visitor") as holder,
        ThreadPoolExecutor() as threads,
    ):
        job = one(connection, job_named)
        eventually(lambda: one(connection, "SELECT pid IS NULL FROM candle_refresh"))
        held = threads.submit(holder.execute, HOLD_LEASE)
        eventually(lambda: one(connection, "SELECT pid FROM candle_refresh") == holder.info.backend_pid)
        with pytest.raises(psycopg.errors.LockNotAvailable, match=f"session {holder.info.backend_pid} refreshes candles"):
            connection.execute("CALL refresh_candles(%s, NULL)", (job,))
        eventually(lambda: one(connection, FAILURES, job) > 1, 30)
        found = [finding for finding in problems(database) if "refresh" in str(finding)]
        assert found == [], "it may be at work"
        connection.execute("UPDATE candle_refresh SET active_at = clock_timestamp() - INTERVAL '6 minutes'")
        (stuck,) = [finding for finding in problems(database) if "a visitor" in finding.finding]
        assert str(stuck.remedy) == f"SELECT pg_terminate_backend({holder.info.backend_pid})"
        connection.execute(str(stuck.remedy).encode())
        with pytest.raises(psycopg.OperationalError):
            held.result()
        eventually(lambda: one(connection, STATUS, job) == "Success", 30)
