"""`market-data import --jobs N` stores, rejects and reports the same as over one connection."""

import asyncio
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from helpers.service import Process, command, eventually
from helpers.support import SERVER, Connection

from market_data.cli.data import trade_source, trade_writers
from market_data.cli.data.import_trades import Rejects, import_trades
from market_data.cli.data.trade_batches import validated_batches
from market_data.cli.data.trade_files import open_source
from market_data.errors import CommandFailed

STORED = "SELECT symbol, time, trade_id, price, volume FROM trades ORDER BY symbol, time, trade_id"
LATEST = "SELECT symbol, time, trade_id, price FROM latest_trades ORDER BY symbol"
TABLES = "trades", "trade_changes", "latest_trades", "symbol_names", "symbols"
# Two names of one instrument, which therefore have the same keys.
RENAMED = (
    "INSERT INTO symbols (symbol, name) VALUES ('FB', 'Meta')",
    "INSERT INTO symbol_names (name, symbol, until) VALUES ('FB', 'FB', '2022-06-09 00:00:00Z')",
    "INSERT INTO symbol_names (name, symbol, since) VALUES ('META', 'FB', '2022-06-09 00:00:00Z')",
)
STORE = "INSERT INTO trades (symbol, time, trade_id, price, volume) VALUES ('AAPL', '2026-02-08 10:01Z', %s, 5, 1)"
WAITING = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%INSERT INTO trades%'
"""


@pytest.fixture(scope="module")
def url(new_migrated_database: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """A database of this module, because imports refresh candles."""
    with new_migrated_database() as url:
        yield url


@pytest.fixture
def emptied(url: str) -> Iterator[Connection]:
    """A connection to the database without trades."""
    with psycopg.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
        _empty(connection)
        yield connection


def _empty(connection: Connection) -> None:
    for table in TABLES:
        connection.execute(f"DELETE FROM {table}".encode())


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use several connections on the embedded engine, too: it serves them in turns."""

    async def visible(_: object) -> bool:
        return True

    monkeypatch.setattr(trade_writers, "application_name_is_visible", visible)


def imported(url: str, path: Path, jobs: int) -> int:
    with open_source(str(path), None) as source:
        return asyncio.run(import_trades(url, source, Rejects(path.with_suffix(f".{jobs}")), 60, jobs))


def write_csv(path: Path, lines: list[str], *, ids: bool = True) -> Path:
    path.write_text("\n".join(["symbol,timestamp,price,volume" + ",trade_id" * ids, *lines, ""]))
    return path


def random_lines(seed: int, *, ids: bool) -> list[str]:
    """Lines with few keys in several forms, so that blocks contain the same keys with other prices, and invalid rows."""
    draw = random.Random(seed)
    lines: list[str] = []
    for _ in range(400):
        minute, second = draw.randrange(6), draw.randrange(3)
        form = draw.choice(
            ["2026-02-08T10:{:02}:{:02}Z", "2026-02-08 10:{:02}:{:02}.000+00:00", "2026-02-08t05:{:02}:{:02}-05:00"]
        )
        price = draw.choice(["5", "5", "5", "6", "0", "x"])
        fields = [
            draw.choice(["AAPL", "aapl", "FB", "META"]),
            form.format(minute, second),
            price,
            "1",
            str(draw.randrange(2)),
        ]
        lines.append(",".join(fields if ids else fields[:4]))
    return lines


@pytest.mark.parametrize("ids", [True, False])
def test_several_jobs_store_and_reject_the_same_rows_as_one(
    url: str, emptied: Connection, tmp_path: Path, several: None, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], ids: bool,
):  # fmt: skip
    monkeypatch.setattr(trade_source, "BLOCK_ROWS", 37)
    path = write_csv(tmp_path / "trades.csv", random_lines(1 if ids else 2, ids=ids), ids=ids)
    seen: list[Any] = []
    for jobs in (1, 4):
        _empty(emptied)
        for statement in RENAMED:
            emptied.execute(statement.encode())
        for _ in range(2):
            status = imported(url, path, jobs)
            rejected = path.with_suffix(f".{jobs}").read_text()
            counts, new = capsys.readouterr().out.splitlines()[1:], emptied.execute(LATEST).fetchall()
            seen.append((status, rejected, counts, emptied.execute(STORED).fetchall(), new))
    first, again = seen[:2]
    assert len(first[3]) > 20
    assert "with another price or volume" in first[1]
    assert again[2][0].startswith("0 stored")
    assert seen[2:] == [first, again]


@pytest.mark.parametrize("jobs", [1, 3])
def test_rows_before_an_unreadable_line_are_stored(
    url: str, emptied: Connection, tmp_path: Path, several: None, monkeypatch: pytest.MonkeyPatch, jobs: int
):
    monkeypatch.setattr(trade_source, "BLOCK_ROWS", 60 // jobs)
    lines = [f"AAPL,2026-02-08T10:{n:02}:00Z,5,1,0" for n in range(60)]
    lines += ["AAPL,2026-02-08T11:00:00Z,5,1,0", "x" * trade_source.MAX_LINE_LENGTH]
    with pytest.raises(CommandFailed, match="line 63 has 100,000 characters or more"):
        imported(url, write_csv(tmp_path / "trades.csv", lines), jobs)
    assert len(emptied.execute(STORED).fetchall()) == 60


def test_a_part_has_all_rows_of_its_minutes_in_their_order(tmp_path: Path):
    lines = random_lines(3, ids=True)
    with open_source(str(write_csv(tmp_path / "trades.csv", lines)), None) as source:
        (batch,) = validated_batches(source, 3)
    minutes = [{line.split("\t")[2][14:16] for line in part.data.decode().splitlines()} for part in batch.parts]
    assert [sorted(each) for each in minutes] == [["00", "03"], ["01", "04"], ["02", "05"]]
    assert sum(part.rows for part in batch.parts) + len(batch.rejected) == len(lines)


@pytest.mark.parametrize("step", [1, 60, 3600, 86_400])
def test_parts_of_regular_times_are_about_equal(tmp_path: Path, step: int):
    epochs = [f"AAPL,{1_770_000_000 + n * step},5,1,{n}" for n in range(6000)]
    with open_source(str(write_csv(tmp_path / "trades.csv", epochs)), None) as source:
        (batch,) = validated_batches(source, 4)
    assert min(part.rows for part in batch.parts) > 1200


@pytest.mark.parametrize("jobs", ["0", "65", "two"])
def test_the_number_of_jobs_is_limited(jobs: str, tmp_path: Path):
    ended = command("import", str(tmp_path / "none.csv"), "--jobs", jobs)
    assert ended.returncode == 2
    assert "give a whole number from 1 to 64" in ended.stderr


if not SERVER:

    def test_the_embedded_engine_uses_one_connection_and_says_so(url: str, emptied: Connection, tmp_path: Path):
        path = write_csv(tmp_path / "trades.csv", [f"AAPL,2026-02-08T10:{n:02}:00Z,5,1,0" for n in range(10)])
        before = _commits(emptied)
        ended = command("import", str(path), "--jobs", "2", DATABASE_URL=url)
        assert ended.returncode == 0
        assert (
            ended.stderr == "market-data: the embedded engine executes one statement at a time: --jobs 2 is --jobs 1 there\n"
        )
        assert "10 stored" in ended.stdout
        assert _commits(emptied) == before + 1


def _commits(connection: Connection) -> int:
    return connection.execute("SELECT count(*) FROM commits WHERE kind = 'store'").fetchall()[0][0]


if SERVER:

    def test_jobs_of_new_and_shared_symbols_do_not_deadlock(
        url: str, emptied: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(trade_source, "BLOCK_ROWS", 500)
        draw = random.Random(4)
        lines = [
            f"S{draw.randrange(200)},2026-0{draw.randrange(1, 7)}-08T1{draw.randrange(9)}:0{draw.randrange(9)}:00Z,5,1,{n}"
            for n in range(10_000)
        ]
        before = _commits(emptied)
        assert imported(url, write_csv(tmp_path / "trades.csv", lines), 8) == 0
        assert _commits(emptied) - before == 3 * 8
        assert len(emptied.execute(STORED).fetchall()) == 10_000
        newest = "SELECT symbol, max(time) FROM trades GROUP BY symbol ORDER BY symbol"
        assert emptied.execute(newest).fetchall() == [row[:2] for row in emptied.execute(LATEST).fetchall()]

    @pytest.mark.parametrize(
        ("end", "status", "message"),
        [
            (
                "terminate",
                1,
                "The connection to the database was lost (terminating connection due to administrator command)",
            ),
            ("interrupt", 130, "interrupted"),
        ],
    )
    def test_what_one_job_stored_stays_when_another_one_ends(
        url: str, emptied: Connection, tmp_path: Path, end: str, status: int, message: str
    ):
        lines = [f"AAPL,2026-02-08T10:0{minute}:00Z,5,1,{n}" for minute in range(2) for n in range(100)]
        path = write_csv(tmp_path / "trades.csv", lines)
        assert imported(url, write_csv(tmp_path / "chunk.csv", ["AAPL,2026-02-08T11:00:00Z,5,1,0"]), 1) == 0
        with psycopg.connect(url) as other:
            other.execute(STORE, (99,))
            importing = Process(tmp_path, "import", str(path), "--jobs", "2", DATABASE_URL=url)
            try:
                ((waiting,),) = eventually(lambda: emptied.execute(WAITING).fetchall())
                eventually(lambda: len(emptied.execute(STORED).fetchall()) == 101)
                if end == "terminate":
                    emptied.execute("SELECT pg_terminate_backend(%s)", (waiting,))
                else:
                    importing.signal(signal.SIGINT)
                assert importing.wait() == status
            finally:
                importing.end()
            assert importing.text == f"market-data: {message}; {trade_writers.AGAIN}{'.' if status == 1 else ''}\n"
            other.rollback()
        assert [row[2] for row in emptied.execute(STORED).fetchall()] == [*range(100), 0]
        again = command("import", str(path), "--jobs", "2", DATABASE_URL=url)
        assert again.returncode == 0
        assert "100 stored, 100 already there, 0 rejected" in again.stdout
