"""`market-data psql` on a running database."""

import os
import sys
from pathlib import Path

import pytest
from helpers.service import command, error_line

from market_data.cli.operate.psql import connection_environment

PROBE = f"""#!{sys.executable}
import os, sys
print(sys.argv[1:])
print({{name: value for name, value in os.environ.items() if name.startswith("PG")}})
"""


@pytest.fixture
def probe(tmp_path: Path) -> dict[str, str]:
    """Environment with a psql that prints its arguments and variables."""
    (tmp_path / "psql").write_text(PROBE)
    (tmp_path / "psql").chmod(0o755)
    clean = {name: "" for name in os.environ if name.startswith("PG")}
    return {**clean, "PATH": str(tmp_path)}


@pytest.mark.parametrize("separator", [[], ["--"]])
def test_it_runs_psql_on_the_server_with_all_arguments(database_url: str, separator: list[str]):
    query = "SELECT current_setting('application_name'), 'it works'"
    ended = command("psql", *separator, "-A", "-t", "-c", query, DATABASE_URL=database_url)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "market-data psql|it works\n", "")


def test_the_exit_status_is_that_of_psql(database_url: str):
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


def test_a_service_file_does_not_override_the_database():
    inherited = {"PGSERVICE": "other", "PGPASSWORD": "kept", "HOME": "/home"}
    found = connection_environment("postgresql://someone@there/prices", inherited)
    assert "PGSERVICE" not in found
    assert found["PGPASSWORD"] == "kept"
    assert found["HOME"] == "/home"


def test_help_is_that_of_the_command_and_psql_help_follows_dashes(probe: dict[str, str]):
    assert "embedded engine" in command("psql", "--help").stdout
    url = "postgresql://someone@there/prices"
    assert command("psql", "--", "--help", DATABASE_URL=url, **probe).stdout.startswith("['--help']\n")


def test_without_psql_it_says_how_to_install_it(tmp_path: Path):
    assert "apt-get install postgresql-client" in error_line("psql", DATABASE_URL="postgresql:///here", PATH=str(tmp_path))


def test_without_a_database_none_is_created(tmp_path: Path):
    assert f"no database in {tmp_path / 'home'} yet" in error_line("psql", MARKET_DATA_HOME=str(tmp_path / "home"))
    assert not (tmp_path / "home").exists()


def test_symbols_of_any_form_and_the_remedy_of_a_rejected_price_work(database_url: str):
    def run(query: str) -> tuple[str, str]:
        ended = command("psql", "-A", "-t", "-c", query, DATABASE_URL=database_url)
        return ended.stdout.strip(), ended.stderr

    assert run("INSERT INTO symbols (symbol, name) VALUES ('ES 03-26', 'x'), ('BINANCE:BTCUSDT', 'x')")[0] == "INSERT 0 2"
    insert = "INSERT INTO trades (time, symbol, price, volume) VALUES ('2026-02-08T10:30:00Z', 'ES 03-26', -1, 1)"
    _, rejected = run(insert)
    assert "ERROR:  the price of a trade of ES 03-26 must be greater than 0, not -1\n" in rejected
    assert run(rejected.partition("such prices: ")[2].partition("\n")[0])[0] == "UPDATE 1"
    assert run(insert)[0] == "INSERT 0 1"
    assert run("SELECT symbol, price FROM latest_prices")[0] == "ES 03-26|-1"
    assert "ES 03-26 has trades with prices of 0 or less" in run("UPDATE symbols SET signed = false WHERE signed")[1]
