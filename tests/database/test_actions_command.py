"""`market-data actions`: import of corporate actions from CSV, and their list."""

import subprocess
import sys
from pathlib import Path

import pytest
from helpers.support import Connection, one

ACTIONS = """symbol,id,type,ex_date,ratio,amount
AAPL,s1,split,2020-08-31,4:1,
aapl,s0,split,2014-06-09,7,
MSFT,,cash_dividend,2020-08-19,,0.51
"""


@pytest.fixture
def environment(database_url: str, known: Connection, monkeypatch: pytest.MonkeyPatch) -> Connection:
    monkeypatch.setenv("DATABASE_URL", database_url)
    return known


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "market_data.cli.main", "actions", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_file_may_be_imported_again(environment: Connection, tmp_path: Path):
    file = tmp_path / "actions.csv"
    file.write_text(ACTIONS)
    tried = run("import", file, "--dry-run")
    assert (tried.returncode, tried.stdout) == (0, "3 actions are valid\n")
    assert one(environment, "SELECT count(*) FROM corporate_actions") == 0
    first = run("import", file)
    assert (first.returncode, first.stdout) == (0, "recorded 3 actions; 0 were known already\n"), first.stderr
    file.write_text(ACTIONS + "AAPL,d1,cash_dividend,2020-11-06,,0.205\n")
    assert run("import", file).stdout == "recorded 1 actions; 3 were known already\n"
    assert one(environment, "SELECT count(*) FROM commits WHERE kind = 'reference'") == 2, "one version a file"
    listed = run("list", "aapl").stdout
    assert [line.split()[:3] for line in listed.splitlines()[1:]] == [
        ["2014-06-09", "split", "7:1"],
        ["2020-08-31", "split", "4:1"],
        ["2020-11-06", "cash_dividend", "0.205"],
    ]
    assert "cash_dividend-2020-08-19" in run("list", "MSFT").stdout


def test_errors_name_their_lines_and_nothing_is_recorded(environment: Connection, tmp_path: Path):
    file = tmp_path / "actions.csv"
    file.write_text(f"{ACTIONS}AAPL,s2,split,2020-13-31,4:1,\nAAPL,s3,split,2020-08-31,x,\nAAPL,s4,split\n")
    failed = run("import", file)
    assert failed.returncode == 1
    for line, name in ((5, "ex_date"), (6, "ratio"), (7, "row")):
        assert f"line {line}: {name}: " in failed.stderr
    file.write_text(ACTIONS.replace("MSFT", "NONE"))
    assert "line 4: symbol: there is no symbol NONE" in run("import", file).stderr
    assert one(environment, "SELECT count(*) FROM corporate_actions") == 0
    file.write_text(ACTIONS)
    assert run("import", file).returncode == 0
    file.write_text(ACTIONS.replace("4:1", "5:1").replace("0.51", "0.52").replace("s0", "s9"))
    failed = run("import", file)
    assert "line 2: ratio: s1 of AAPL is known with another ratio" in failed.stderr
    assert "line 4: amount: " in failed.stderr
    assert one(environment, "SELECT count(*) FROM corporate_actions") == 3


def test_files_of_another_form_are_refused(environment: Connection, tmp_path: Path):
    assert environment
    file = tmp_path / "actions.csv"
    for text, reason in (
        ("", "no column symbol"),
        ("symbol,type,ex_date,price\n", "unknown column price"),
        ("\0", "no column"),
    ):
        file.write_text(text)
        failed = run("import", file)
        assert (failed.returncode, reason in failed.stderr) == (1, True), failed.stderr
    assert "can't be read" in run("import", tmp_path / "none.csv").stderr
    assert "There is no symbol NONE" in run("list", "NONE").stderr
    assert "no corporate actions" in run("list", "AAPL").stderr
