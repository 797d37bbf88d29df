"""`market-data symbols`: list, show, set and import."""

import json
from pathlib import Path
from typing import Any

from helpers.service import command, error_line
from helpers.support import Connection

HEADER = "symbol,name,type,calendar,tick_size,listed,delisted,description,aliases,active,signed,currency"


def symbols(url: str, *arguments: str) -> str:
    """Return the standard output of a command."""
    ended = command("symbols", *arguments, DATABASE_URL=url)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def listed(url: str) -> list[dict[str, Any]]:
    return json.loads(symbols(url, "list", "--json"))


def write(folder: Path, *lines: str) -> str:
    file = folder / "symbols.csv"
    file.write_text("\n".join(lines) + "\n")
    return str(file)


def test_there_may_be_no_symbols(database_url: str):
    assert symbols(database_url, "list") == "there are no symbols; add some with `market-data symbols import FILE`\n"


def test_symbols_are_added_and_changed_from_a_file(database_url: str, known: Connection, tmp_path: Path):
    file = write(
        tmp_path,
        HEADER,
        'meta,"Meta Platforms, Inc.",stock,24/7,0.01,2012-05-18,,Shares,Facebook|US30303M1027,TRUE,,usd',
        "",
        "AAPL,,stock,,,,,,,,,",
        "CL 05-20,Crude,future,,,,2020-04-21,,,false,true,",
    )
    assert symbols(database_url, "import", file) == "added 2 symbols, changed or confirmed 1\n"
    apple, crude, meta, microsoft = listed(database_url)
    assert (apple["name"], apple["type"], apple["calendar"]) == ("Apple", "stock", "24/7")
    assert (crude["symbol"], crude["active"], crude["signed"], crude["delisted"]) == ("CL 05-20", False, True, "2020-04-21")
    assert (microsoft["type"], microsoft["tick_size"]) == ("other", None)
    assert meta | {"created_at": None} == {
        "symbol": "META",
        "name": "Meta Platforms, Inc.",
        "created_at": None,
        "active": True,
        "signed": False,
        "currency": "USD",
        "type": "stock",
        "calendar": "24/7",
        "tick_size": 0.01,
        "listed": "2012-05-18",
        "delisted": None,
        "description": "Shares",
        "aliases": ["Facebook", "US30303M1027"],
    }
    assert symbols(database_url, "import", file) == "added 0 symbols, changed or confirmed 3\n"
    assert known.execute("SELECT count(*) FROM symbols").fetchone() == (4,)
    table = symbols(database_url, "list").splitlines()
    assert [line.split()[0] for line in table] == ["symbol", "AAPL", "CL", "META", "MSFT"]
    assert "inactive, signed" in table[2]


def test_wrong_lines_are_named_and_nothing_is_stored(database_url: str, known: Connection, tmp_path: Path):
    file = write(tmp_path, HEADER, "A,a" + "," * 10, "A,b" + "," * 10, "B  C" + "," * 11, 'D,"d', 'd",bond' + "," * 9)
    ended = command("symbols", "import", file, DATABASE_URL=database_url)
    assert ended.returncode == 1
    assert "nothing was stored, because 3 lines can't be read" in ended.stderr
    assert "line 3: symbol: A is in line 2 too" in ended.stderr
    assert "line 4: symbol: must be 1 to 64 letters" in ended.stderr
    assert "line 5: name: must be 1 to 200 printable characters" in ended.stderr
    assert known.execute("SELECT count(*) FROM symbols").fetchone() == (2,)


def test_line_that_the_database_refuses_is_named_and_nothing_is_stored(database_url: str, known: Connection, tmp_path: Path):
    for line, detail in (
        ("B,b,,XNYX" + "," * 8, "line 3: calendar: XNYX is not stored; run `market-data calendars refresh XNYX`"),
        ("B,b,,,,2020-01-02,2020-01-01" + "," * 5, "line 3: delisted: must not be before listed"),
        ("B" + "," * 11, "line 3: B is new and needs a name"),
    ):
        file = write(tmp_path, HEADER, "A,a" + "," * 10, line)
        assert detail in error_line("symbols", "import", file, DATABASE_URL=database_url)
    assert known.execute("SELECT count(*) FROM symbols").fetchone() == (2,)


def test_file_with_another_header_is_refused(database_url: str, tmp_path: Path):
    for header in ("symbol,price", "name", "", "symbol,name,name"):
        assert "the header must name symbol" in error_line(
            "symbols", "import", write(tmp_path, header), DATABASE_URL=database_url
        )
    assert "line 2 has 1 fields" in error_line(
        "symbols", "import", write(tmp_path, "symbol,name", "A"), DATABASE_URL=database_url
    )
    assert "can't be read" in error_line("symbols", "import", str(tmp_path / "none.csv"), DATABASE_URL=database_url)


def test_symbol_is_changed_and_shown(database_url: str, known: Connection):
    assert known
    values = ["type=stock", "tick_size=0.010", "listed=1980-12-12", "description=Ein Apfel", "aliases=Apfel|US0378331005"]
    changed = "AAPL: type=stock, tick_size=0.01, listed=1980-12-12, description=Ein Apfel, aliases=Apfel|US0378331005\n"
    assert symbols(database_url, "set", "aapl", *values) == changed
    shown = symbols(database_url, "show", "AAPL").splitlines()
    assert {"symbol: AAPL", "type: stock", "tick_size: 0.01", "delisted:", "active: true"} < set(shown)
    assert json.loads(symbols(database_url, "show", "AAPL", "--json"))["aliases"] == ["Apfel", "US0378331005"]
    symbols(database_url, "set", "AAPL", "tick_size=", "listed=", "aliases=", "description=", "active=false")
    shown = symbols(database_url, "show", "AAPL").splitlines()
    assert {"tick_size:", "listed:", "aliases:", "description:", "active: false"} < set(shown)


def test_wrong_values_are_explained(database_url: str, known: Connection):
    assert known
    for value, detail in (
        ("type=bond", "type: must be stock"),
        ("color=red", "'color=red' is not FIELD=VALUE; the fields are name"),
        ("name", "'name' is not FIELD=VALUE"),
        ("active=1", "active: must be true or false, not '1'"),
        ("calendar=XNYX", "calendar: XNYX is not stored"),
        ("delisted=x", "delisted: must be a date"),
    ):
        assert detail in error_line("symbols", "set", "AAPL", value, DATABASE_URL=database_url)
    for action in (("set", "ACME", "name=x"), ("show", "ACME")):
        assert "There is no symbol ACME" in error_line("symbols", *action, DATABASE_URL=database_url)
