"""Databases and servers that can't be used: the start ends at once, with one line that names the remedy."""

import re
import shlex
import shutil
import subprocess
from uuid import uuid4

import psycopg
import pytest
from helpers.pgbouncer import PROGRAM, running_pgbouncer
from helpers.service import error_line
from helpers.support import SERVER, Databases, changed_url, with_options
from psycopg import sql
from psycopg.conninfo import make_conninfo

from market_data.database import migrations
from market_data.database.refusals import check_direct_connection, explain_refusal
from market_data.errors import StartError
from market_data.settings import Settings

needs_pgbouncer = pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed")


def run_remedy(message: str) -> None:
    """Run the command in the message."""
    (line,) = re.findall(r"`(.*?)`", message)
    subprocess.run(shlex.split(line), check=True, input="secret\nsecret\n", text=True)


def test_a_missing_database_ends_the_start_at_once(session_database: str):
    url = changed_url(session_database, database="missing")
    for command in ("serve", "migrate"):
        line = error_line(command, DATABASE_URL=url, DATABASE_START_TIMEOUT_SECONDS="3600")
        assert line.startswith('market-data: The database can\'t be used: database "missing" does not exist; ')
        assert ("createdb -h 127.0.0.1" if SERVER else 'database of the embedded engine is "market_data"') in line


def test_a_missing_role_ends_the_start_at_once(session_database: str):
    url = make_conninfo(session_database, user="missing")
    with pytest.raises(
        StartError, match=r'role "missing" does not exist; .*`createuser -h 127\.0\.0\.1 .*--pwprompt missing`'
    ):
        migrations.check_server(url)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ('FATAL:  role "app" is not permitted to log in', 'ALTER ROLE "app" LOGIN'),
        ('FATAL:  permission denied for database "db"\nDETAIL:  User does not have CONNECT privilege.', "GRANT CONNECT"),
        ('FATAL:  password authentication failed for user "app"', "correct the user and the password"),
        ("fe_sendauth: no password supplied", "correct the user and the password"),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "app", database "db", no encryption', "pg_hba.conf accept"),
        ("FATAL:  unsupported startup parameter in options: statement_timeout", "set DATABASE_DIRECT_URL"),
        ("ERROR:  no such database: db", "configuration of the pooler"),
        ('FATAL:  database "db" does not exist', "`createdb -h db.example -p 6000 -U 'a b' db`"),
    ],
)
def test_refusals_for_good_have_a_remedy(text: str, remedy: str):
    failure = psycopg.OperationalError(f'connection failed: connection to server at "10.0.0.1", port 5432 failed: {text}')
    refusal = explain_refusal(failure, "postgresql://a%20b@db.example:6000/db")
    assert refusal
    assert remedy in refusal.remedy
    assert "\n" not in str(refusal)


@pytest.mark.parametrize(
    "text",
    [
        'connection to server at "127.0.0.1", port 9 failed: Connection refused',
        "connection failed: FATAL:  the database system is starting up",
        "connection failed: FATAL:  sorry, too many clients already",
        "connection timeout expired",
    ],
)
def test_a_server_that_may_accept_the_connection_later_is_waited_for(text: str):
    assert explain_refusal(psycopg.OperationalError(text), "postgresql://localhost/db") is None


@needs_pgbouncer
def test_pgbouncer_without_direct_url_ends_the_start_with_the_reason(session_database: str):
    with running_pgbouncer(session_database) as pooled:
        for variables in ({"DATABASE_URL": pooled}, {"DATABASE_URL": pooled, "DATABASE_DIRECT_URL": pooled}):
            line = error_line("serve", "--port", "0", **variables)
            assert f"{[*variables][-1]} can't be used: unsupported startup parameter: options; " in line
            assert "set DATABASE_DIRECT_URL to the server itself" in line


@needs_pgbouncer
def test_a_pooler_that_drops_the_settings_of_sessions_is_recognized(session_database: str):
    with running_pgbouncer(session_database, "ignore_startup_parameters = options") as pooled:
        with pytest.raises(StartError, match=r"DATABASE_URL leads to a pooler that drops .* set DATABASE_DIRECT_URL"):
            check_direct_connection(Settings(database_url=pooled))
        check_direct_connection(Settings(database_url=with_options(pooled, "-c statement_timeout=0")))
    check_direct_connection(Settings(database_url=session_database))
    check_direct_connection(Settings(database_url=with_options(session_database, "-c statement_timeout=0")))


@needs_pgbouncer
def test_a_pooler_that_does_not_know_the_database_ends_the_start(session_database: str):
    with running_pgbouncer(session_database) as pooled:
        unknown = changed_url(pooled, database="unknown")
        line = error_line("serve", "--port", "0", DATABASE_URL=unknown, DATABASE_DIRECT_URL=session_database)
    assert "DATABASE_URL can't be used: " in line
    assert "add it to the configuration of the pooler" in line


def test_tables_of_another_program_are_reported_with_the_remedy(new_database: Databases):
    with new_database() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE TABLE trades (number integer)")
        with pytest.raises(StartError, match=r'rolled back: relation "trades" already exists; .*`createdb market_data`\.$'):
            migrations.upgrade(url)
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT to_regclass('symbols') IS NULL").fetchone() == (True,)


@pytest.mark.parametrize("revision", ["9999", "1975ea83b712", "0a1b2c3d4e5f"])
def test_a_schema_of_a_newer_version_or_another_program_is_reported_with_the_remedy(new_database: Databases, revision: str):
    with new_database() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE TABLE alembic_version (version_num text)")
            connection.execute("INSERT INTO alembic_version VALUES (%s)", (revision,))
        with pytest.raises(
            StartError, match=rf"schema {revision}, which this version does not know: .*`createdb market_data`"
        ):
            migrations.check_server(url)


if SERVER:
    SERVER_URL = SERVER

    @pytest.mark.skipif(shutil.which("createdb") is None, reason="createdb is not installed")
    def test_the_remedy_creates_the_database():
        name = f"market_data_test_{uuid4().hex[:12]}"
        url = changed_url(SERVER_URL, database=name)
        with pytest.raises(StartError) as refused:
            migrations.check_server(url)
        run_remedy(str(refused.value))
        try:
            migrations.check_server(url)
        finally:
            with psycopg.connect(SERVER_URL, autocommit=True) as connection:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def test_a_role_that_may_not_create_tables_is_reported_with_the_remedy(new_database: Databases):
        role = sql.Identifier(f"market_data_test_{uuid4().hex[:12]}")
        with new_database() as url, psycopg.connect(url, autocommit=True) as connection:
            database = sql.Identifier(connection.info.dbname)
            connection.execute("CREATE EXTENSION timescaledb")
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
            try:
                theirs = make_conninfo(url, user=role.as_string().strip('"'))
                with pytest.raises(StartError, match=r"permission denied for .*; .* ALTER DATABASE … OWNER TO the role"):
                    migrations.upgrade(theirs)
                connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, role))
                migrations.check_server(theirs)
            finally:
                connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(role))
                connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO CURRENT_USER").format(database))
                connection.execute(sql.SQL("DROP ROLE {}").format(role))
