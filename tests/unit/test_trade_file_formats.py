"""Columns, delimiters, encodings and compression of trade files, and files of other data."""

import codecs
import gzip
import io
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from market_data.cli.data.csv_files import CsvSource
from market_data.cli.data.read_options import ReadOptions
from market_data.cli.data.trade_batches import validated_batches
from market_data.cli.data.trade_files import NdjsonSource, open_source
from market_data.cli.data.trade_source import Source
from market_data.errors import CommandFailed

CSV = "symbol,time,price,volume,trade_id\nAAPL,2026-02-08T10:30:00Z,1.5,2,7\n"
STORED = ["AAPL 2026-02-08T10:30:00 1.5 2 7"]


def read(source: Source) -> tuple[list[str], dict[int, str]]:
    """Return the stored rows without their time zone, and the reasons of the rejected rows by line."""
    rows: list[str] = []
    reasons: dict[int, str] = {}
    for batch in validated_batches(source):
        for line in batch.parts[0].data.decode().splitlines():
            _, symbol, time, trade_id, price, volume = line.split("\t")
            rows.append(f"{symbol} {time[:19].replace(' ', 'T')} {price} {volume} {trade_id}")
        reasons |= {batch.block.line + index: reason for index, reason in batch.rejected.items()}
    return rows, reasons


def read_csv(text: str | bytes, options: ReadOptions | None = None) -> tuple[list[str], dict[int, str]]:
    return read(CsvSource("test", io.BytesIO(text if isinstance(text, bytes) else text.encode()), options))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_detected(delimiter: str):
    assert read_csv(CSV.replace(",", delimiter)) == (STORED, {})
    quoted = f'"a,b"{delimiter}' + CSV.replace(",", delimiter).replace("\n", f'\n"x{delimiter}y"{delimiter}', 1)
    assert read_csv(quoted) == (STORED, {})


@pytest.mark.parametrize(
    "data",
    [
        CSV.encode("utf-8-sig"),
        CSV.encode("utf-16"),
        codecs.BOM_UTF16_BE + CSV.encode("utf-16-be"),
        CSV.encode("utf-16-le"),
        CSV.encode("utf-16-be"),
        CSV.replace("\n", "\r\n").encode("utf-16"),
        CSV.replace("volume,", "volume,größe,").replace("2,7", "2,ü,7").encode("latin-1"),
    ],
)
def test_the_encoding_is_detected(data: bytes):
    assert read_csv(data) == (STORED, {})


def test_rows_that_are_not_utf_16_are_rejected():
    rows, reasons = read_csv(CSV.encode("utf-16") + "AAPL\n".encode("utf-16-le") + b"\x00\xd8\n\x00")
    assert (rows, list(reasons)) == (STORED, [3, 4])


NAMED = {"symbol": "A", "timestamp": "ts_event", "price": "last", "volume": "d", "trade_id": "n"}
NUMBERED = {"symbol": "3", "timestamp": "2", "price": "1", "volume": "5", "trade_id": "4"}


@pytest.mark.parametrize(
    ("header", "row", "options"),
    [
        ("<Ticker>,<TIME>,Price,Size,ID", "AAPL,2026-02-08T10:30:00Z,1.5,2,7", {}),
        ("pair,datetime,price,amount,id,size_usd", "AAPL,2026-02-08T10:30:00Z,1.5,-2,7,9", {}),
        ("time,price,qty,trade_id,id", "2026-02-08T10:30:00Z,1.5,2,7,8", {"symbol": "AAPL"}),
        ("symbol,time,price,volume,trade_id", "MSFT,2026-02-08T10:30:00Z,1.5,2,7", {"symbol": "AAPL"}),
        ("symbol,time,price,volume,size,id", "AAPL,2026-02-08T10:30:00Z,1.5,2,9,7", {}),
        ("a,ts_event,last,d,n", "AAPL,2026-02-08T10:30:00Z,1.5,2,7", {"columns": NAMED}),
        ("", "1.5,2026-02-08T10:30:00Z,AAPL,7,2", {"columns": NUMBERED}),
        ("symbol,date,time,price,volume,id", "AAPL,2026-02-08,10:30:00,1.5,2,7", {"timezone": ZoneInfo("UTC")}),
        ("symbol,date,time,price,volume,id", "AAPL,2026-02-08,2026-02-08T10:30:00Z,1.5,2,7", {}),
        ("symbol,day,hour,price,volume,id", "AAPL,2026-02-08,10:30:00Z,1.5,2,7", {"columns": {"timestamp": "day+hour"}}),
        ("symbol,time,ts,price,volume,id", "AAPL,x,2026-02-08T10:30:00Z,1.5,2,7", {"columns": {"timestamp": "TS"}}),
    ],
)
def test_columns_are_found_by_their_usual_names_or_the_given_ones(header: str, row: str, options: dict[str, Any]):
    assert read_csv(f"{header}\n{row}\n".lstrip(), ReadOptions(**options)) == (STORED, {})


def test_ids_that_are_no_whole_numbers_are_replaced_only_if_nobody_named_them():
    text = "symbol,time,price,volume,id\nA,2026-02-08T10:30:00Z,1.5,2,b7\nA,2026-02-08T10:30:00Z,1.5,2,5\n"
    assert read_csv(text) == (["A 2026-02-08T10:30:00 1.5 2 0", "A 2026-02-08T10:30:00 1.5 2 1"], {})
    for named, options in ((text.replace("id", "trade_id"), None), (text, ReadOptions(columns={"trade_id": "id"}))):
        rows, reasons = read_csv(named, options)
        assert (len(rows), reasons) == (1, {2: "trade_id: must be a whole number of 64 bits, not 'b7'"})


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("symbol,time,price,size,qty\n", {}, "column volume twice: size, qty. Choose one with --column volume=NAME"),
        ("symbol,time,price,amount\n", {"columns": {"volume": "b"}}, r"has no column volume \(b\); .* --column volume=NAME"),
        ("when,price,volume\n", {}, "has no column symbol; it has when, price, volume. Set it with --symbol SYMBOL"),
    ],
)
def test_a_missing_or_ambiguous_column_names_its_option(text: str, options: dict[str, Any], expected: str):
    with pytest.raises(CommandFailed, match=expected):
        read_csv(text, ReadOptions(**options))


BARS = [
    "Date,Open,High,Low,Close,Adj Close,Volume\n2024-01-15,1,2,1,2,2,100\n",
    "Price,Close,High,Low,Open,Volume\nTicker,AAPL,AAPL,AAPL,AAPL,AAPL\n",
    "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>\nAAPL.US,D,20240115,000000,1,2,1,2,100,0\n",
    "Data,Otwarcie,Najwyzszy,Najnizszy,Zamkniecie,Wolumen\n",
    "01/12/2010,09:30,54.1,54.3,54.0,54.2,1000\n01/12/2010,09:31,54.2,54.2,54.1,54.1,900\n",
    "01/12/2010,54.1,54.3,54.0,54.2,1000\n01/13/2010,54.2,54.2,54.1,54.1,900\n",
    "1705276800000,42000.1,42010,41990,42005,10.5,1705276859999,441000,100,5,210000,0\n",
    "ticker,volume,open,close,high,low,window_start,transactions\n",
]
QUOTES = [
    "Gmt time,Ask,Bid,AskVolume,BidVolume\n15.01.2024 10:30:00.123,1.08503,1.08500,1.5,1.5\n",
    "2017-01-01 22:00:20.786,1.05236,1.05148,0.75,0.75\n2017-01-01 22:00:36.636,1.05236,1.05153,0.75,1.50\n",
    "exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount\n",
]


@pytest.mark.parametrize("preset", [None, "binance", "kibot"])
@pytest.mark.parametrize(("text", "kind"), [(text, "bars") for text in BARS] + [(text, "quotes") for text in QUOTES])
def test_bars_and_quotes_are_refused_in_one_line(text: str, kind: str, preset: str | None):
    with pytest.raises(CommandFailed, match=rf"^test contains {kind} \(.*\), not trades; only trades can be imported"):
        read_csv(text, ReadOptions(preset))


def test_bars_and_quotes_are_refused_in_other_formats(tmp_path: Path):
    with pytest.raises(CommandFailed, match="contains bars"):
        read(NdjsonSource("x", io.BytesIO(b'{"time":1,"open":1,"high":1,"low":1,"close":1,"volume":1}\n')))
    pq.write_table(pa.table({"time": [1], "bid": [1], "ask": [2]}), tmp_path / "quotes.parquet")
    with pytest.raises(CommandFailed, match="contains quotes"):
        read(open_source(str(tmp_path / "quotes.parquet"), None))


def test_options_apply_to_ndjson():
    text = b'{"T":"AAPL","Date":"08.02.2026","clock":"10:30:00","Price":"1,5","Amount":"-2","id":7}\n'
    columns = {"symbol": "t", "timestamp": "date+clock"}
    options = ReadOptions(None, columns, None, "%d.%m.%Y %H:%M:%S", ZoneInfo("UTC"))
    assert read(NdjsonSource("x", io.BytesIO(text), options)) == (["AAPL 2026-02-08T10:30:00 1.5 2.0 7"], {})
    text = b'{"symbol":"A","ts_event":"1770546600000000000","action":"%s","price":"1500000000","size":2}\n'
    rows, reasons = read(NdjsonSource("x", io.BytesIO(text % b"T" + text % b"A"), ReadOptions("databento")))
    assert (rows, reasons) == (["A 2026-02-08T10:30:00 1.500000000 2 0"], {2: "is not a trade: action is 'A'"})


def test_options_apply_to_parquet(tmp_path: Path):
    path = tmp_path / "trades.parquet"
    columns: dict[str, Any] = {
        "Action": ["T", "A"],
        "ts_event": pa.array([1770546600000000000] * 2, pa.timestamp("ns")),
        "price": [1.5, 1.5],
        "size": [2, 2],
    }
    pq.write_table(pa.table(columns), path)
    options = ReadOptions("databento", symbol="AAPL", timezone=ZoneInfo("America/New_York"))
    expected = (["AAPL 2026-02-08T15:30:00 1.5 2 0"], {2: "is not a trade: Action is 'A'"})
    assert read(open_source(str(path), None, options)) == expected
    pq.write_table(pa.table({**columns, "ts_event": [1770546600000000000, 1]}), path)
    rows, reasons = read(open_source(str(path), None, ReadOptions("databento", symbol="AAPL")))
    assert (rows, list(reasons)) == (["AAPL 2026-02-08T10:30:00 1.5 2 0"], [2])


def zipped(data: bytes, *names: str, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name in names:
            archive.writestr(name, data)
    return file.getvalue()


def zstd(data: bytes) -> bytes:
    return pa.compress(data, "zstd", asbytes=True)


@pytest.mark.parametrize(
    ("name", "compress"),
    [
        ("trades.txt", bytes),
        ("trades.csv.gz", gzip.compress),
        ("trades", gzip.compress),
        ("trades.txt.zst", zstd),
        ("trades.csv.zst", lambda data: zstd(data[:20]) + zstd(data[20:])),
        ("trades.zip", lambda data: zipped(data, "inner.csv")),
        ("trades.zip", lambda data: zipped(data, "folder/", "folder/inner.txt", "__MACOSX/folder/._inner.txt", ".DS_Store")),
        ("trades.zip", lambda data: zipped(data, "inner.csv", method=zipfile.ZIP_STORED)),
    ],
)
def test_compressed_files_are_recognized_by_their_first_bytes(name: str, compress: Callable[[bytes], bytes], tmp_path: Path):
    path = tmp_path / name
    path.write_bytes(compress(CSV.encode()))
    kind = None if "." in name else "csv"
    assert read(open_source(str(path), kind)) == (STORED, {})


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("x.zip", zipped(CSV.encode(), "a.csv", "b.csv"), "contains 2 files .*; extract them and import one at a time"),
        ("x.zip", zipped(CSV.encode()), "contains 0 files"),
        ("x.zip", zipped(CSV.encode(), "a.csv", method=zipfile.ZIP_LZMA), "another method than deflate; extract it first"),
        ("x.zip", zipped(CSV.encode(), "a.pdf"), "unknown file format"),
        ("x.zip", zipped(CSV.encode(), "a.csv")[:50], "can't be read"),
        ("x.csv.zst", zstd(CSV.encode())[:-5], "can't be read"),
        ("x.csv.gz", gzip.compress(CSV.encode())[:-9], "can't be read"),
        ("x.parquet.gz", gzip.compress(b"PAR1"), "Parquet can't be read from .* a compressed file"),
    ],
    ids=["two files", "no file", "method", "format", "cut zip", "cut zstd", "cut gzip", "parquet"],  # the data has the time
)
def test_compressed_files_that_cant_be_read_are_refused(name: str, data: bytes, expected: str, tmp_path: Path):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(CommandFailed, match=expected):
        read(open_source(str(path), None))


def test_the_symbol_comes_from_the_name_of_the_file_in_an_archive(tmp_path: Path):
    path = tmp_path / "kibot.zip"
    path.write_bytes(zipped(b"01/15/2024,09:30:00,189.11,100\n", "MSFT.txt"))
    assert read(open_source(str(path), None, ReadOptions("kibot")))[0] == ["MSFT 2024-01-15T14:30:00 189.11 100 0"]
    options: Sequence[ReadOptions] = [ReadOptions("kibot", symbol="X"), ReadOptions("kibot", {"symbol": "size"})]
    assert [read(open_source(str(path), None, each))[0][0].split(" ")[0] for each in options] == ["X", "MSFT"]
