"""`market-data doctor`: a healthy database, each ailment with its remedy, and the remedy at work."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from database.test_migrations import PARTS
from helpers.service import eventually
from helpers.support import SERVER, Connection
from psycopg.conninfo import make_conninfo

from market_data.cli.care.checks import Finding
from market_data.cli.care.checks.policies import EXPECTED
from market_data.cli.care.doctor import findings
from market_data.settings import Settings

Databases = Callable[[], AbstractContextManager[str]]


@pytest.fixture(scope="module")
def url(new_migrated_database: Databases) -> Iterator[str]:
    """A database that each test leaves as healthy as it was."""
    with new_migrated_database() as url:
        yield url


@pytest.fixture
def connection(url: str) -> Iterator[Connection]:
    with psycopg.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
        yield connection


def examined(url: str, *, workers: int = 1, **settings: Any) -> list[Finding]:
    return list(findings(Settings(database_url=url, **settings), workers))


def complaints(url: str, **settings: Any) -> list[Finding]:
    return [finding for finding in examined(url, **settings) if finding.level != "ok"]


def complaint(url: str, **settings: Any) -> Finding:
    """The only thing that is not ok."""
    (found,) = complaints(url, **settings)
    return found


def one(connection: Connection, query: LiteralString) -> Any:
    (value,) = connection.execute(query).fetchall()[0]
    return value


def healed(connection: Connection, url: str) -> bool:
    """Whether what a finding says to run makes it go away."""
    (found,) = complaints(url)
    assert found.remedy
    connection.execute(found.remedy)  # type: ignore[arg-type]
    return complaints(url) == []


def test_a_healthy_database_is_ok_in_every_respect(url: str):
    found = examined(url)
    assert [(each.check, each.level) for each in found] == [
        (name, "ok")
        for name in (
            "database", "postgresql", "timescaledb", "edition", "schema", "jobs", "workers", "candles", "bloat",
            "clock", "connections", "pooler", "disk", "analyst", "password",
        )
    ], complaints(url)  # fmt: skip
    assert all(each.finding and each.remedy is None for each in found)


def test_a_stopped_job_is_scheduled_again_by_the_remedy(url: str, connection: Connection):
    connection.execute(
        "SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs WHERE proc_name = 'refresh_candles'"
    )
    found = complaint(url)
    assert (found.level, found.check) == ("error", "jobs")
    assert "refresh_candles) is stopped" in found.finding
    assert healed(connection, url)


def test_a_job_that_waits_for_a_clock_put_back_is_started_by_the_remedy(url: str, connection: Connection):
    job = one(connection, "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = 'trim_stream'")
    connection.execute("SELECT alter_job(%s, next_start => now() + INTERVAL '10 days')", (job,))
    found = complaint(url)
    assert (found.level, found.check) == ("error", "jobs")
    assert f"{job} (trim_stream) waits for a time far ahead" in found.finding
    assert found.remedy
    connection.execute(found.remedy.partition(";")[0])  # type: ignore[arg-type]
    assert complaints(url) == []


def test_missing_jobs_are_made_again_by_their_remedies(url: str, connection: Connection):
    def jobs() -> list[Any]:
        return sorted(connection.execute(PARTS["jobs"]).fetchall(), key=str)

    before = jobs()
    connection.execute("SELECT delete_job(job_id) FROM timescaledb_information.jobs WHERE job_id >= 1000")
    found = complaints(url)
    assert len(found) == len(EXPECTED) == len(before)
    assert all(each.level == "error" and each.check == "jobs" and "is missing" in each.finding for each in found)
    connection.execute(
        "SELECT add_continuous_aggregate_policy('candles_1m', INTERVAL '3 h', INTERVAL '1 m', INTERVAL '1 m')"
    )
    for each in found:
        assert each.remedy
        connection.execute(each.remedy.partition(", then")[0])  # type: ignore[arg-type]
    connection.execute("SELECT remove_continuous_aggregate_policy('candles_1m')")
    connection.execute(
        "SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs WHERE proc_name = 'drop_old_trades'"
    )
    assert jobs() == before
    assert complaints(url) == []


def test_a_failing_job_is_told_with_what_it_says(url: str, connection: Connection):
    job = one(connection, "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = 'trim_stream'")
    connection.execute("ALTER TABLE stream_commits RENAME TO elsewhere")
    try:
        connection.execute("SELECT alter_job(%s, next_start => now())", (job,))
        found = eventually(partial(complaints, url), 60)[0]
    finally:
        connection.execute("ALTER TABLE elsewhere RENAME TO stream_commits")
    assert found.check == "jobs"
    assert f"{job} (trim_stream) failed" in found.finding
    assert found.remedy == f"see what CALL run_job({job}) says, and the database's log"
    connection.execute("SELECT alter_job(%s, next_start => now())", (job,))
    assert eventually(lambda: complaints(url) == [], 60)


@pytest.mark.parametrize(
    ("revision", "finding", "remedy"),
    [
        ("0005", "revision 0005, while", "market-data migrate"),
        ("9999", "which this version does not know", "newer version"),
        (None, "is not migrated", "market-data migrate"),
    ],
)
def test_a_missing_migration_is_told_and_nothing_further(
    url: str, connection: Connection, revision: str | None, finding: str, remedy: str
):
    before = one(connection, "SELECT version_num FROM alembic_version")
    connection.execute("UPDATE alembic_version SET version_num = %s", (revision,)) if revision else connection.execute(
        "DELETE FROM alembic_version"
    )
    try:
        found = examined(url)
    finally:
        connection.execute("DELETE FROM alembic_version")
        connection.execute("INSERT INTO alembic_version VALUES (%s)", (before,))
    assert found[-1].level == "error"
    assert finding in found[-1].finding
    assert remedy in str(found[-1].remedy)
    assert found[-1].check == "schema"


def test_candles_that_lag_and_late_ranges_that_wait_are_caught_up_by_the_remedy(new_migrated_database: Databases):
    with new_migrated_database() as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs")
        connection.execute("INSERT INTO symbols (symbol, name) VALUES ('AAPL', 'Apple')")
        trade = "INSERT INTO trades (time, symbol, price, volume) VALUES (now() - %s::interval, 'AAPL', 1, 1)"
        connection.execute(trade, ("10 days",))
        connection.execute("CALL refresh_candles()")
        connection.execute(trade, ("1 hour",))
        connection.execute("""
            INSERT INTO stale_ranges (level, since, until)
            SELECT 1, now() - INTERVAL '9 days', now() - INTERVAL '9 days' FROM generate_series(1, 1001)
        """)
        waiting = [each for each in complaints(url) if each.check == "candles"]
        assert [each.level for each in waiting] == ["warning", "warning"]
        assert "candles_1m" in waiting[0].finding
        assert "behind the newest trade" in waiting[0].finding
        assert waiting[1].remedy == "CALL refresh_candles()"
        assert waiting[1].remedy in str(waiting[0].remedy)
        connection.execute(waiting[1].remedy)
        left = [each.finding for each in complaints(url) if each.check == "candles"]
        assert not any("candles_1m" in each or "wait" in each for each in left)


def test_a_table_without_autovacuum_is_told(url: str, connection: Connection):
    connection.execute("ALTER TABLE stale_ranges SET (autovacuum_enabled = false)")
    found = complaint(url)
    assert (found.level, found.check) == ("warning", "bloat")
    assert healed(connection, url)


@pytest.mark.parametrize(
    "grant", ["INSERT ON trades TO analyst", "DELETE ON symbols TO PUBLIC", "TRUNCATE ON leases TO analyst"]
)
def test_an_analyst_who_can_write_is_told_and_stopped(url: str, connection: Connection, grant: str):
    connection.execute(f"GRANT {grant}")  # type: ignore[arg-type]
    found = complaint(url)
    assert (found.level, found.check) == ("error", "analyst")
    assert f"can write to public.{grant.split()[2]}" in found.finding
    assert healed(connection, url)


def test_an_analyst_who_can_create_tables_is_told_and_stopped(url: str, connection: Connection):
    connection.execute("GRANT CREATE ON SCHEMA public TO analyst")
    assert complaint(url).level == "error"
    assert healed(connection, url)


def test_a_password_out_of_a_manual_is_told_where_the_server_is_elsewhere(url: str):
    open_to_all = make_conninfo(url, password="marketdata", host="prices.example.com", hostaddr="127.0.0.1")
    found = complaint(open_to_all)
    assert (found.level, found.check) == ("warning", "password")
    assert "marketdata" not in found.finding
    assert complaints(make_conninfo(url, password="marketdata")) == []


def test_a_database_that_is_not_there_is_one_error():
    found = examined("postgresql://127.0.0.1:9/database")
    assert [(each.level, each.check) for each in found] == [("error", "database")]
    assert found[0].remedy == "start it, or correct DATABASE_URL"


def test_an_embedded_engine_that_has_no_database_yet_is_left_alone(tmp_path: Path):
    (found,) = findings(Settings(market_data_home=str(tmp_path)), 1)
    assert (found.level, found.check) == ("error", "database")
    assert "market-data serve" in str(found.remedy)
    assert list(tmp_path.iterdir()) == []


if SERVER:
    STOP = "SELECT _timescaledb_functions.stop_background_workers()"

    def test_a_stopped_scheduler_and_its_late_jobs_are_told(url: str, connection: Connection):
        connection.execute(STOP)
        try:
            connection.execute("""
                UPDATE _timescaledb_internal.bgw_job_stat SET next_start = now() - INTERVAL '1 hour'
                WHERE job_id = (SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = 'trim_stream')
            """)
            eventually(lambda: {each.check for each in complaints(url)} == {"jobs", "workers"})
            late, stopped = complaints(url)
            assert "trim_stream) should have started 1 h ago" in late.finding or "60 min ago" in late.finding
            assert stopped.remedy == "SELECT _timescaledb_functions.start_background_workers()"
            assert stopped.remedy in str(late.remedy)
        finally:
            connection.execute(STOP.replace("stop", "start"))
        assert eventually(lambda: complaints(url) == [], 60)

    def test_dead_rows_are_told_and_cleared_away(url: str, connection: Connection):
        connection.execute("ALTER TABLE stale_ranges SET (autovacuum_enabled = false)")
        connection.execute(
            "SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs WHERE job_id >= 1000"
        )
        connection.execute(
            "INSERT INTO leases (name, holder, expires_at) SELECT g, g, now() FROM generate_series(1, 20000) AS g"
        )
        connection.execute("ALTER TABLE leases SET (autovacuum_enabled = false)")
        connection.execute("DELETE FROM leases")
        connection.execute("SELECT pg_stat_force_next_flush()")
        try:
            found = eventually(lambda: [each for each in complaints(url) if "dead rows" in each.finding], 20)
        finally:
            connection.execute("ALTER TABLE leases RESET (autovacuum_enabled)")
            connection.execute("ALTER TABLE stale_ranges RESET (autovacuum_enabled)")
            connection.execute("""
                SELECT alter_job(job_id, scheduled => true) FROM timescaledb_information.jobs
                WHERE job_id >= 1000 AND proc_name <> 'drop_old_trades'
            """)
        assert found[0].remedy == "VACUUM (ANALYZE) public.leases"
        connection.execute("VACUUM (ANALYZE) public.leases")
        connection.execute("SELECT pg_stat_force_next_flush()")
        assert eventually(lambda: complaints(url) == [], 20)
else:

    def test_an_embedded_engine_that_rests_is_woken_for_it(migrated_seed: Path, tmp_path: Path):
        import shutil

        home = shutil.copytree(migrated_seed, tmp_path / "home")
        found = list(findings(Settings(market_data_home=str(home)), 1))
        assert [each for each in found if each.level != "ok"] == []
        assert "the embedded engine answers" in found[0].finding

    def test_an_analyst_with_powers_over_the_server_is_told_and_stopped(url: str, connection: Connection):
        connection.execute("ALTER ROLE analyst CREATEDB")
        assert complaint(url).level == "error"
        assert healed(connection, url)
