"""Imports between modules."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.support import PROJECT

from market_data.auth import api_keys
from market_data.cli.operate import key_parsers


def test_imports_follow_the_layers():
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([command, "--no-cache"], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Imports point one way KEPT" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (["--help"], {"alembic", "httpx", "litestar", "msgspec", "psycopg", "rich", "sqlalchemy", "structlog", "uvicorn"}),
        (["status", "--url=http://127.0.0.1:9"], {"alembic", "litestar", "numpy", "pyarrow", "sqlalchemy", "uvicorn"}),
        (["keys", "list"], {"alembic", "httpx", "litestar", "numpy", "pyarrow", "sqlalchemy", "uvicorn"}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_command_imports_only_what_it_uses(arguments: list[str], unwanted: set[str], tmp_path: Path):
    """Needless imports delay a command by half a second and more."""
    program = """
import sys
from market_data.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print("imported:", *{name.partition(".")[0] for name in sys.modules})
"""
    # Without a server, and without waiting for one, a command still tries to connect.
    environment = {"DATABASE_URL": "postgresql://postgres@127.0.0.1:9/none", "DATABASE_START_TIMEOUT_SECONDS": "0"}
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, env=os.environ | environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    imported = set(done.stdout.rpartition("imported:")[2].split())
    assert "market_data" in imported, done.stderr
    assert not imported & unwanted


def test_the_command_line_accepts_exactly_the_existing_scopes():
    assert key_parsers.SCOPES == api_keys.SCOPES
