"""Servers that can't carry the schema: each is told in one sentence. (An Apache edition is checked by hand.)"""

import os
import socket
from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from market_data.database import migrations
from market_data.errors import StartError


def test_release_that_is_too_old_is_told(session_database: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(migrations, "MIN_VERSION", (99, 1))
    with pytest.raises(StartError, match=r"^TimescaleDB \S+ is too old, 99\.1 or newer is needed: [^\n]+$"):
        migrations.check_server(session_database)


def test_server_that_is_not_there_is_an_operational_error():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(psycopg.OperationalError):
            migrations.check_server(f"postgresql://127.0.0.1:{bound.getsockname()[1]}/database")


def test_fit_server_passes(session_database: str):
    migrations.check_server(session_database)


# The embedded engine has one database, which is fit: only a server can be unfit in these ways.
if "TEST_DATABASE_URL" in os.environ:
    SERVER = os.environ["TEST_DATABASE_URL"]

    @pytest.fixture
    def stranger() -> Iterator[dict[str, str]]:
        """A role that may do nothing, and its database, in an encoding that is not ours."""
        name = f"market_data_test_{uuid4().hex[:12]}"
        role, database = sql.Identifier(name), sql.Identifier(name)
        with psycopg.connect(SERVER, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, name))
            try:
                yield {"user": name, "password": name, "dbname": name}
            finally:
                connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(database))
                connection.execute(sql.SQL("DROP ROLE {}").format(role))

    def create_database(name: str, encoding: str) -> None:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE template0 LOCALE 'C' ENCODING {}")
        with psycopg.connect(SERVER, autocommit=True) as connection:
            connection.execute(statement.format(sql.Identifier(name), encoding))

    def test_role_that_may_not_create_the_extension_is_told_who_may(stranger: dict[str, str]):
        create_database(stranger["dbname"], "UTF8")
        with pytest.raises(StartError, match=r"^This role may not create the extension timescaledb: [^\n]+$"):
            migrations.check_server(make_conninfo(SERVER, **stranger))

    def test_database_that_is_not_in_utf_8_is_told(stranger: dict[str, str]):
        create_database(stranger["dbname"], "LATIN1")
        with pytest.raises(StartError, match=r"^The database is encoded in LATIN1; [^\n]+$"):
            migrations.check_server(make_conninfo(SERVER, dbname=stranger["dbname"]))
