"""Imports between modules."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.support import PROJECT


def test_imports_follow_the_layers():
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([command, "--no-cache"], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Imports point one way KEPT" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "unneeded"),
    [
        (["--help"], {"alembic", "httpx", "litestar", "msgspec", "psycopg", "rich", "sqlalchemy", "structlog", "uvicorn"}),
        (["status", "--url=http://127.0.0.1:9"], {"alembic", "litestar", "numpy", "pyarrow", "sqlalchemy", "uvicorn"}),
        (["calendars", "list"], {"exchange_calendars", "litestar", "pandas", "pyarrow", "sqlalchemy", "uvicorn"}),
        (["serve", "--port", "0"], {"exchange_calendars", "pandas"}),
        (["keys", "list"], {"alembic", "httpx", "litestar", "numpy", "pyarrow", "sqlalchemy", "uvicorn"}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_command_imports_only_packages_that_it_needs(arguments: list[str], unneeded: set[str], tmp_path: Path):
    """The others take half a second and more to import."""
    program = """
import sys
from market_data.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print("imported:", *{name.partition(".")[0] for name in sys.modules})
"""
    # Without a server and with a time-out of 0, a command runs until it connects.
    environment = {"DATABASE_URL": "postgresql://postgres@127.0.0.1:9/none", "DATABASE_START_TIMEOUT_SECONDS": "0"}
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, env=os.environ | environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    imported = set(done.stdout.rpartition("imported:")[2].split())
    assert "market_data" in imported, done.stderr
    assert not imported & unneeded
