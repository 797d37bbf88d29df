"""Servers that do not support the schema: each is reported in one sentence. (The Apache edition is tested by hand.)"""

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


def test_an_old_release_is_reported(session_database: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(migrations, "MIN_VERSION", (99, 1))
    with pytest.raises(StartError, match=r"^TimescaleDB \S+ is too old, 99\.1 or newer is needed: [^\n]+$"):
        migrations.check_server(session_database)


def test_an_unreachable_server_is_an_operational_error():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(psycopg.OperationalError):
            migrations.check_server(f"postgresql://127.0.0.1:{bound.getsockname()[1]}/database")


def test_a_suitable_server_passes(session_database: str):
    migrations.check_server(session_database)


# Only a server can be unsuitable in these ways: the embedded engine has one database, which is suitable.
if "TEST_DATABASE_URL" in os.environ:
    SERVER = os.environ["TEST_DATABASE_URL"]

    @pytest.fixture
    def unprivileged() -> Iterator[dict[str, str]]:
        """A role without privileges, and the name of a database for it."""
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

    def test_a_role_that_may_not_create_the_extension_is_reported_with_the_remedy(unprivileged: dict[str, str]):
        create_database(unprivileged["dbname"], "UTF8")
        with pytest.raises(StartError, match=r"^This role may not create the extension timescaledb: [^\n]+$"):
            migrations.check_server(make_conninfo(SERVER, **unprivileged))

    def test_a_database_that_is_not_in_utf_8_is_reported(unprivileged: dict[str, str]):
        create_database(unprivileged["dbname"], "LATIN1")
        with pytest.raises(StartError, match=r"^The database is encoded in LATIN1; [^\n]+$"):
            migrations.check_server(make_conninfo(SERVER, dbname=unprivileged["dbname"]))
