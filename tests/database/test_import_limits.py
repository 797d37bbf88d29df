"""Files that are small and expand to more than the machine can hold, and the file of rejected rows."""

import gzip
import io
import os
import struct
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from market_data.cli.data import compressed_files, trade_source
from market_data.cli.data.import_trades import Rejects
from market_data.cli.data.parquet import MAX_FIELD_LENGTH
from market_data.cli.data.trade_files import open_source
from market_data.errors import CommandFailed

HEADER = b"symbol,timestamp,price,volume\n"
LINE = b"AAPL,2026-01-01T00:00:00Z,1.25,10\n"


def test_a_block_of_long_lines_is_small(tmp_path: Path):
    path = tmp_path / "long.csv"
    path.write_bytes(HEADER + (b"x" * 90_000 + b"\n") * 800)
    with open_source(str(path), None) as source:
        sizes = [sum(map(len, block.rows)) for block in source.blocks()]
    assert sum(sizes) == 800 * 90_001
    assert max(sizes) <= trade_source.BLOCK_CHARACTERS + trade_source.STEP_ROWS * 90_001


def test_usual_lines_fill_whole_blocks(tmp_path: Path):
    path = tmp_path / "usual.csv"
    path.write_bytes(HEADER + LINE * 120_001)
    with open_source(str(path), None) as source:
        blocks = [(block.line, len(block.rows)) for block in source.blocks()]
    assert blocks == [(2, 50_000), (50_002, 50_000), (100_002, 20_001)]


def zipped(data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.csv", data)
    return file.getvalue()


@pytest.mark.parametrize(("kind", "piped"), [("gz", False), ("gz", True), ("zst", False), ("zst", True), ("zip", False)])
def test_a_file_that_expands_too_much_is_refused(tmp_path: Path, kind: str, piped: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compressed_files, "UNCHECKED_BYTES", 5_000_000)
    path = tmp_path / f"bomb.csv.{kind}"
    data = HEADER + LINE * 1_000_000
    compress = {"gz": gzip.compress, "zst": lambda data: pa.compress(data, "zstd", asbytes=True), "zip": zipped}[kind]
    path.write_bytes(compress(data))
    assert path.stat().st_size < 150_000
    if piped:
        monkeypatch.setattr("builtins.open", lambda *_, **__: io.BufferedReader(io.FileIO(path)))
    read: list[int] = []
    with open_source("-" if piped else str(path), "csv") as source, pytest.raises(CommandFailed, match="200 times its size"):
        read.extend(len(block.rows) for block in source.blocks())
    assert sum(read) < 500_000


def test_a_zip_archive_that_lies_about_its_size_is_refused(tmp_path: Path):
    data = bytearray(zipped(HEADER + LINE * 1_000_000))
    size = struct.pack("<I", len(HEADER + LINE * 1_000_000))
    assert data.count(size) == 2
    path = tmp_path / "bomb.zip"
    path.write_bytes(bytes(data).replace(size, struct.pack("<I", 1000)))
    with pytest.raises(CommandFailed, match="can't be read: Bad CRC"):
        open_source(str(path), None)


def test_a_file_of_trades_does_not_expand_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compressed_files, "UNCHECKED_BYTES", 0)
    path = tmp_path / "trades.csv.gz"
    lines = (f"AAPL,2026-01-01T{n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}Z,1.25,10\n" for n in range(86_400))
    path.write_bytes(gzip.compress(HEADER + "".join(lines).encode()))
    with open_source(str(path), None) as source:
        assert sum(len(block.rows) for block in source.blocks()) == 86_400


def write_parquet(path: Path, symbol: Any, **options: Any) -> Path:
    count = len(symbol)
    columns = {
        "symbol": symbol,
        "timestamp": ["2026-01-01T00:00:00Z"] * count,
        "price": [1.5] * count,
        "volume": [1] * count,
    }
    pq.write_table(pa.table(columns), path, **options)
    return path


def test_a_long_value_that_a_parquet_file_repeats_is_cut(tmp_path: Path):
    repeated = pa.DictionaryArray.from_arrays(pa.array([0] * 10_000, pa.int32()), ["x" * 1_000_000])
    path = write_parquet(tmp_path / "bomb.parquet", repeated)
    assert path.stat().st_size < 100_000
    before = pa.total_allocated_bytes()
    with open_source(str(path), None) as source:
        for block in source.blocks():
            assert pa.total_allocated_bytes() - before < 100_000_000
            row = source.parse(block.rows[0])
            assert getattr(row, "symbol", None) == "x" * MAX_FIELD_LENGTH


def test_long_values_of_a_parquet_file_are_refused(tmp_path: Path):
    path = write_parquet(tmp_path / "bomb.parquet", pa.array(["x" * 50_000] * 2_000), use_dictionary=False)
    with open_source(str(path), None) as source, pytest.raises(CommandFailed, match="more than 1,000 bytes per row"):
        next(iter(source.blocks()))


def test_rejected_rows_are_not_written_through_a_link(tmp_path: Path):
    target, link = tmp_path / "precious", tmp_path / "trades.rejected.csv"
    target.write_text("precious")
    link.symlink_to(target)
    with (
        Rejects(link) as rejects,
        pytest.raises(CommandFailed, match=r"it is a symbolic link; choose another with --rejects"),
    ):
        rejects.add(2, "reason", "row")
    assert target.read_text() == "precious"
    link.unlink()
    os.mkfifo(link)
    with Rejects(link) as rejects, pytest.raises(CommandFailed, match="choose another"):
        rejects.add(2, "reason", "row")
    link.unlink()
    for path in (link, Path("/dev/null")):
        with Rejects(path) as rejects:
            rejects.add(2, "reason", "row")
    assert link.read_bytes() == b"line,reason,row\r\n2,reason,row\r\n"
