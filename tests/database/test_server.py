"""Servers that can't carry the schema: each is told in one sentence. (An Apache edition is checked by hand.)"""

import socket

import psycopg
import pytest

from market_data import migrate
from market_data.errors import StartError


def test_release_that_is_too_old_is_told(session_database: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(migrate, "NEEDED_VERSION", (99, 1))
    with pytest.raises(StartError, match=r"^TimescaleDB \S+ is too old, 99\.1 or newer is needed: [^\n]+$"):
        migrate.check_server(session_database)


def test_server_that_is_not_there_is_an_operational_error():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(psycopg.OperationalError):
            migrate.check_server(f"postgresql://127.0.0.1:{bound.getsockname()[1]}/database")


def test_fit_server_passes(session_database: str):
    migrate.check_server(session_database)
