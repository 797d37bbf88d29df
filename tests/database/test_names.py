"""Names over time in the database: imports, and what analysts see."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from helpers.service import command
from helpers.support import Connection, one

NAMES = """
    INSERT INTO symbol_names (name, symbol, since, until)
    VALUES
        ('META', 'META', NULL, '2022-01-31'), ('METV', 'META', '2022-01-31', NULL),
        ('FB', 'FB', NULL, '2022-06-09'), ('META', 'FB', '2022-06-09', NULL)
"""


@pytest.fixture(scope="module")
def url(new_migrated_database: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """A database of this module, because imports refresh candles."""
    with new_migrated_database() as url:
        yield url


@pytest.fixture
def renamed(url: str) -> Iterator[Connection]:
    """A database in which FB is META, and the fund that was META is METV."""
    with psycopg.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
        connection.execute("DELETE FROM trades")
        connection.execute("DELETE FROM symbol_names")
        connection.execute("DELETE FROM symbols")
        connection.execute("INSERT INTO symbols (symbol, name) VALUES ('FB', 'Meta'), ('META', 'Fund'), ('AAPL', 'Apple')")
        connection.execute(NAMES)
        yield connection


def test_rows_go_to_the_symbol_that_had_the_name_at_the_time_of_the_trade(url: str, renamed: Connection, tmp_path: Path):
    rows = [("FB", 2021), ("META", 2021), ("META", 2023), ("METV", 2021), ("AAPL", 2021), ("NEW", 2021)]
    path = tmp_path / "old.csv"
    lines = [f"{name},{datetime(year, 6, 30, n, tzinfo=UTC).isoformat()},{n},1" for n, (name, year) in enumerate(rows, 1)]
    path.write_text("\n".join(["symbol,timestamp,price,volume", *lines]) + "\n")
    for stored in (6, 0):
        ended = command("import", str(path), DATABASE_URL=url)
        assert ended.returncode == 0, ended.stderr
        assert f"{stored} stored, {6 - stored} already there, 0 rejected" in ended.stdout
    named = renamed.execute("SELECT name, symbol, price::integer FROM trades_named ORDER BY price").fetchall()
    assert named == [
        ("FB", "FB", 1),
        ("META", "META", 2),
        ("META", "FB", 3),
        ("META", "META", 4),
        ("AAPL", "AAPL", 5),
        ("NEW", "NEW", 6),
    ]


def test_commands_take_names_and_show_them(url: str, renamed: Connection):
    shown = command("symbols", "show", "FB", DATABASE_URL=url).stdout
    assert "symbol: META\n" in shown
    assert "named FB since ever, until 2022-06-09 00:00:00Z\nnamed META since 2022-06-09 00:00:00Z\n" in shown
    assert command("symbols", "set", "METV", "type=etf", DATABASE_URL=url).returncode == 0
    assert one(renamed, "SELECT type FROM symbols WHERE symbol = 'META'") == "etf"
    listed = command("symbols", "list", DATABASE_URL=url).stdout.splitlines()
    assert [line.split()[0] for line in listed] == ["symbol", "AAPL", "META", "METV"]


@pytest.mark.parametrize(
    ("name", "at", "key"),
    [
        ("META", None, "FB"),
        ("FB", None, "FB"),
        ("METV", None, "META"),
        ("META", "2022-01-30", "META"),
        ("META", "2022-01-31", "FB"),
        ("META", "2022-06-09", "FB"),
        ("FB", "2023-01-01", "FB"),
        ("METV", "2021-01-01", "META"),
        ("AAPL", "2021-01-01", "AAPL"),
        ("AAPL", None, "AAPL"),
    ],
)
def test_key_of_a_name(renamed: Connection, name: str, at: str | None, key: str):
    assert one(renamed, "SELECT symbol_of(%s, %s::timestamptz)", name, at) == key


def test_two_symbols_never_have_a_name_at_present(renamed: Connection):
    with pytest.raises(psycopg.errors.UniqueViolation):
        renamed.execute("INSERT INTO symbol_names (name, symbol) VALUES ('META', 'AAPL')")
    with pytest.raises(psycopg.errors.CheckViolation):
        renamed.execute("INSERT INTO symbol_names (name, symbol) VALUES ('META~2', 'AAPL')")
    for key in ("META~1", "META~99", "A" * 64 + "~2"):
        renamed.execute("INSERT INTO symbols (symbol, name) VALUES (%s, 'x')", (key,))
    for key in ("META~", "META~0", "META~2~3", "~2", "A" * 65):
        with pytest.raises(psycopg.errors.CheckViolation):
            renamed.execute("INSERT INTO symbols (symbol, name) VALUES (%s, 'x')", (key,))
