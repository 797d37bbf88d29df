"""`market-data doctor`: a healthy database, and each problem with a remedy that works."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from helpers.doctor import findings, problem, problems, remedy_works
from helpers.service import eventually
from helpers.support import SERVER, Connection, Databases, one

from market_data.cli.care.checks.finding import CheckContext, Finding
from market_data.cli.care.checks.security import hosts, password
from market_data.cli.care.doctor import run_checks
from market_data.settings import Settings


@pytest.fixture(scope="module")
def url(new_migrated_database: Databases) -> Iterator[str]:
    """A database that is healthy after each test."""
    with new_migrated_database() as url:
        yield url


@pytest.fixture
def connection(url: str) -> Iterator[Connection]:
    with psycopg.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
        yield connection


def test_a_healthy_database_is_ok_in_every_check(url: str):
    found = findings(url)
    assert [(each.check, each.level) for each in found] == [
        (name, "ok")
        for name in (
            "database",
            "postgresql",
            "timescaledb",
            "edition",
            "schema",
            "jobs",
            "refresh",
            "workers",
            "candles",
            "calendars",
            "bloat",
            "clock",
            "connections",
            "pooler",
            "disk",
            "analyst",
            "roles",
            "password",
            "hosts",
        )
    ], problems(url)
    assert all(each.finding and each.remedy is None for each in found)


@pytest.mark.parametrize(
    ("revision", "finding", "remedy"),
    [
        ("0005", "revision 0005, which can't be migrated", "market-data import"),
        ("9999", "which this version does not know", "newer version"),
        (None, "is not migrated", "market-data migrate"),
    ],
)
def test_a_missing_migration_is_the_last_finding(
    url: str, connection: Connection, revision: str | None, finding: str, remedy: str
):
    before = one(connection, "SELECT version_num FROM alembic_version")
    connection.execute("UPDATE alembic_version SET version_num = %s", (revision,)) if revision else connection.execute(
        "DELETE FROM alembic_version"
    )
    try:
        found = findings(url)
    finally:
        connection.execute("DELETE FROM alembic_version")
        connection.execute("INSERT INTO alembic_version VALUES (%s)", (before,))
    assert found[-1].level == "error"
    assert finding in found[-1].finding
    assert remedy in str(found[-1].remedy)
    assert found[-1].check == "schema"


def test_a_table_without_autovacuum_is_reported(url: str, connection: Connection):
    connection.execute("ALTER TABLE stale_ranges SET (autovacuum_enabled = false)")
    found = problem(url)
    assert (found.level, found.check) == ("warning", "bloat")
    assert remedy_works(connection, url)


@pytest.mark.parametrize(
    "grant", ["INSERT ON trades TO analyst", "DELETE ON symbols TO PUBLIC", "TRUNCATE ON leases TO analyst"]
)
def test_the_remedy_of_an_analyst_with_write_privileges_revokes_them(url: str, connection: Connection, grant: str):
    connection.execute(f"GRANT {grant}".encode())
    found = problem(url)
    assert (found.level, found.check) == ("error", "analyst")
    assert f"can write to public.{grant.split()[2]}" in found.finding
    assert remedy_works(connection, url)


def test_the_remedy_of_an_analyst_that_can_create_tables_revokes_that(url: str, connection: Connection):
    connection.execute("GRANT CREATE ON SCHEMA public TO analyst")
    assert problem(url).level == "error"
    assert remedy_works(connection, url)


@pytest.mark.parametrize("host", ["127.0.0.1", "postgres", "prices.example.com"])
def test_a_default_password_is_reported_wherever_the_server_is(
    connection: Connection, host: str, monkeypatch: pytest.MonkeyPatch
):
    def found(address: str) -> Finding:
        (finding,) = password(
            CheckContext(connection, Settings(database_url=f"postgresql://{address}/market_data"), 1, False)
        )
        return finding

    assert found(f"someone:9f2c@{host}").level == found(f"someone@{host}").level == "ok"
    assert found(f"someone:marketdata@{host}").level == "warning"
    assert "marketdata" not in found(f"someone:marketdata@{host}").finding
    monkeypatch.setenv("PGPASSWORD", "marketdata")
    assert found(f"someone@{host}").level == "warning"


def test_the_accepted_hosts_are_reported(connection: Connection):
    def found(allowed: str) -> str:
        (finding,) = hosts(CheckContext(connection, Settings(allowed_hosts=allowed), 1, False))
        return finding.finding

    assert "loopback names are accepted, and others get 421, until ALLOWED_HOSTS has" in found("")
    assert "requests to prices.example.com and to loopback names are accepted, others get 421" in found("prices.example.com")


def test_calendars_that_end_soon_are_reported(url: str, connection: Connection):
    connection.execute("""
        INSERT INTO calendars (code, name, time_zone, source)
        VALUES ('XNYS', 'New York', 'America/New_York', 'exchange_calendars'), ('OWN', 'Own', 'UTC', 'own')
    """)
    connection.execute("INSERT INTO symbols (symbol, name, calendar) VALUES ('A', 'A', 'XNYS'), ('B', 'B', 'OWN')")
    connection.execute("""
        INSERT INTO sessions (calendar, day, opens_at, closes_at)
        SELECT 'OWN', day, day, day + INTERVAL '1 hour'
        FROM (SELECT date_trunc('day', now(), 'UTC') + INTERVAL '20 days' AS day) AS soon
    """)
    try:
        own, library = problems(url)
        assert (library.level, library.check) == ("warning", "calendars")
        assert "XNYS has no sessions" in library.finding
        assert library.remedy
        assert "calendars refresh XNYS" in library.remedy
        assert "OWN ends on " in own.finding
        assert own.remedy
        assert "calendars import OWN FILE" in own.remedy
        connection.execute("UPDATE symbols SET calendar = '24/7' WHERE symbol = 'A'")
        connection.execute("""
            INSERT INTO sessions (calendar, day, opens_at, closes_at)
            SELECT 'OWN', day, day, day + INTERVAL '1 hour'
            FROM (SELECT date_trunc('day', now(), 'UTC') + INTERVAL '60 days' AS day) AS later
        """)
        assert problems(url) == []
        assert "1 calendar of symbols" in next(each for each in findings(url) if each.check == "calendars").finding
    finally:
        connection.execute("DELETE FROM symbols")
        connection.execute("TRUNCATE calendar_sessions, symbol_calendars")
        connection.execute("DELETE FROM calendars WHERE code <> '24/7'")


def test_an_unreachable_database_is_one_error():
    found = findings("postgresql://127.0.0.1:9/database")
    assert [(each.level, each.check) for each in found] == [("error", "database")]
    assert found[0].remedy == "start it, or correct DATABASE_URL"


def test_an_embedded_engine_without_a_database_is_not_started(tmp_path: Path):
    (found,) = run_checks(Settings(market_data_home=str(tmp_path)), 1)
    assert (found.level, found.check) == ("error", "database")
    assert "market-data serve" in str(found.remedy)
    assert list(tmp_path.iterdir()) == []


if SERVER:

    def test_the_remedy_of_dead_rows_removes_them(url: str, connection: Connection):
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
            found = eventually(lambda: [each for each in problems(url) if "dead rows" in each.finding], 20)
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
        assert eventually(lambda: problems(url) == [], 20)
else:

    def test_a_stopped_embedded_engine_is_started_for_the_checks(migrated_seed: Path, tmp_path: Path):
        import shutil

        home = shutil.copytree(migrated_seed, tmp_path / "home")
        found = list(run_checks(Settings(market_data_home=str(home)), 1))
        assert [each for each in found if each.level != "ok"] == []
        assert "the embedded engine responds" in found[0].finding

    def test_the_remedy_of_an_analyst_with_server_privileges_revokes_them(url: str, connection: Connection):
        connection.execute("ALTER ROLE analyst CREATEDB")
        assert problem(url).level == "error"
        assert remedy_works(connection, url)
