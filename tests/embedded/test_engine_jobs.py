"""Jobs and autovacuum run without background workers as they do on a server."""

import time
from typing import Any

import psycopg
import pytest
from helpers.service import eventually

STATS = """
    SELECT last_run_status, total_runs, total_successes, total_failures, next_start > last_run_started_at
    FROM timescaledb_information.job_stats WHERE job_id = %s
"""


def stats(connection: psycopg.Connection, job: int) -> tuple[Any, ...] | None:
    return connection.execute(STATS, (job,)).fetchone()


def runs(connection: psycopg.Connection, job: int) -> int:
    row = stats(connection, job)
    return row[1] if row else 0


@pytest.fixture
def job(connect):
    """Create jobs from PL/pgSQL bodies; they are deleted after the test."""
    connection = connect()
    created: list[int] = []

    def create(body: str, *, interval: str = "1 second", **options: Any) -> int:
        name = f"job_{len(created)}"
        connection.execute(f"""
            CREATE OR REPLACE PROCEDURE {name}(job_id integer, config jsonb) LANGUAGE plpgsql
            AS $$ BEGIN {body} END $$
        """)
        row = connection.execute(f"SELECT add_job('{name}', '{interval}')").fetchone()
        assert row
        created.append(row[0])
        for option, value in options.items():
            connection.execute(f"SELECT alter_job({row[0]}, {option} => {value})")
        return row[0]

    yield create
    for number in created:
        connection.execute("SELECT delete_job(%s)", (number,))


def test_a_refresh_policy_runs_on_its_schedule(connect):
    connection = connect()
    connection.execute("CREATE TABLE ticks (time timestamptz NOT NULL, price numeric)")
    connection.execute("SELECT create_hypertable('ticks', 'time')")
    connection.execute("""
        CREATE MATERIALIZED VIEW minutes
        WITH (timescaledb.continuous, timescaledb.materialized_only = true) AS
        SELECT time_bucket('1 minute', time) AS bucket, sum(price) AS total FROM ticks GROUP BY 1
        WITH NO DATA
    """)
    connection.execute("INSERT INTO ticks SELECT now() - i * interval '1 minute', i FROM generate_series(5, 20) i")
    assert connection.execute("SELECT count(*) FROM minutes").fetchone() == (0,)
    row = connection.execute("""
        SELECT add_continuous_aggregate_policy('minutes', start_offset => interval '1 hour',
            end_offset => interval '1 minute', schedule_interval => interval '1 second')
    """).fetchone()
    assert row
    eventually(lambda: connection.execute("SELECT sum(total) FROM minutes").fetchone() == (200,))
    # The first run was due to the policy being new; the second one follows the schedule.
    connection.execute("INSERT INTO ticks VALUES (now() - interval '5 minutes', 1000)")
    eventually(lambda: connection.execute("SELECT sum(total) FROM minutes").fetchone() == (1200,))
    status, total, successes, _, is_scheduled = eventually(lambda: stats(connection, row[0]))
    assert status == "Success"
    assert total == successes >= 2
    assert is_scheduled
    connection.execute("DROP MATERIALIZED VIEW minutes")
    connection.execute("DROP TABLE ticks")
    assert stats(connection, row[0]) is None


def test_a_retention_policy_drops_old_chunks(connect):
    connection = connect()
    connection.execute("CREATE TABLE old (time timestamptz NOT NULL)")
    connection.execute("SELECT create_hypertable('old', 'time')")
    connection.execute("INSERT INTO old VALUES (now()), (now() - interval '60 days')")
    connection.execute("SELECT add_retention_policy('old', interval '30 days')")
    eventually(lambda: connection.execute("SELECT count(*) FROM old").fetchone() == (1,))
    connection.execute("DROP TABLE old")


def test_a_job_runs_as_its_owner_with_default_settings_in_utc(connect, job):
    connection = connect()
    connection.execute("SET TimeZone = 'Asia/Tokyo'")
    connection.execute("CREATE TABLE seen (who text, zone text)")
    connection.execute("CREATE ROLE worker LOGIN")
    connection.execute("GRANT INSERT ON seen TO worker")
    connection.execute("GRANT CREATE ON SCHEMA public TO worker")
    number = job("INSERT INTO seen VALUES (session_user, current_setting('TimeZone'));", interval="1 day")
    eventually(lambda: connection.execute("SELECT count(*) FROM seen").fetchone() == (1,))
    connection.execute("ALTER PROCEDURE job_0 OWNER TO worker")
    connection.execute("UPDATE _timescaledb_config.bgw_job SET owner = 'worker'::regrole WHERE id = %s", (number,))
    connection.execute("SELECT alter_job(%s, next_start => now())", (number,))
    eventually(lambda: connection.execute("SELECT count(*) FROM seen").fetchone() == (2,))
    assert connection.execute("SELECT * FROM seen").fetchall() == [("postgres", "UTC"), ("worker", "UTC")]
    assert connection.execute("SHOW TimeZone").fetchone() == ("Asia/Tokyo",)
    connection.execute("UPDATE _timescaledb_config.bgw_job SET owner = 'postgres'::regrole WHERE id = %s", (number,))
    connection.execute("DROP TABLE seen")
    connection.execute("DROP OWNED BY worker CASCADE")
    connection.execute("DROP ROLE worker")


def test_a_failing_job_is_retried_later_and_does_not_block_clients(connect, job):
    connection = connect()
    number = job("RAISE EXCEPTION 'failed';", retry_period="'1 second'")
    status, _, _, _, is_scheduled = eventually(lambda: (row := stats(connection, number)) and row[3] and row[3] >= 2 and row)
    assert status == "Failed"
    assert is_scheduled
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_job_without_retries_left_is_unscheduled(connect, job):
    connection = connect()
    number = job("RAISE EXCEPTION 'failed';", retry_period="'100 milliseconds'", max_retries="1")
    query = "SELECT scheduled FROM timescaledb_information.jobs WHERE job_id = %s"
    eventually(lambda: connection.execute(query, (number,)).fetchone() == (False,))
    row = stats(connection, number)
    assert row
    assert row[3] == 2


def test_a_job_runs_after_the_clock_has_been_set_back(connect, job):
    connection = connect()
    number = job("NULL;", interval="1 day")
    eventually(lambda: runs(connection, number) == 1)
    connection.execute(
        """
        UPDATE _timescaledb_internal.bgw_job_stat
        SET last_finish = last_finish + INTERVAL '1 hour', next_start = next_start + INTERVAL '1 hour'
        WHERE job_id = %s
        """,
        (number,),
    )
    eventually(lambda: runs(connection, number) == 2)


def test_a_paused_job_does_not_run(connect, job):
    connection = connect()
    paused = job("NULL;", interval="1 hour", scheduled="false")
    before = stats(connection, paused)
    connection.execute("SELECT alter_job(%s, next_start => now())", (paused,))
    running = job("NULL;")
    eventually(lambda: (row := stats(connection, running)) and row[1] and row[1] >= 2)
    after = stats(connection, paused)
    assert before is not None
    assert after is not None
    assert (before[1] or 0) == (after[1] or 0)


def test_jobs_wait_for_an_open_transaction_and_then_run(connect, job):
    connection, holder = connect(), connect()
    number = job("NULL;")
    eventually(lambda: (row := stats(connection, number)) and row[1])
    holder.execute("BEGIN")
    row = stats(holder, number)
    assert row
    time.sleep(2.5)
    # The isolation level is READ COMMITTED: the transaction would see the commits of a job.
    assert stats(holder, number) == row
    holder.execute("COMMIT")
    eventually(lambda: (now := stats(connection, number)) and now[1] > row[1])


def test_a_notification_of_a_job_reaches_the_listeners(connect, job):
    listener = connect()
    listener.execute("LISTEN done")
    job("NOTIFY done, 'by a job';", interval="1 day")
    assert [notification.payload for notification in listener.notifies(timeout=10, stop_after=1)] == ["by a job"]


def test_a_table_that_has_grown_is_analyzed(connect, table):
    connection = connect()
    connection.execute(f"INSERT INTO {table} SELECT i, repeat('x', 100) FROM generate_series(1, 5000) AS i")

    def estimate() -> float:
        return connection.execute(f"SELECT reltuples FROM pg_class WHERE oid = '{table}'::regclass").fetchone()[0]

    eventually(lambda: estimate() == 5000)


def test_the_space_of_deleted_rows_is_reused(connect, table):
    connection = connect()
    insert = f"INSERT INTO {table} SELECT i, repeat('x', 100) FROM generate_series(1, 5000) AS i"
    connection.execute(insert)
    connection.execute(f"DELETE FROM {table}")
    connection.execute(insert)

    def pages(expression: str = f"pg_relation_size('{table}') / 8192") -> int:
        return connection.execute(f"SELECT {expression} FROM pg_class WHERE oid = '{table}'::regclass").fetchone()[0]

    size = pages()
    eventually(lambda: pages("relpages") == size)
    connection.execute(insert.replace("SELECT i,", "SELECT i + 5000,"))
    assert pages() == size
