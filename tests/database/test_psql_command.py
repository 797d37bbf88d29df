"""`market-data psql` on a database that runs already."""

import os
import sys
from pathlib import Path

import pytest
from helpers.service import command, complaint

from market_data.cli.operate.psql import environment

PROBE = f"""#!{sys.executable}
import os, sys
print(sys.argv[1:])
print({{name: value for name, value in os.environ.items() if name.startswith("PG")}})
"""


@pytest.fixture
def probe(tmp_path: Path) -> dict[str, str]:
    """An environment whose psql tells how it was called."""
    (tmp_path / "psql").write_text(PROBE)
    (tmp_path / "psql").chmod(0o755)
    clean = {name: "" for name in os.environ if name.startswith("PG")}
    return {**clean, "PATH": str(tmp_path)}


@pytest.mark.parametrize("separator", [[], ["--"]])
def test_it_is_psql_on_the_server_with_all_of_its_arguments(database_url: str, separator: list[str]):
    query = "SELECT current_setting('application_name'), 'it works'"
    ended = command("psql", *separator, "-A", "-t", "-c", query, DATABASE_URL=database_url)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "market-data psql|it works\n", "")


def test_its_exit_status_is_psql_s(database_url: str):
    ended = command("psql", "-v", "ON_ERROR_STOP=1", "-c", "SELECT nothing", DATABASE_URL=database_url)
    assert ended.returncode == 1
    assert 'column "nothing" does not exist' in ended.stderr


def test_the_password_is_not_on_the_command_line(probe: dict[str, str]):
    url = "postgresql://someone:s3cret%40@there:5433/prices?sslmode=require&options=-c%20timezone%3DUTC"
    arguments, variables = command("psql", "-c", "SELECT 1", DATABASE_URL=url, **probe).stdout.splitlines()
    assert arguments == "['-c', 'SELECT 1']"
    given = {name: value for name, value in eval(variables).items() if value}
    assert given == {
        "PGHOST": "there",
        "PGPORT": "5433",
        "PGUSER": "someone",
        "PGDATABASE": "prices",
        "PGPASSWORD": "s3cret@",
        "PGSSLMODE": "require",
        "PGOPTIONS": "-c timezone=UTC",
        "PGAPPNAME": "market-data psql",
    }


def test_a_service_file_does_not_lead_elsewhere():
    inherited = {"PGSERVICE": "other", "PGPASSWORD": "kept", "HOME": "/home"}
    found = environment("postgresql://someone@there/prices", inherited)
    assert "PGSERVICE" not in found
    assert found["PGPASSWORD"] == "kept"
    assert found["HOME"] == "/home"


def test_help_is_ours_and_psql_s_own_is_behind_dashes(probe: dict[str, str]):
    assert "embedded engine" in command("psql", "--help").stdout
    url = "postgresql://someone@there/prices"
    assert command("psql", "--", "--help", DATABASE_URL=url, **probe).stdout.startswith("['--help']\n")


def test_without_psql_it_says_how_to_get_it(tmp_path: Path):
    assert "apt-get install postgresql-client" in complaint("psql", DATABASE_URL="postgresql:///here", PATH=str(tmp_path))


def test_without_a_database_none_is_made(tmp_path: Path):
    assert f"no database in {tmp_path / 'home'} yet" in complaint("psql", MARKET_DATA_HOME=str(tmp_path / "home"))
    assert not (tmp_path / "home").exists()
