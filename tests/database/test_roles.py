"""Limits of roles, and the audit trail of their writes."""

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from helpers.service import eventually
from helpers.support import SERVER, Connection, Databases, one, store, trade
from psycopg.conninfo import make_conninfo

from market_data.cli.care.checks.finding import CheckContext
from market_data.cli.care.checks.roles import roles
from market_data.cli.care.doctor import run_checks
from market_data.settings import Settings


@pytest.fixture(scope="module")
def url(new_migrated_database: Databases) -> Iterator[str]:
    with new_migrated_database() as url:
        yield url


@pytest.fixture
def owner(url: str) -> Iterator[Connection]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection
        connection.execute("TRUNCATE trades, trade_changes, latest_trades, symbols, corporate_actions")


@pytest.fixture
def writer(url: str, owner: Connection) -> Iterator[Connection]:
    """Connect as a role with the privileges that alembic/README.md recommends."""
    name = f"writer_{uuid4().hex[:8]}"
    # Privileges on columns of trades are not possible on the embedded engine.
    columns = ("(time, symbol, trade_id, price, volume)", "(price, volume)") if SERVER else ("", "")
    owner.execute(f"CREATE ROLE {name} LOGIN".encode())
    owner.execute(f"GRANT INSERT {columns[0]}, UPDATE {columns[1]}, DELETE, SELECT ON trades TO {name}".encode())
    try:
        with psycopg.connect(make_conninfo(url, user=name), autocommit=True) as connection:
            yield connection
    finally:
        owner.execute(f"DROP OWNED BY {name}".encode())
        owner.execute(f"DROP ROLE {name}".encode())


TRAIL = "SELECT action, symbol, price_before, actor, reason, database_role FROM trade_changes ORDER BY id"


def test_the_trail_has_the_role_whatever_the_actor_claims_to_be(owner: Connection, writer: Connection):
    store(owner, trade(0, "5"), trade(1, "6"))
    writer.execute("SET market_data.actor = 'somebody else'")
    writer.execute("UPDATE trades SET price = 7 WHERE price = 5")
    writer.execute("DELETE FROM trades WHERE price = 6")
    role = writer.info.user
    assert owner.execute(TRAIL).fetchall() == [
        ("correct", "AAPL", 5, "somebody else", None, role),
        ("cancel", "AAPL", 6, "somebody else", None, role),
    ]


def test_truncate_is_in_the_trail_and_the_trades_can_be_stored_again(owner: Connection):
    trades = [trade(0, "5"), trade(1, "6"), trade(0, "7", symbol="MSFT")]
    store(owner, *trades)
    with owner.transaction():
        owner.execute(
            "SELECT set_config('market_data.actor', 'desk', true), set_config('market_data.reason', 'reset', true)"
        )
        owner.execute("TRUNCATE trades")
    role = owner.info.user
    assert owner.execute(TRAIL).fetchall() == [
        ("truncate", "AAPL", 6, "desk", "reset", role),
        ("truncate", "MSFT", 7, "desk", "reset", role),
    ]
    store(owner, *trades)
    assert one(owner, "SELECT count(*) FROM trades") == 3


def test_a_writer_can_store_trades_in_new_chunks(owner: Connection, writer: Connection):
    store(owner, trade(0, "5"))
    for days in (10, 20):
        writer.execute(
            "INSERT INTO trades (time, symbol, trade_id, price, volume) VALUES (%s, 'AAPL', 0, 1, 1)",
            (trade(days * 86_400, "1")[0],),
        )
    assert one(owner, "SELECT count(*) FROM show_chunks('trades')") == 3


def found(url: str, check: str) -> list[str]:
    findings = run_checks(Settings(database_url=url), workers=1)
    return [str(finding) for finding in findings if finding.check == check and finding.level != "ok"]


def test_doctor_reports_what_is_open_with_a_remedy_that_works(url: str, owner: Connection):
    assert found(url, "roles") == []
    owner.execute("GRANT EXECUTE ON FUNCTION lo_creat(integer) TO PUBLIC")
    (finding,) = found(url, "roles")
    assert "large objects" in finding
    assert "CALL limit_roles()" in finding
    owner.execute("CALL limit_roles()")
    assert found(url, "roles") == []
    name = one(owner, "SELECT current_database()")
    owner.execute(f"ALTER ROLE analyst IN DATABASE {name} SET statement_timeout = 0".encode())
    try:
        (finding,) = found(url, "roles")
        assert "analyst has no limit in this database by statement_timeout" in finding
    finally:
        owner.execute("CALL limit_roles()")
    assert found(url, "roles") == []


@pytest.mark.parametrize(
    ("lift", "names"),
    [
        ("RESET ALL", "default_transaction_read_only, idle_in_transaction_session_timeout, statement_timeout"),
        ("SET statement_timeout = '20d'", "statement_timeout"),
        ("SET default_transaction_read_only = off", "default_transaction_read_only"),
    ],
)
def test_doctor_reports_limits_of_analyst_that_somebody_has_lifted(url: str, owner: Connection, lift: str, names: str):
    owner.execute(f"ALTER ROLE analyst IN DATABASE {one(owner, 'SELECT current_database()')} {lift}".encode())
    try:
        (finding,) = found(url, "roles")
        assert f"analyst has no limit in this database by {names};" in finding
    finally:
        owner.execute("CALL limit_roles()")
    assert found(url, "roles") == []


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("GRANT analyst TO alice WITH SET TRUE", "alice can SET ROLE analyst"),
        ("GRANT analyst TO alice WITH SET FALSE", "nobody but the owner writes trades in SQL"),
        ("ALTER ROLE alice SET statement_timeout = 0", "alice has no limit in this database by statement_timeout"),
    ],
)
def test_doctor_reports_people_who_can_change_the_login_of_all_or_have_no_limits(
    owner: Connection, statement: str, expected: str
):
    with owner.transaction(force_rollback=True):  # invisible to other tests of the server
        owner.execute("CREATE ROLE alice LOGIN")
        owner.execute("GRANT analyst TO alice WITH SET FALSE")
        owner.execute(statement.encode())
        (finding,) = roles(CheckContext(owner, Settings(), workers=1, embedded=False))
    assert expected in finding.finding


def test_doctor_reports_roles_that_write_in_sql(url: str, owner: Connection, writer: Connection):
    (finding,) = found(url, "roles")
    assert f"{writer.info.user} can write trades in SQL" in finding


if SERVER:  # sessions of the embedded engine share the number of the last statement, and it runs jobs with its own settings

    def test_a_write_into_a_chunk_fails_in_a_session_that_has_not_written_through_the_table(
        owner: Connection, writer: Connection
    ):
        """It would pass the triggers. Without privileges on the schema of chunks, TimescaleDB reads nothing."""
        store(owner, trade(0, "5"))
        chunk = one(owner, "SELECT show_chunks('trades')::text")
        for statement in (
            f"INSERT INTO {chunk} (time, symbol, trade_id, price, volume) VALUES ('2026-02-08 10:30:05Z', 'AAPL', 9, 1, 1)",
            f"UPDATE {chunk} SET price = 6",
            f"DELETE FROM {chunk}",
            f"TRUNCATE {chunk}",
        ):
            with pytest.raises((psycopg.errors.ObjectNotInPrerequisiteState, psycopg.errors.InsufficientPrivilege)):
                writer.execute(statement.encode())
        assert one(owner, "SELECT sum(price) FROM trades") == 5

    def test_jobs_give_way_to_locks(owner: Connection):
        owner.execute("CREATE TABLE seen (lock_timeout text)")
        owner.execute("""
            CREATE PROCEDURE look(job_id integer, config jsonb) LANGUAGE sql AS
            $$ INSERT INTO seen SELECT current_setting('lock_timeout') $$
        """)
        job = one(owner, "SELECT add_job('look', '1 hour', initial_start => now())")
        try:
            eventually(lambda: owner.execute("SELECT lock_timeout FROM seen").fetchall() == [("2s",)])
        finally:
            owner.execute("SELECT delete_job(%s)", (job,))
            owner.execute("DROP PROCEDURE look")
            owner.execute("DROP TABLE seen")
