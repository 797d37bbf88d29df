"""`market-data doctor`: jobs that are missing, stopped, failing or late, and candles that they have not materialized."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg
import pytest
from helpers.doctor import findings, problem, problems, remedy_works
from helpers.schema import PARTS
from helpers.service import eventually
from helpers.support import RUNNING_JOBS, SERVER, Connection, Databases, one
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Json

from market_data.cli.care.checks.finding import Finding
from market_data.cli.care.checks.policies import EXPECTED


@pytest.fixture(scope="module")
def url(new_migrated_database: Databases) -> Iterator[str]:
    """A database that is healthy after each test."""
    with new_migrated_database() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            eventually(lambda: one(connection, RUNNING_JOBS) == 0)  # one that runs is cancelled when a test stops it
        yield url


@pytest.fixture
def connection(url: str) -> Iterator[Connection]:
    with psycopg.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
        yield connection


def test_the_remedy_of_a_stopped_job_schedules_it(url: str, connection: Connection):
    connection.execute(
        "SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs WHERE proc_name = 'refresh_candles'"
    )
    found = problem(url)
    assert (found.level, found.check) == ("error", "jobs")
    assert "refresh_candles) is stopped" in found.finding
    assert remedy_works(connection, url)


def test_the_remedy_of_a_job_after_the_clock_was_set_back_starts_it(url: str, connection: Connection):
    job = one(connection, "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = 'trim_stream'")
    connection.execute("SELECT alter_job(%s, next_start => now() + INTERVAL '10 days')", (job,))
    found = problem(url)
    assert (found.level, found.check) == ("error", "jobs")
    assert f"{job} (trim_stream) waits for a time far ahead" in found.finding
    assert found.remedy
    connection.execute(found.remedy.partition(";")[0].encode())
    assert problems(url) == []


def test_the_remedies_of_missing_jobs_create_them(url: str, connection: Connection):
    def jobs() -> list[Any]:
        return sorted(connection.execute(PARTS["jobs"]).fetchall(), key=str)

    before = jobs()
    connection.execute("SELECT delete_job(job_id) FROM timescaledb_information.jobs WHERE job_id >= 1000")
    found = problems(url)
    assert len(found) == len(EXPECTED) == len(before)
    assert all(each.level == "error" and each.check == "jobs" and "is missing" in each.finding for each in found)
    connection.execute(
        "SELECT add_continuous_aggregate_policy('candles_1m', INTERVAL '3 h', INTERVAL '1 m', INTERVAL '1 m')"
    )
    for each in found:
        assert each.remedy
        connection.execute(each.remedy.partition(", then")[0].encode())
    connection.execute("SELECT remove_continuous_aggregate_policy('candles_1m')")
    connection.execute(
        "SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs WHERE proc_name = 'drop_old_trades'"
    )
    assert jobs() == before
    assert problems(url) == []


def test_a_job_that_fails_again_and_again_is_reported_with_its_error_until_it_succeeds(url: str, connection: Connection):
    job = one(connection, "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = 'trim_stream'")
    again = sql.SQL("SELECT alter_job({}, next_start => now())").format(job)

    def fails_again() -> list[Finding]:
        found = problems(url)
        if not found:
            connection.execute(again)
        return found

    succeeded = "SELECT isfinite(last_successful_finish) FROM timescaledb_information.job_stats WHERE job_id = %s"
    eventually(lambda: one(connection, succeeded, job), 60)
    connection.execute("ALTER TABLE stream_progress RENAME TO elsewhere")
    try:
        found = eventually(fails_again, 60)[0]
    finally:
        connection.execute("ALTER TABLE elsewhere RENAME TO stream_progress")
    assert (found.level, found.check) == ("warning", "jobs"), "it succeeded a moment ago"
    assert re.match(rf"{job} \(trim_stream\) failed \d+ times", found.finding)
    if SERVER:
        assert 'stream_progress" does not exist' in found.finding
    assert found.remedy
    assert found.remedy.startswith(
        f"CALL run_job({job}) shows the error, as does the log of the database; then SELECT alter"
    )
    connection.execute(found.remedy.partition("; then ")[2].partition(" runs it")[0].encode())
    assert eventually(lambda: problems(url) == [], 60)


class Run(NamedTuple):
    """Statistics of a job that is refreshed each hour."""

    failures: int = 0
    crashes: int = 0
    succeeded: str = "1 hour"
    """Time since the last success; empty before the first."""
    next_run: str = "40 minutes"


@pytest.mark.parametrize(
    ("run", "level", "finding"),
    [
        (Run(failures=1), "ok", "(policy_compression of commits) failed, and runs again"),
        (Run(failures=2), "warning", "(policy_compression of commits) failed 2 times"),
        (Run(failures=1, succeeded="131 minutes"), "error", "(policy_compression of commits) failed 1 time"),
        (Run(failures=1, succeeded=""), "error", "(policy_compression of commits) failed 1 time"),
        (Run(crashes=1), "ok", "none stopped, failing or late"),
        (Run(crashes=3), "warning", "(policy_compression of commits) failed 2 times"),
        (Run(next_run="3 hours"), "error", "(policy_compression of commits) waits for a time far ahead"),
    ],
    ids=str,
)
def test_a_job_is_failing_unless_it_succeeded_lately_and_failed_once(
    url: str, connection: Connection, run: Run, level: str, finding: str
):
    """A job that runs counts as one crash."""
    with job_statistics(connection, run):
        (found,) = [each for each in findings(url) if each.check == "jobs"]
    assert found.level == level
    assert finding in found.finding


JOB = (
    "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = 'policy_compression' AND hypertable_name = 'commits'"
)


@contextmanager
def job_statistics(connection: Connection, run: Run) -> Iterator[int]:
    """Yield the id of a job, after its first run, with other statistics."""
    job = one(connection, JOB)
    statistics = sql.SQL("SELECT {}, job_id FROM _timescaledb_internal.bgw_job_stat WHERE job_id = {} AND total_runs > 0")
    columns = "next_start", "last_successful_finish", "consecutive_failures", "consecutive_crashes"
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    (before,) = eventually(lambda: connection.execute(statistics.format(names, job)).fetchall())
    update = sql.SQL(
        "UPDATE _timescaledb_internal.bgw_job_stat SET ({}) = ROW (now() + {}::interval, {}, {}, {}) WHERE job_id = {}"
    )
    succeeded = sql.SQL("now() - {}::interval").format(run.succeeded) if run.succeeded else sql.Literal("-infinity")
    connection.execute(update.format(names, run.next_run, succeeded, run.failures, run.crashes, job))
    try:
        yield job
    finally:
        restore = sql.SQL("UPDATE _timescaledb_internal.bgw_job_stat SET ({}) = ROW (%s, %s, %s, %s) WHERE job_id = %s")
        connection.execute(restore.format(names), before)


@pytest.mark.parametrize("by_error", [True, False])
def test_releases_that_are_incompatible_are_recognized(url: str, connection: Connection, by_error: bool):
    """By the error of the job, or, where it can't be read, by the releases."""
    connection.execute("CREATE SCHEMA elsewhere")
    try:
        with job_statistics(connection, Run(failures=2, succeeded="")) as job:
            if by_error:
                message = 'cannot drop portal "" while it is being set up'
                connection.execute(FAILED_RUN, (job, Json({"job": {}, "error_data": {"message": message}})))
            else:
                connection.execute(RELEASES)
            found = problem(make_conninfo(url, options="-c search_path=elsewhere,pg_catalog,public"))
    finally:
        connection.execute("SET client_min_messages = warning; DROP SCHEMA elsewhere CASCADE")
        connection.execute("DELETE FROM _timescaledb_internal.bgw_job_stat_history WHERE pid = -1")
    assert (found.level, found.check) == ("error", "jobs")
    assert "are incompatible, so jobs fail with `cannot drop portal " in found.finding
    assert found.finding.endswith(f": {job} (policy_compression of commits)")
    assert by_error or found.finding.startswith("PostgreSQL 17.12 and TimescaleDB 2.29.2 ")


FAILED_RUN = """
    INSERT INTO _timescaledb_internal.bgw_job_stat_history (job_id, pid, execution_start, execution_finish, succeeded, data)
    VALUES (%s, -1, now(), now(), false, %s)
"""
RELEASES = """
    CREATE FUNCTION elsewhere.current_setting(name text) RETURNS text LANGUAGE sql AS $$
        SELECT CASE name
            WHEN 'server_version_num' THEN '170012' WHEN 'server_version' THEN '17.12' ELSE pg_catalog.current_setting(name)
        END
    $$;
    CREATE VIEW elsewhere.pg_extension AS SELECT 'timescaledb' AS extname, '2.29.2' AS extversion;
    CREATE VIEW elsewhere.pg_available_extensions AS SELECT 'timescaledb' AS name, '2.29.2' AS default_version
"""


def test_the_remedy_of_lagging_candles_and_waiting_ranges_refreshes_them(new_migrated_database: Databases):
    with new_migrated_database() as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs")
        connection.execute("INSERT INTO symbols (symbol, name) VALUES ('AAPL', 'Apple')")
        trade = "INSERT INTO trades (time, symbol, price, volume) VALUES (now() - %s::interval, 'AAPL', 1, 1)"
        connection.execute(trade, ("10 days",))
        connection.execute("CALL refresh_candles()")
        connection.execute(trade, ("1 hour",))
        connection.execute("""
            INSERT INTO stale_ranges (level, since, until, write_id, created_at)
            SELECT 1, now() - INTERVAL '9 days', now() - INTERVAL '9 days', 0, now() - age * INTERVAL '1 minute'
            FROM generate_series(1, 7) AS age
        """)
        waiting = [each for each in problems(url) if each.check == "candles"]
        assert [each.level for each in waiting] == ["warning", "warning"]
        assert "candles_1m" in waiting[0].finding
        assert "behind the newest trade" in waiting[0].finding
        assert re.match(r"\d+ ranges with late trades wait for a refresh, the oldest for 7 min", waiting[1].finding)
        assert waiting[1].remedy == "CALL refresh_candles()"
        assert waiting[1].remedy in str(waiting[0].remedy)
        connection.execute(waiting[1].remedy)
        left = [each.finding for each in problems(url) if each.check == "candles"]
        assert not any("candles_1m" in each or "wait" in each for each in left)


def test_right_after_an_import_longer_intervals_wait_for_their_jobs(new_migrated_database: Databases):
    trade = "INSERT INTO trades (time, symbol, price, volume) VALUES (now() - %s::interval, 'AAPL', 1, 1)"
    with new_migrated_database() as url, psycopg.connect(url, autocommit=True) as connection:
        eventually(lambda: one(connection, ALL_HAVE_RUN))
        connection.execute("INSERT INTO symbols (symbol, name) VALUES ('AAPL', 'Apple')")
        connection.execute(trade, ("300 days",))
        connection.execute("CALL refresh_candles()")
        job = one(connection, JOB_OF_WEEKS)
        connection.execute(sql.SQL("CALL run_job({})").format(job))
        connection.execute(trade, ("1 second",))
        (found,) = [each for each in findings(url) if each.check == "candles"]
        assert found.level == "ok"
        assert " 1w, which follow at the next run of their jobs" in found.finding
        connection.execute("SELECT alter_job(%s, scheduled => false)", (job,))
        found = next(each for each in problems(url) if each.check == "candles")
        assert found.level == "warning"
        assert re.match(r"candles_1w are materialized 29\d d behind the newest trade", found.finding)


ALL_HAVE_RUN = """
    SELECT bool_and(isfinite(last_successful_finish))
    FROM timescaledb_information.jobs LEFT JOIN timescaledb_information.job_stats USING (job_id)
    WHERE job_id >= 1000 AND scheduled
"""
JOB_OF_WEEKS = """
    SELECT job_id FROM timescaledb_information.jobs
    WHERE proc_name = 'policy_refresh_continuous_aggregate' AND hypertable_name = 'candles_1w'
"""


def test_candles_that_no_job_materializes_are_reported(new_migrated_database: Databases):
    with new_migrated_database() as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs")
        assert [each for each in problems(url) if each.check == "candles"] == [], "there is no trade"
        connection.execute("INSERT INTO symbols (symbol, name) VALUES ('AAPL', 'Apple')")
        connection.execute("INSERT INTO trades (time, symbol, price, volume) VALUES (now(), 'AAPL', 1, 1)")
        (found,) = [each for each in problems(url) if each.check == "candles"]
        assert found.finding == "candles_1m (and 5m, 15m, 30m, 1h, 4h, 1d, 1w) are not materialized at all"


if SERVER:
    STOP = "SELECT _timescaledb_functions.stop_background_workers()"

    def test_a_stopped_scheduler_and_its_late_jobs_are_reported(url: str, connection: Connection):
        connection.execute(STOP)
        try:
            connection.execute("""
                UPDATE _timescaledb_internal.bgw_job_stat SET next_start = now() - INTERVAL '1 hour'
                WHERE job_id = (SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = 'trim_stream')
            """)
            eventually(lambda: {each.check for each in problems(url)} == {"jobs", "workers"})
            late, stopped = problems(url)
            assert "trim_stream) should have started at 20" in late.finding
            assert stopped.remedy == "SELECT _timescaledb_functions.start_background_workers()"
            assert stopped.remedy in str(late.remedy)
        finally:
            connection.execute(STOP.replace("stop", "start"))
        assert eventually(lambda: problems(url) == [], 60)
