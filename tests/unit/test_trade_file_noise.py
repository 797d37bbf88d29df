"""Random trade files and error messages: each row is valid or rejected with a reason, and messages are printable."""

import io
import re
from contextlib import redirect_stderr
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
from helpers.noise import BYTES, MAX_MESSAGE_LENGTH, TRADE_JSON, damaged, steady
from hypothesis import example, given
from hypothesis import strategies as st

from market_data.cli import console
from market_data.cli.data.csv_files import CsvSource
from market_data.cli.data.parquet import ParquetSource
from market_data.cli.data.presets import PRESETS
from market_data.cli.data.read_options import ReadOptions
from market_data.cli.data.trade_batches import validated_batches
from market_data.cli.data.trade_files import NdjsonSource
from market_data.cli.data.trade_source import Source
from market_data.errors import CommandFailed
from market_data.trade_validation import SYMBOL

LINE = re.compile(r"(\d+)\t([^\t\\]+)\t([^\t\\]+)\t(-?\d+)\t([\d.]+)\t([\d.]+)")
"""A line of COPY data, without characters that COPY would interpret as a separator or an escape."""


def assert_one_line(text: str) -> None:
    """Assert that a command prints this error as one short line without control characters."""
    output = io.StringIO()
    with redirect_stderr(output):
        console.progress(text)
    line = output.getvalue().removesuffix("\n")
    assert line.isprintable()
    assert len(line) <= MAX_MESSAGE_LENGTH


def assert_valid_or_rejected(source: Source) -> None:
    """Assert that each row of a file is valid or rejected with a reason, or that the file is rejected in one line."""
    with source:
        try:
            for batch in validated_batches(source):
                lines = batch.parts[0].data.decode().splitlines(keepends=True)
                assert len(lines) == batch.parts[0].rows
                assert len(lines) + len(batch.rejected) <= len(batch.block.rows)
                for line in lines:
                    fields = LINE.fullmatch(line.removesuffix("\n"))
                    assert fields, line
                    assert SYMBOL.fullmatch(fields[2])
                    assert -(2**63) <= int(fields[4]) < 2**63
                    assert Decimal(fields[5]) > 0
                    assert Decimal(fields[6]) >= 0
                assert all(len(reason) <= MAX_MESSAGE_LENGTH and "\n" not in reason for reason in batch.rejected.values())
        except CommandFailed as error:
            assert_one_line(str(error))


CSV = b"symbol,timestamp,price,volume,trade_id\nAAPL,2026-02-08T10:30:00.5Z,1.5,2,7\nA,2026-02-08T10:30:00+01:00,1,0,8\n"


@steady
@given(BYTES | damaged(CSV) | damaged(CSV.replace(b",", b"\t")))
@example(CSV + b"A\\N,2026-02-08T10:30:00Z,1,1,1\n")
@example(CSV + b"AAPL\t1,2026-02-08T10:30:00Z,1,1,1\n")
def test_any_csv_has_valid_or_rejected_rows(data: bytes):
    assert_valid_or_rejected(CsvSource("x", io.BytesIO(data)))
    assert_valid_or_rejected(CsvSource("x", io.BytesIO(CSV + data)))


VENDOR_ROWS = {
    "binance": b"51175358,17.8,5.69,101.2,1736899200123456,True,True\n",
    "databento": b"ts_event,action,price,size,symbol\n1696000335227854084,T,259900000,8,GCTK\n",
    "kibot": b"01/15/2024,09:30:00.5,189.11,189.10,189.12,100\n",
    "kraken": b"1700000000.1234,36500.1,-0.001\n",
    "massive": b"ticker,correction,participant_timestamp,price,size\nMSFT,0,1679990400018025984,276.16,55\n",
    "tardis": b"symbol,timestamp,id,price,amount\nBTCUSDT,1640995200000000,7001,50000.0,1.0\n",
}


@steady
@given(st.sampled_from(sorted(PRESETS)), st.data())
def test_any_file_read_with_a_preset_has_valid_or_rejected_rows(preset: str, data: st.DataObject):
    text = data.draw(BYTES | damaged(VENDOR_ROWS[preset] * 2))
    options = ReadOptions(preset, symbol="A" if preset in {"binance", "kibot", "kraken"} else None)
    assert_valid_or_rejected(CsvSource("x", io.BytesIO(text), options))
    assert_valid_or_rejected(CsvSource("x", io.BytesIO(VENDOR_ROWS[preset] + text), options))
    assert_valid_or_rejected(CsvSource("x", io.BytesIO((VENDOR_ROWS[preset] + text).decode("latin-1").encode("utf-16"))))


@steady
@given(damaged(CSV.replace(b"Z", b"").replace(b",", b";").replace(b"1.5", b"1.500,5")))
def test_any_spreadsheet_has_valid_or_rejected_rows(data: bytes):
    assert_valid_or_rejected(CsvSource("x", io.BytesIO(data), ReadOptions(timezone=ZoneInfo("America/New_York"))))


@steady
@given(BYTES | damaged(TRADE_JSON + b"\n" + TRADE_JSON))
def test_any_ndjson_has_valid_or_rejected_rows(data: bytes):
    assert_valid_or_rejected(NdjsonSource("x", io.BytesIO(data)))


def parquet(**columns: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


PARQUET = parquet(
    symbol=["AAPL", "MSFT"],
    timestamp=pa.array([0, 1770546600123456], pa.timestamp("us", "UTC")),
    price=[1.5, 1e-7],
    volume=[Decimal("2.50"), Decimal("0.00")],
    trade_id=[1, 2],
)


@steady
@given(st.binary(max_size=60) | damaged(PARQUET) | st.integers(0, len(PARQUET)).map(lambda end: PARQUET[:end]))
def test_any_parquet_file_has_valid_or_rejected_rows(data: bytes):
    assert_valid_or_rejected(ParquetSource("x", io.BytesIO(data)))


@steady
@given(st.text(st.characters(blacklist_categories=[]), max_size=20))
@example("\x1b]0;owned\x07\udcff\u202e")
def test_control_characters_are_escaped_on_the_terminal(text: str):
    assert_one_line(text.replace("\n", ""))


COLUMNS = st.sampled_from(
    [
        pa.array([True, None]),
        pa.array([b"\xff", b"1"]),
        pa.array([[1], None]),
        pa.array([{"a": 1}, None]),
        pa.array([float("inf"), float("nan")]),
        pa.array([2**63, 2**64 - 1], pa.uint64()),
        pa.array([0, 2**62], pa.timestamp("s")),
        pa.array([0, -(2**62)], pa.timestamp("ms", "Europe/Berlin")),
        pa.array([0, 1], pa.date32()),
        pa.array([0, 1], pa.duration("ns")),
        pa.array([0, 1], pa.time64("us")),
        pa.array([None, None]),
        pa.array(["a\tb\nc\\N", "\0"]),
        pa.array(["AAPL", "AAPL"]).dictionary_encode(),
        pa.array([Decimal("1e38"), Decimal(-1)], pa.decimal256(60, 5)),
    ]
)


@steady
@given(COLUMNS, COLUMNS, COLUMNS, COLUMNS, COLUMNS)
def test_parquet_columns_of_any_type_have_valid_or_rejected_rows(
    symbol: Any, timestamp: Any, price: Any, volume: Any, trade_id: Any
):
    data = parquet(symbol=symbol, timestamp=timestamp, price=price, volume=volume, trade_id=trade_id)
    assert_valid_or_rejected(ParquetSource("x", io.BytesIO(data)))
