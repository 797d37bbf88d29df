"""Connections are isolated from each other, although they share the engine's one session."""

import threading
import time
from typing import LiteralString

import psycopg
import pytest
from psycopg import errors, sql


def show(connection: psycopg.Connection, name: str) -> str:
    row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
    assert row
    return row[0]


def test_a_fresh_connection_has_the_defaults_of_a_server(connect):
    connection = connect()
    expected = {
        "enable_seqscan": "on",
        "search_path": '"$user", public',
        "TimeZone": "UTC",
        "client_min_messages": "notice",
        "allow_system_table_mods": "off",
        "idle_in_transaction_session_timeout": "15s",
    }
    assert {name: show(connection, name) for name in expected} == expected
    assert connection.info.server_version == 170005
    assert connection.info.parameter_status("integer_datetimes") == "on"


def test_settings_of_one_connection_do_not_reach_another(connect):
    one, other = connect(), connect()
    one.execute("SET TimeZone = 'Asia/Kolkata'")
    one.execute("SET work_mem = '8MB'")
    one.execute("SET my.name = 'one'")
    one.execute("SELECT set_config('my.other', 'one', false)")
    assert show(other, "TimeZone") == "UTC"
    assert show(other, "work_mem") == "4MB"
    for name in ("my.name", "my.other"):
        assert other.execute("SELECT current_setting(%s, true)", (name,)).fetchone() in [(None,), ("",)]
    assert show(one, "TimeZone") == "Asia/Kolkata"
    assert show(one, "work_mem") == "8MB"
    assert show(one, "my.name") == "one"
    assert show(one, "my.other") == "one"


def test_startup_options_are_applied_and_reset_returns_to_them(connect):
    connection = connect(options=r"-c TimeZone=Europe/Berlin --application_name=two\ words -c statement_timeout=5s")
    other = connect(application_name="the other")
    assert show(connection, "TimeZone") == "Europe/Berlin"
    assert show(connection, "application_name") == "two words"
    assert show(connection, "statement_timeout") == "5s"
    assert connection.info.parameter_status("TimeZone") == "Europe/Berlin"
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("RESET TimeZone")
    assert show(connection, "TimeZone") == "Europe/Berlin"
    connection.execute("SET application_name = 'x'")
    connection.execute("RESET ALL")
    assert show(connection, "application_name") == "two words"
    assert show(connection, "search_path") == '"$user", public'
    assert show(other, "application_name") == "the other"


@pytest.mark.parametrize("end", ["ROLLBACK", "COMMIT"])
def test_settings_follow_transactions(connect, end):
    connection, other = connect(), connect()
    connection.execute("BEGIN")
    connection.execute("SET LOCAL work_mem = '9MB'")
    connection.execute("SET TimeZone = 'Asia/Tokyo'")
    assert connection.info.parameter_status("TimeZone") == "Asia/Tokyo"
    connection.execute(end)
    zone = "Asia/Tokyo" if end == "COMMIT" else "UTC"
    assert show(other, "TimeZone") == "UTC"
    assert show(connection, "TimeZone") == zone
    assert connection.info.parameter_status("TimeZone") == zone
    assert show(connection, "work_mem") == "4MB"


def test_settings_changed_in_a_do_block_belong_to_their_connection(connect):
    one, other = connect(), connect()
    one.execute("DO $$ BEGIN PERFORM set_config('work_mem', '7MB', false); END $$")
    assert show(other, "work_mem") == "4MB"
    assert show(one, "work_mem") == "7MB"


@pytest.fixture
def reader(connect):
    connection = connect()
    connection.execute("CREATE ROLE reader LOGIN")
    connection.execute("ALTER ROLE reader SET work_mem = '6MB'")
    yield "reader"
    connection.execute("DROP OWNED BY reader")
    connection.execute("DROP ROLE reader")


def test_a_connection_has_the_rights_and_settings_of_its_role(connect, reader, table):
    admin, guest = connect(), connect(user=reader)
    assert guest.execute("SELECT session_user, current_user").fetchone() == ("reader", "reader")
    assert guest.info.parameter_status("is_superuser") == "off"
    assert show(guest, "work_mem") == "6MB"
    with pytest.raises(errors.InsufficientPrivilege):
        guest.execute(f"SELECT * FROM {table}")
    admin.execute(f"GRANT SELECT ON {table} TO reader")
    assert guest.execute(f"SELECT * FROM {table}").fetchall() == []
    assert admin.execute("SELECT session_user").fetchone() == ("postgres",)


@pytest.mark.parametrize(
    "statement",
    [
        "SET SESSION AUTHORIZATION postgres",
        "SET LOCAL SESSION AUTHORIZATION 'postgres'",
        "SET /* */ SESSION\nAUTHORIZATION\tpostgres",
        "SELECT set_config('session_authorization', 'postgres', false)",
        "SET ROLE postgres",
    ],
)
def test_an_ordinary_role_cannot_become_the_superuser(connect, reader, statement):
    guest = connect(user=reader)
    with pytest.raises(errors.InsufficientPrivilege):
        guest.execute(statement)
    assert guest.execute("SELECT session_user").fetchone() == ("reader",)


@pytest.mark.parametrize(
    "statement",
    ["RESET SESSION AUTHORIZATION", "SET SESSION AUTHORIZATION DEFAULT", "DISCARD ALL", "RESET ALL"],
)
def test_resetting_returns_to_the_role_at_the_start(connect, reader, statement):
    admin, guest = connect(), connect(user=reader)
    admin.execute("SET SESSION AUTHORIZATION reader")
    assert admin.execute("SELECT current_user").fetchone() == ("reader",)
    admin.execute(statement)
    expected = "reader" if statement == "RESET ALL" else "postgres"
    assert admin.execute("SELECT session_user").fetchone() == (expected,)
    guest.execute(statement)
    assert guest.execute("SELECT session_user").fetchone() == ("reader",)


def test_set_role_belongs_to_a_connection(connect, reader):
    one, other = connect(), connect()
    one.execute("SET ROLE reader")
    assert other.execute("SELECT current_user").fetchone() == ("postgres",)
    assert one.execute("SELECT session_user, current_user").fetchone() == ("postgres", "reader")
    one.execute("RESET ROLE")
    assert one.execute("SELECT current_user").fetchone() == ("postgres",)


@pytest.mark.parametrize(
    ("options", "state", "text"),
    [
        ({"user": "nobody"}, "28000", 'role "nobody" does not exist'),
        ({"user": "pg_monitor"}, "28000", "not permitted to log in"),
        ({"dbname": "template1"}, "3D000", 'database "template1" does not exist'),
        ({"options": "-c no_such_setting=1"}, "42704", "unrecognized configuration parameter"),
        ({"options": "-c work_mem=plenty"}, "22023", "invalid value"),
        ({"options": "-x"}, "42601", "invalid command-line argument"),
    ],
)
def test_an_invalid_connection_is_refused_with_the_message_of_postgresql(engine, options, state, text):
    with pytest.raises(psycopg.OperationalError, match=text):
        psycopg.connect(engine, **options)
    # libpq exposes no SQLSTATE of a failed start; test_engine_wire.py checks it.
    assert state


def test_two_connections_can_use_the_same_statement_name(connect):
    one, other = connect(), connect()
    one.execute("PREPARE same AS SELECT 'one'")
    other.execute("PREPARE same AS SELECT 'other'")
    assert one.execute("EXECUTE same").fetchone() == ("one",)
    assert other.execute("EXECUTE same").fetchone() == ("other",)
    other.execute("DEALLOCATE same")
    with pytest.raises(errors.InvalidSqlStatementName, match='prepared statement "same" does not exist'):
        other.execute("EXECUTE same")
    with pytest.raises(errors.DuplicatePreparedStatement, match='"same" already exists'):
        one.execute("PREPARE same AS SELECT 1")
    assert one.execute("EXPLAIN EXECUTE same").fetchone() is not None


@pytest.mark.parametrize("statement", ["DEALLOCATE ALL", "DISCARD ALL"])
def test_discarding_everything_does_not_affect_another_connection(connect, statement):
    one, other = connect(), connect()
    one.prepare_threshold = other.prepare_threshold = 0
    for connection in (one, other):
        connection.execute("PREPARE mine AS SELECT 1")
        connection.execute("SELECT 1").fetchone()
    cursor = other.execute(statement)
    assert cursor.statusmessage == statement
    with pytest.raises(errors.InvalidSqlStatementName):
        other.execute("EXECUTE mine")
    assert one.execute("EXECUTE mine").fetchone() == (1,)
    assert one.execute("SELECT 1").fetchone() == (1,)
    assert other.execute("SELECT 2").fetchone() == (2,)


def test_a_closed_connection_leaves_no_statements(connect):
    gone, other = connect(), connect()
    gone.execute("PREPARE left_behind AS SELECT 1")
    gone.close()
    deadline = time.monotonic() + 5
    query = "SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'left_behind%'"
    while other.execute(query).fetchone() != (0,):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_client_that_dies_in_a_transaction_is_rolled_back(connect, table):
    dying, other = connect(), connect()
    dying.execute("BEGIN")
    dying.execute(f"INSERT INTO {table} VALUES (1, 'lost')")
    # Without the Terminate message of close(), as if the process was killed.
    dying.pgconn.finish()
    assert other.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_an_open_transaction_makes_other_clients_wait(engine, connect, table: LiteralString):
    holder = connect()
    holder.execute("BEGIN")
    holder.execute(f"INSERT INTO {table} VALUES (1, 'x')")
    seen: list[tuple[int, float]] = []

    def count() -> None:
        with psycopg.connect(engine, autocommit=True) as connection:
            row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
            assert row
            seen.append((row[0], time.monotonic()))

    thread = threading.Thread(target=count)
    thread.start()
    time.sleep(0.3)
    assert not seen
    committed = time.monotonic()
    holder.execute("COMMIT")
    thread.join(5)
    assert seen[0][0] == 1
    assert seen[0][1] >= committed


def test_a_client_idle_in_a_transaction_is_disconnected(connect, table):
    idler, other = connect(), connect()
    idler.execute("SET idle_in_transaction_session_timeout = '300ms'")
    idler.execute("BEGIN")
    idler.execute(f"INSERT INTO {table} VALUES (1, 'x')")
    started = time.monotonic()
    assert other.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    assert 0.2 < time.monotonic() - started < 5
    with pytest.raises(errors.IdleInTransactionSessionTimeout):
        idler.execute("SELECT 1")


def test_a_client_busy_in_a_transaction_is_not_disconnected(connect, table):
    busy = connect()
    busy.execute("SET idle_in_transaction_session_timeout = '400ms'")
    with busy.transaction():
        for at in range(6):
            busy.execute(sql.SQL("INSERT INTO {} VALUES (%s, 'x')").format(sql.SQL(table)), (at,))
            time.sleep(0.15)
    assert busy.execute(f"SELECT count(*) FROM {table}").fetchone() == (6,)


def test_an_error_in_a_transaction_does_not_affect_another_connection(connect):
    failed, other = connect(), connect()
    failed.execute("BEGIN")
    with pytest.raises(errors.DivisionByZero):
        failed.execute("SELECT 1/0")
    with pytest.raises(errors.InFailedSqlTransaction):
        failed.execute("SELECT 1")
    failed.execute("ROLLBACK")
    assert other.execute("SELECT 1").fetchone() == (1,)
    assert failed.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize(
    "statement", ["SET client_encoding = 'LATIN1'", "SET NAMES 'EUC_JP'", "SET LOCAL client_encoding TO win1252"]
)
def test_an_unsupported_encoding_is_refused(engine, connect, statement):
    connection = connect()
    with pytest.raises(errors.InvalidParameterValue, match="not available in the embedded engine"):
        connection.execute(statement)
    connection.execute("SET client_encoding = 'UTF-8'")
    assert connection.execute("SELECT 'ü'").fetchone() == ("ü",)
    with pytest.raises(psycopg.OperationalError, match="not available in the embedded engine"):
        psycopg.connect(engine, client_encoding="LATIN1")
