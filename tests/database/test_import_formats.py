"""`market-data import` of files of other layouts, as a user runs it, and `--dry-run`."""

import gzip
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from helpers.service import command, error_line

STORED = "SELECT time::text, symbol, trade_id, price::text, volume::text FROM trades ORDER BY symbol, time, trade_id"
CANDLES = "SELECT bucket::text, open::text, volume::text, trade_count FROM candles_1d WHERE symbol = %s"
UNREACHABLE = "postgresql://postgres@127.0.0.1:9/none"


@pytest.fixture(scope="module")
def url(new_migrated_database: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """A database of this module, because imports refresh candles."""
    with new_migrated_database() as url:
        yield url


def rows(url: str, query: str, *parameters: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
        return connection.execute(query.encode(), parameters).fetchall()


def test_files_of_vendors_are_stored(url: str, tmp_path: Path):
    binance = "51175358,17.8,5.69,101.2,1736899200123456,True,True\n51175359,17.9,1,17.9,1736899200123456,True,True\n"
    with zipfile.ZipFile(tmp_path / "BNBUSDT-trades-2025-01-15.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("BNBUSDT-trades-2025-01-15.csv", binance)
    massive = "ticker,correction,participant_timestamp,price,sequence_number,size\nMSFT,0,1679990400018025984,276.16,7,55\n"
    (tmp_path / "2023-03-28.csv.gz").write_bytes(gzip.compress(massive.encode()))
    kraken = "1700000000.1234,36500.1,-0.001\n1700000000.1234,36500.2,1e-8\n"
    (tmp_path / "XBTUSD.csv.zst").write_bytes(pa.compress(kraken.encode(), "zstd", asbytes=True))
    (tmp_path / "IVE_tickbidask.txt").write_text("01/15/2024,09:30:00,189.11,189.10,189.12,100\n")
    for preset, name in (
        ("binance", "BNBUSDT-trades-2025-01-15.zip"),
        ("massive", "2023-03-28.csv.gz"),
        ("kraken", "XBTUSD.csv.zst"),
        ("kibot", "IVE_tickbidask.txt"),
    ):
        for stored in ("stored, 0 already there", "already there"):
            ended = command("import", str(tmp_path / name), "--preset", preset, DATABASE_URL=url)
            assert (ended.returncode, ended.stderr) == (0, "")
            assert stored in ended.stdout
            assert "0 rejected" in ended.stdout
    assert rows(url, STORED) == [
        ("2025-01-15 00:00:00.123456+00", "BNBUSDT", 51175358, "17.8", "5.69"),
        ("2025-01-15 00:00:00.123456+00", "BNBUSDT", 51175359, "17.9", "1"),
        ("2024-01-15 14:30:00+00", "IVE", 0, "189.11", "100"),
        ("2023-03-28 08:00:00.018025+00", "MSFT", 7, "276.16", "55"),
        ("2023-11-14 22:13:20.1234+00", "XBTUSD", 0, "36500.1", "0.001"),
        ("2023-11-14 22:13:20.1234+00", "XBTUSD", 1, "36500.2", "0.00000001"),
    ]
    assert rows(url, CANDLES, "BNBUSDT") == [("2025-01-15 00:00:00+00", "17.8", "6.69", 2)]


def test_a_spreadsheet_is_stored_and_its_bad_rows_are_reported(url: str, tmp_path: Path):
    path = tmp_path / "kurse.csv"
    lines = ["Zeit;Preis;Menge", "29.03.2024 09:00:00,5;1.189,11;-1.000", "31.03.2024 02:30:00;1,5;1", "x;1,5;1"]
    path.write_bytes("\r\n".join(lines).encode("utf-16"))
    rejects = tmp_path / "rejected.csv"
    ended = command(
        *("import", str(path), "--rejects", str(rejects), "--symbol", "sap", "--timezone", "Europe/Berlin"),
        *("--column", "timestamp=Zeit", "--column", "price=Preis", "--column", "volume=Menge"),
        *("--time-format", "%d.%m.%Y %H:%M:%S"),
        DATABASE_URL=url,
    )
    assert ended.returncode == 1
    assert "1 stored, 0 already there, 2 rejected" in ended.stdout
    assert rows(url, STORED.replace("ORDER", "WHERE symbol = %s ORDER"), "SAP") == [
        ("2024-03-29 08:00:00.5+00", "SAP", 0, "1189.11", "1000.0")
    ]
    skipped = "timestamp: does not exist in Europe/Berlin, where clocks were set forward: '31.03.2024 02:30:00'"
    assert rejects.read_text().splitlines() == [
        "line,reason,row",
        f'3,{skipped},"31.03.2024 02:30:00;1,5;1"'.replace(skipped, f'"{skipped}"'),
        "4,timestamp: is no time of the form %d.%m.%Y %H:%M:%S: 'x',\"x;1,5;1\"",
    ]


def test_a_dry_run_prints_the_first_rows_without_a_database(tmp_path: Path):
    path = tmp_path / "IVE.txt"
    path.write_text("07/15/2024,09:30:00.5,190.5,200\n" * 3 + "11/03/2024,01:30:00,1,1\n" + "x\n" * 20)
    ended = command("import", str(path), "--preset", "kibot", "--dry-run", DATABASE_URL=UNREACHABLE)
    assert (ended.returncode, ended.stderr) == (1, "")
    head, *lines = ended.stdout.splitlines()
    assert head.endswith(
        "IVE.txt: timestamp from date+time, volume from size; times: %m/%d/%Y %H:%M:%S, time zone America/New_York"
    )
    assert lines[:3] == [
        "line  symbol  time                         price  volume  trade_id",
        "1     IVE     2024-07-15T13:30:00.500000Z  190.5  200     0",
        "2     IVE     2024-07-15T13:30:00.500000Z  190.5  200     1",
    ]
    assert lines[4].startswith("4     rejected: timestamp: exists twice in America/New_York")
    assert len(lines) == 11
    path.write_text("07/15/2024,09:30:00,190.5,200\n")
    assert command("import", str(path), "--preset", "kibot", "--dry-run", DATABASE_URL=UNREACHABLE).returncode == 0


def test_compressed_standard_input_is_read(url: str, tmp_path: Path):
    text = b"symbol,time,price,volume\nPIPED,1770546600,1,1\n"
    for number, data in enumerate((gzip.compress(text), pa.compress(text, "zstd", asbytes=True))):
        ended = subprocess.run(
            [sys.executable, "-m", "market_data.cli.main", "import", "-", "--dry-run"],
            cwd=tmp_path,
            input=data,
            capture_output=True,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (0, b""), number
        assert b"2     PIPED   2026-02-08T10:30:00Z  1      1       0" in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--column", "when=ts"], "--column: must be COLUMN=NAME with a column of symbol, timestamp, price"),
        (["--timezone", "Mars/Base"], "--timezone: must be a time zone such as America/New_York, not 'Mars/Base'"),
        (["--timezone", "../x"], "--timezone: must be a time zone"),
        (["--symbol", "A,B"], "--symbol: must be 1 to"),
        (["--preset", "acme"], "--preset: invalid choice: 'acme' (choose from"),
    ],
)
def test_invalid_options_are_explained(arguments: list[str], expected: str):
    ended = command("import", "x.csv", *arguments, DATABASE_URL=UNREACHABLE)
    assert ended.returncode == 2
    assert expected in ended.stderr


def test_bars_are_refused_in_one_line(tmp_path: Path):
    path = tmp_path / "AAPL.csv"
    path.write_text("Date,Open,High,Low,Close,Adj Close,Volume\n2024-01-15,1,2,1,2,2,100\n")
    line = error_line("import", str(path), "--dry-run", DATABASE_URL=UNREACHABLE)
    assert "AAPL.csv contains bars (open, high, low, close), not trades" in line
