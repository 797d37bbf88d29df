"""`market-data import`: each row is stored, exists already or is rejected with a reason; candles are correct."""

import asyncio
import csv
import gzip
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from operator import itemgetter
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.service import command, error_line
from helpers.support import T0, Connection, Trade, store, trade
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql

from market_data.cli.data.import_trades import Rejects, import_trades
from market_data.cli.data.trade_files import open_source

HEADER = ("symbol", "timestamp", "price", "volume", "trade_id")
STORED = "SELECT time, symbol, trade_id, price, volume FROM trades ORDER BY symbol, time, trade_id"

TRADES = st.lists(
    st.builds(
        lambda seconds, price, volume, symbol, number: trade(
            seconds, str(price), str(volume), symbol=symbol, trade_id=number
        ),
        st.integers(0, 5).map(float) | st.integers(0, 10**8).map(lambda micros: micros / 1e6),
        st.decimals("0.01", "999.99", places=2) | st.decimals("0.000000001", "1", places=12),
        st.decimals("0", "99.99", places=2),
        st.sampled_from(["AAPL", "^GSPC", "ES 03-26", "M&M"]),
        st.integers(-(2**63), 2**63 - 1) | st.integers(0, 2),
    ),
    max_size=30,
    unique_by=itemgetter(0, 1, 2),
)

HOURS = count(1)
"""Each example of the property test uses an hour of its own."""


@pytest.fixture(scope="module")
def url(new_migrated_database: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """A database of this module, because imports refresh candles."""
    with new_migrated_database() as url:
        yield url


@pytest.fixture
def emptied(url: str) -> Iterator[Connection]:
    """A connection to the database without trades. Candles of earlier tests disappear with the next refresh."""
    with psycopg.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
        connection.execute("UPDATE retention SET drop_after = NULL, dropped_before = '-infinity'")
        connection.execute("DELETE FROM trades")
        connection.execute("DELETE FROM trade_changes")
        connection.execute("DELETE FROM latest_trades")
        connection.execute("DELETE FROM symbols")
        yield connection


def write_csv(path: Path, trades: list[Trade], *, ids: bool = True) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER if ids else HEADER[:4])
        for time, symbol, number, price, volume in trades:
            writer.writerow((symbol, time.isoformat(), f"{price:f}", f"{volume:f}", number)[: 5 if ids else 4])
    return path


def imported(url: str, path: Path, rejects: Path | None = None) -> int:
    with open_source(str(path), None) as source:
        return asyncio.run(import_trades(url, source, Rejects(rejects or path.with_suffix(".rejected")), 60))


def rejected(path: Path) -> list[tuple[int, str, str]]:
    with path.open(newline="", errors="surrogateescape") as file:
        return [(int(row["line"]), row["reason"], row["row"]) for row in csv.DictReader(file)]


def candles_are_correct(connection: Connection) -> bool:
    (trades, volume) = connection.execute("SELECT count(*), sum(volume) FROM trades").fetchone() or (0, 0)
    for interval in ("1m", "5m", "15m", "30m", "1h", "4h", "1d", "1w"):
        query = sql.SQL("SELECT sum(trade_count), sum(volume) FROM {}")
        found = connection.execute(query.format(sql.Identifier(f"candles_{interval}"))).fetchone()
        assert found == (trades, volume), interval
    return True


def test_all_rows_are_stored_and_a_second_import_changes_nothing(url: str, emptied: Connection, tmp_path: Path):
    trades = [trade(n / 7, f"{100 + n % 13}.{n % 100:02}", symbol=f"S{n % 3}", trade_id=n % 2) for n in range(5000)]
    path = write_csv(tmp_path / "trades.csv", trades)
    first = command("import", str(path), DATABASE_URL=url)
    assert first.returncode == 0, first.stderr
    assert "5,000 rows read" in first.stdout
    assert "5,000 stored, 0 already there, 0 rejected\nnew symbols: S0, S1, S2\n" in first.stdout
    assert emptied.execute(STORED).fetchall() == sorted(trades, key=itemgetter(1, 0, 2))
    assert candles_are_correct(emptied)

    again = command("import", str(path), DATABASE_URL=url)
    assert again.returncode == 0
    assert again.stdout.endswith("0 stored, 5,000 already there, 0 rejected\n")
    assert not list(Path.cwd().glob("*.rejected.csv"))


def test_rejected_rows_are_written_to_a_file_with_line_and_reason(url: str, emptied: Connection, tmp_path: Path):
    store(emptied, trade(0, "100", "1"), trade(1, "100", "1"))
    lines = [
        ",".join(HEADER),
        "AAPL,2026-02-08T10:30:00Z,100.0,1.00,0",
        "AAPL,2026-02-08T10:30:01Z,100,2,0",
        "AAPL,2026-02-08T10:30:02Z,0,1,0",
        "aapl,2026-02-08T10:30:03Z,5,1,0",
        "AAPL,2026-02-08T10:30:03Z,6,1,0",
        "\udcff\udcfe",
    ]
    path = tmp_path / "some trades.csv"
    path.write_text("\n".join(lines), errors="surrogateescape")
    ended = subprocess.run(
        [sys.executable, "-m", "market_data.cli.main", "import", str(path)],
        env={**os.environ, "DATABASE_URL": url},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stdout.endswith("1 stored, 1 already there, 4 rejected\n")
    assert ended.stderr == "market-data: 4 rows were rejected; some trades.rejected.csv has the reasons\n"
    conflict = "trade_id: this trade is stored already, with another price or volume"
    assert rejected(tmp_path / "some trades.rejected.csv") == [
        (3, conflict, lines[2]),
        (
            4,
            "price: must be greater than 0, not '0'; PATCH /symbols/AAPL with {\"signed\": true} if AAPL has such prices",
            lines[3],
        ),
        (6, conflict, lines[5]),
        (7, "has 1 fields, but the header has 5", lines[6]),
    ]


def test_exit_status_is_1_if_nobody_reads_that_rows_were_rejected(url: str, emptied: Connection, tmp_path: Path):
    path = tmp_path / "trades.csv"
    path.write_text(f"{','.join(HEADER)}\nAAPL,2026-02-08T10:30:00Z,-1,1,0\n")
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as messages:
        ended = subprocess.run(
            [sys.executable, "-m", "market_data.cli.main", "import", str(path)],
            env={**os.environ, "DATABASE_URL": url},
            cwd=tmp_path,
            stderr=messages,
            check=False,
        )
    assert ended.returncode == 1


def test_trades_beyond_retention_are_rejected_and_the_others_stored(url: str, emptied: Connection, tmp_path: Path):
    emptied.execute("UPDATE retention SET drop_after = INTERVAL '30 days'")
    now = datetime.now(T0.tzinfo)
    trades: list[Trade] = [(now - timedelta(days=days), "AAPL", 0, Decimal(1), Decimal(1)) for days in (29, 31, 1)]
    path = write_csv(tmp_path / "old.csv", trades)
    assert imported(url, path, tmp_path / "rejects") == 1
    assert [row[:2] for row in rejected(tmp_path / "rejects")] == [
        (3, "timestamp: is beyond the retention horizon, before which trades have been dropped")
    ]
    assert len(emptied.execute(STORED).fetchall()) == 2


def test_trade_at_the_retention_horizon_is_stored(url: str, emptied: Connection, tmp_path: Path):
    emptied.execute("UPDATE retention SET dropped_before = %s", (T0,))
    path = write_csv(tmp_path / "edge.csv", [trade(seconds, "1") for seconds in (0, -0.000001)])
    assert imported(url, path, tmp_path / "rejects") == 1
    assert [line for line, *_ in rejected(tmp_path / "rejects")] == [3]
    assert [row[0] for row in emptied.execute(STORED).fetchall()] == [T0]


def test_trades_of_the_future_are_rejected_as_over_http(url: str, emptied: Connection, tmp_path: Path):
    now = datetime.now(UTC)
    trades = [(now + timedelta(seconds=ahead), "AAPL", 0, Decimal(1), Decimal(1)) for ahead in (-60, 30, 3600)]
    path = write_csv(tmp_path / "trades.csv", trades)
    rejects = tmp_path / "rejected.csv"
    ended = command("import", str(path), "--rejects", str(rejects), DATABASE_URL=url, FUTURE_TOLERANCE_SECONDS="60")
    assert ended.returncode == 1
    assert "3 rows read" in ended.stdout
    assert "2 stored, 0 already there, 1 rejected" in ended.stdout
    assert ended.stderr == f"market-data: 1 row was rejected; {rejects} has the reasons\n"
    ((line, reason, _),) = rejected(rejects)
    assert line == 4
    assert re.fullmatch(r"timestamp: is 3,[56]\d\d s ahead of the clock, and FUTURE_TOLERANCE_SECONDS is 60", reason)
    assert emptied.execute("SELECT max(time) FROM trades").fetchone() == (trades[1][0],)


def test_cancelled_trades_are_rejected(url: str, emptied: Connection, tmp_path: Path):
    path = write_csv(tmp_path / "trades.csv", [trade(n, "5", trade_id=n) for n in range(3)])
    assert imported(url, path) == 0
    emptied.execute("DELETE FROM trades WHERE trade_id = 1")
    assert imported(url, path, tmp_path / "rejects") == 1
    assert [row[:2] for row in rejected(tmp_path / "rejects")] == [
        (3, "trade_id: this trade was cancelled; see trade_changes for when, by whom and why")
    ]
    assert len(emptied.execute(STORED).fetchall()) == 2


def test_prices_of_zero_and_less_are_rejected_until_the_symbol_is_signed(url: str, emptied: Connection, tmp_path: Path):
    store(emptied, trade(0, "10", symbol="CL"))
    emptied.execute("UPDATE symbols SET signed = true")
    prices = {"CL": "-37.63", "AAPL": "0", "NEW": "-1"}
    path = write_csv(tmp_path / "trades.csv", [trade(1, price, symbol=symbol) for symbol, price in prices.items()])
    assert imported(url, path, tmp_path / "rejected.csv") == 1
    remedy = 'PATCH /symbols/{0} with {{"signed": true}} if {0} has such prices'
    assert [reason for _, reason, _ in rejected(tmp_path / "rejected.csv")] == [
        f"price: must be greater than 0, not '{prices[symbol]}'; {remedy.format(symbol)}" for symbol in ("AAPL", "NEW")
    ]
    assert emptied.execute("SELECT price FROM trades ORDER BY price").fetchall() == [(Decimal("-37.63"),), (10,)]
    emptied.execute("UPDATE symbols SET signed = true")
    assert imported(url, path) == 0
    assert emptied.execute("SELECT symbol FROM trades WHERE price <= 0 ORDER BY price").fetchall() == [
        ("CL",),
        ("NEW",),
        ("AAPL",),
    ]
    assert candles_are_correct(emptied)
    emptied.execute("DELETE FROM trades")
    emptied.execute("CALL refresh_candles()")


def test_existing_trades_are_recognized_in_the_columnstore(url: str, emptied: Connection, tmp_path: Path):
    path = write_csv(tmp_path / "trades.csv", [trade(n, "5", trade_id=n) for n in range(3000)])
    assert imported(url, path) == 0
    emptied.execute("""
        SELECT compress_chunk(format('%I.%I', chunk_schema, chunk_name)::regclass, if_not_compressed => true)
        FROM timescaledb_information.chunks WHERE hypertable_name = 'trades'
    """)
    emptied.execute("SET timescaledb.max_tuples_decompressed_per_dml_transaction = 100")
    write_csv(path, [trade(n, "5" if n != 7 else "6", trade_id=n) for n in range(3001)])
    assert imported(url, path, tmp_path / "rejects") == 1
    assert [row[0] for row in rejected(tmp_path / "rejects")] == [9]
    assert emptied.execute("SELECT count(*) FROM trades").fetchone() == (3001,)


@settings(max_examples=8, derandomize=True, deadline=None, database=None)
@given(trades=TRADES, kind=st.sampled_from(["csv", "csv.gz", "ndjson", "parquet"]))
def test_every_format_stores_every_trade(url: str, tmp_path_factory: pytest.TempPathFactory, trades: list[Trade], kind: str):
    path = tmp_path_factory.mktemp("import") / f"trades.{kind}"
    shift = timedelta(hours=next(HOURS))
    moved = [(each[0] + shift, *each[1:]) for each in trades]
    _write(path, kind, moved)
    assert imported(url, path) == 0
    with psycopg.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
        found = connection.execute(
            "SELECT time, symbol, trade_id, price, volume FROM trades WHERE time >= %s AND time < %s",
            (T0 + shift, T0 + shift + timedelta(hours=1)),
        ).fetchall()
        assert sorted(found) == sorted(moved)
        connection.execute("DELETE FROM trades")


def _write(path: Path, kind: str, trades: list[Trade]) -> None:
    columns = list(zip(*trades, strict=True)) or [[], [], [], [], []]
    if kind == "parquet":
        table = pa.table(
            {
                "time": pa.array(columns[0], pa.timestamp("us", "UTC")),
                "symbol": pa.array(columns[1], pa.string()),
                "trade_id": pa.array(columns[2], pa.int64()),
                "price": pa.array([f"{price:f}" for price in columns[3]], pa.string()),
                "volume": pa.array(columns[4], pa.decimal128(12, 2)),
            }
        )
        pq.write_table(table, path)
    elif kind == "ndjson":
        path.write_text(
            "".join(
                f'{{"time":"{time.isoformat()}","symbol":"{symbol}","trade_id":{number},"price":{price:f},"volume":"{volume}"}}\n'
                for time, symbol, number, price, volume in trades
            )
        )
    else:
        plain = write_csv(path.with_name("plain"), trades)
        path.write_bytes(gzip.compress(plain.read_bytes()) if kind == "csv.gz" else plain.read_bytes())


def test_the_format_of_standard_input_is_detected(url: str, emptied: Connection, tmp_path: Path):
    for text in (
        b"symbol,time,price,volume\nAAPL,2026-02-08T10:30:00Z,1,1\nAAPL,2026-02-08T10:30:00Z,2,1\n",
        b'\n{"symbol":"AAPL","time":"2026-02-08T10:31:00Z","price":3,"volume":1}\n',
    ):
        ended = subprocess.run(
            [sys.executable, "-m", "market_data.cli.main", "import", "-"],
            env={**os.environ, "DATABASE_URL": url},
            cwd=tmp_path,
            input=text,
            capture_output=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
    assert [(row[2], row[3]) for row in emptied.execute(STORED).fetchall()] == [(0, 1), (1, 2), (0, 3)]


def test_an_unreadable_file_is_reported_in_one_line(url: str, tmp_path: Path):
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 and nothing else")
    headless = tmp_path / "headless.csv"
    headless.write_text("AAPL,2026-02-08T10:30:00Z,1,1\n")
    assert "broken.parquet can't be read" in error_line("import", str(broken), DATABASE_URL=url)
    assert "headless.csv has no header line; choose a --preset" in error_line("import", str(headless), DATABASE_URL=url)
    assert "No such file" in error_line("import", str(tmp_path / "none.csv"), DATABASE_URL=url)
