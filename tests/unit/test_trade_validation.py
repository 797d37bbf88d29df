"""Validation of the rows of trade files."""

import io
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market_data.cli.data.csv_files import CsvSource
from market_data.cli.data.trade_batches import validated_batches
from market_data.cli.data.trade_files import NdjsonSource, open_source
from market_data.cli.data.trade_source import Block, Source
from market_data.errors import CommandFailed

HEADER = "symbol,timestamp,price,volume,trade_id\n"
GOOD = ("AAPL", "2026-02-08T10:30:00Z", "1.5", "2", "7")


def read_csv(text: str) -> tuple[list[list[str]], dict[int, str]]:
    """Return the rows for the database, and the reasons of the rejected rows by line."""
    return _read(CsvSource("test", io.BytesIO(text.encode("utf-8", "surrogateescape"))))


def read_json(*lines: str) -> tuple[list[list[str]], dict[int, str]]:
    return _read(NdjsonSource("test", io.BytesIO("\n".join(lines).encode())))


def _read(source: Source) -> tuple[list[list[str]], dict[int, str]]:
    rows: list[list[str]] = []
    reasons: dict[int, str] = {}
    for batch in validated_batches(source):
        lines = [line.split("\t") for line in batch.parts[0].data.decode().splitlines()]
        for _, symbol, time, *numbers in sorted(lines, key=lambda line: int(line[0])):
            rows.append([symbol, datetime.fromisoformat(time).isoformat(), *numbers])
        reasons |= {batch.block.line + index: reason for index, reason in batch.rejected.items()}
    return rows, reasons


def reason(**fields: str) -> str:
    """Return the reason why a row with these fields is rejected."""
    row = dict(zip(HEADER.strip().split(","), GOOD, strict=True)) | fields
    rows, reasons = read_csv(HEADER + ",".join(row.values()))
    assert rows == []
    return reasons[2]


def test_columns_are_found_by_name_in_any_order():
    rows, reasons = read_csv(
        "note,Volume, PRICE,time,symbol\n"
        "x,2,1.50,2026-02-08T10:30:00.25Z,aapl\n"
        "x,3,1.60,2026-02-08T10:30:00.1234567Z,aapl\n"
        '"a,""b",1,2,2026-02-08 12:30:00+02:00,MSFT\r\n'
    )
    assert rows == [
        ["AAPL", "2026-02-08T10:30:00.250000+00:00", "0", "1.50", "2"],
        ["AAPL", "2026-02-08T10:30:00.123456+00:00", "0", "1.60", "3"],
        ["MSFT", "2026-02-08T10:30:00+00:00", "0", "2", "1"],
    ]
    assert reasons == {}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"symbol": ""}, "symbol: is missing"),
        ({"price": " "}, "price: is missing"),
        ({"trade_id": ""}, "trade_id: is missing"),
        ({"symbol": "A  B"}, "symbol: must be 1 to 64 letters"),
        ({"symbol": "A" * 65}, "symbol: must be 1 to 64 letters"),
        ({"symbol": "A;B"}, "symbol: must be 1 to 64 letters"),
        ({"symbol": "Ä"}, "symbol: must be"),
        ({"timestamp": "2026-02-08T10:30:00"}, "timestamp: has no time zone"),
        ({"timestamp": "2026-02-08"}, "timestamp: must be a time such as"),
        ({"timestamp": "2026"}, "timestamp: may be a date or an epoch; set its form with --time-format"),
        ({"timestamp": "20260208"}, "timestamp: may be a date or an epoch"),
        ({"timestamp": "20260208103000"}, "timestamp: may be a date or an epoch"),
        ({"timestamp": "1.7705466E9"}, "timestamp: must be a time such as"),
        ({"timestamp": "08/02/2026 10:30:00"}, "timestamp: must be a time such as"),
        ({"timestamp": "2026-02-30T10:30:00Z"}, "timestamp: is a time that does not exist"),
        ({"timestamp": "2026-02-08T24:00:00Z"}, "timestamp: is a time that does not exist"),
        ({"timestamp": "2026-02-08T10:30:60Z"}, "timestamp: is a time that does not exist"),
        ({"timestamp": "2026-02-08T10:60:00Z"}, "timestamp: is a time that does not exist"),
        ({"timestamp": "2026-02-08T10:30:00+01:60"}, "timestamp: is a time that does not exist"),
        ({"timestamp": "0000-02-08T10:00:00Z"}, "timestamp: is a time that does not exist"),
        ({"timestamp": "0001-01-01T00:00:00+01:00"}, "timestamp: is a time that does not exist"),
        ({"timestamp": "9999-12-31T23:59:59-01:00"}, "timestamp: is a time that does not exist"),
        ({"timestamp": "2026-02-08T10:30:00+24:00"}, "timestamp: is a time that does not exist"),
        ({"price": "NaN"}, "price: must be a number"),
        ({"price": "Infinity"}, "price: must be a number"),
        ({"price": "1e30"}, "price: must be less than 1e30"),
        ({"price": "1e999999999"}, "price: must be less than 1e30"),
        ({"price": "1e-31"}, "price: must have at most 30 decimal places"),
        ({"price": "1e-999999999"}, "price: must have at most 30 decimal places"),
        ({"price": "-1e30"}, "price: must be greater than -1e30"),
        ({"price": "-1e-31"}, "price: must have at most 30 decimal places"),
        ({"price": "1e"}, "price: must be a number"),
        ({"price": "1_000"}, "price: must be a number"),
        ({"price": "1" + 30 * "0"}, "price: must be less than 1e30"),
        ({"price": "0." + 30 * "0" + "1"}, "price: must have at most 30 decimal places"),
        ({"volume": "--1"}, "volume: must be a number"),
        ({"volume": "x"}, "volume: must be a number"),
        ({"trade_id": "1.5"}, "trade_id: must be a whole number of 64 bits"),
        ({"trade_id": "9223372036854775808"}, "trade_id: must be a whole number of 64 bits"),
    ],
)
def test_a_rejected_row_names_the_invalid_field(fields: dict[str, str], expected: str):
    assert reason(**fields).startswith(expected)


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2026-02-08T23:59:59Z", "2026-02-08T23:59:59+00:00"),
        ("2026-02-08T23:30:00+23:00", "2026-02-08T00:30:00+00:00"),
        ("2026-02-08T23:30:00+00:59", "2026-02-08T22:31:00+00:00"),
        ("2026-02-08T00:30:00-23:59", "2026-02-09T00:29:00+00:00"),
        ("2026-02-08T23:30:00.5+01", "2026-02-08T22:30:00.500000+00:00"),
        ("2026-02-08T23:30:00.5+0130", "2026-02-08T22:00:00.500000+00:00"),
    ],
)
def test_times_in_other_zones_are_accepted(time: str, expected: str):
    rows, reasons = read_csv(f"{HEADER}AAPL,{time},1,1,1\n")
    assert (rows, reasons) == ([["AAPL", expected, "1", "1", "1"]], {})


@pytest.mark.parametrize("price", ["-37.63", "0", "-0.00", "-1e-8", "-.5", f"-{'9' * 30}.{'9' * 30}"])
def test_prices_of_zero_and_less_are_left_to_the_database(price: str):
    rows, reasons = read_csv(f"{HEADER}CL,2020-04-20T18:30:00Z,{price},1,1\n")
    assert reasons == {}
    assert Decimal(rows[0][3]) == Decimal(price)


@pytest.mark.parametrize(
    "symbol", ["BINANCE:BTCUSDT", "es 03-26", "AAPL US Equity", ".spx", "A" * 64, "M&M", "ES1!", "ES #F"]
)
def test_symbols_of_other_systems_are_accepted(symbol: str):
    rows, reasons = read_csv(f"{HEADER}{symbol},2026-02-08T10:30:00Z,1,1,1\n")
    assert ([row[0] for row in rows], reasons) == ([symbol.upper()], {})


def test_numbers_in_unusual_forms_are_accepted_exactly():
    rows, reasons = read_csv(
        HEADER
        + "A,2026-02-08T10:30:00Z,+001.50,.5,-9223372036854775808\n"
        + f"A,2026-02-08T10:30:00Z,{'0' * 40}1.,-0.0,+9223372036854775807\n"
        + f"A,2026-02-08T10:30:00Z,{'9' * 30}.{'9' * 30},0,1\n"
        + "A,2026-02-08T10:30:00Z,1e-8,1.23456789E+2,2\n"
        + f"A,2026-02-08T10:30:00Z,{'9' * 30}e-30,0e-999999999,3\n"
    )
    assert reasons == {}
    assert [row[2:] for row in rows] == [
        ["-9223372036854775808", "1.5", "0.5"],
        ["9223372036854775807", "1.0", "0.0"],
        ["1", f"{'9' * 30}.{'9' * 30}", "0"],
        ["2", "0.00000001", "123.456789"],
        ["3", f"0.{'9' * 30}", "0.0"],
    ]


def test_malformed_lines_are_rejected_one_by_one():
    good = ",".join(GOOD)
    rows, reasons = read_csv(f'{HEADER}{good}\nAAPL,1\n\n{good},8\n"AAPL,{good}\n\udcff\udcfe\n{good}\n')
    assert len(rows) == 2
    assert reasons == {
        3: "has 2 fields, but the header has 5",
        5: "has 6 fields, but the header has 5",
        6: "is not valid CSV: a quote is not closed, or is inside a field",
        7: "has 1 fields, but the header has 5",
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "has no column symbol; it has none"),
        ("a,b\n", "it has a, b"),
        ("symbol,time,timestamp,price,volume\n", "timestamp twice"),
    ],
)
def test_a_header_without_a_required_column_fails(text: str, expected: str):
    with pytest.raises(CommandFailed, match=expected):
        read_csv(text)


def test_ndjson_keeps_the_digits_of_numbers():
    rows, reasons = read_json(
        '{"symbol":"aapl","timestamp":"2026-02-08T10:30:00Z","price":0.10000000000000000000001,"volume":"5","more":[1]}',
        "{",
        "[1]",
        '{"symbol":"AAPL","time":"2026-02-08T10:30:00Z","price":null,"volume":5}',
        '{"symbol":"AAPL","time":"2026-02-08T10:30:00Z","price":1e2,"volume":5}',
        '{"symbol":["AAPL"],"time":"2026-02-08T10:30:00Z","price":1,"volume":5}',
    )
    assert rows == [
        ["AAPL", "2026-02-08T10:30:00+00:00", "0", "0.10000000000000000000001", "5"],
        ["AAPL", "2026-02-08T10:30:00+00:00", "1", "100.0", "5"],
    ]
    assert reasons[2] == reasons[3] == "is not a JSON object"
    assert reasons[4] == "price: is missing"
    assert 5 not in reasons
    assert reasons[6].startswith("symbol: must be")


def test_either_all_rows_have_a_trade_id_or_none_has():
    head = '{"symbol":"AAPL","time":"2026-02-08T10:30:00Z","price":1,"volume":5'
    numbered, unnumbered = f'{head},"trade_id":7}}', f"{head}}}"
    rows, reasons = read_json(unnumbered, numbered, unnumbered)
    assert [row[2] for row in rows] == ["0", "1"]
    assert reasons == {2: "trade_id: must be missing, as in the first row, because the rows are numbered"}
    rows, reasons = read_json("{", numbered, unnumbered, numbered)
    assert [row[2] for row in rows] == ["7", "7"]
    assert reasons == {1: "is not a JSON object", 3: "trade_id: is missing"}


@settings(derandomize=True, deadline=None, database=None)
@given(st.lists(st.tuples(st.sampled_from("AB"), st.integers(-6, 6), st.booleans()), max_size=60))
def test_trades_without_trade_id_are_numbered_in_file_order_per_symbol_and_instant(
    trades: Sequence[tuple[str, int, bool]],
):
    start = datetime(2026, 2, 8, tzinfo=UTC)
    lines = [f"{symbol},{(start + timedelta(seconds=s)).isoformat()},1,{1 if fine else 'x'}\n" for symbol, s, fine in trades]
    rows, _ = read_csv("symbol,time,price,volume\n" + "".join(lines))
    seen: dict[tuple[str, int], int] = {}
    expected: list[int] = []
    for symbol, second, fine in trades:
        number = seen[symbol, second] = seen.get((symbol, second), -1) + 1
        if fine:
            expected.append(number)
    assert [int(row[2]) for row in rows] == expected


def test_parquet_times_and_numbers_are_exact(tmp_path: Path):
    path = tmp_path / "trades.parquet"
    table = pa.table(
        {
            "price": pa.array([0.1, 1e-7, None, float("nan")], pa.float64()),
            "volume": pa.array([Decimal("1.50"), Decimal("0.00"), Decimal("2.00"), Decimal("1.00")], pa.decimal128(10, 2)),
            "timestamp": pa.array([1770546600123456789, -1, 0, 0], pa.timestamp("ns", "Europe/Berlin")),
            "symbol": pa.array(["AAPL", "MSFT", "AAPL", "AAPL"]).dictionary_encode(),
            "trade_id": pa.array([1, 2, 3, 4], pa.int64()),
            "other": pa.array([[1], None, None, None]),
        }
    )
    pq.write_table(table, path)
    with open_source(str(path), None) as source:
        rows, reasons = _read(source)
    assert rows == [
        ["AAPL", "2026-02-08T10:30:00.123456+00:00", "1", "0.1", "1.50"],
        ["MSFT", "1969-12-31T23:59:59.999999+00:00", "2", "0.0000001", "0.00"],
    ]
    assert reasons == {3: "price: is missing", 4: "price: must be a number such as 270.15, not 'nan'"}


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.ndjson", "x.jsonl.gz", "x.parquet"])
def test_random_text_is_read_or_fails_with_a_reason(tmp_path: Path, name: str):
    path = tmp_path / name
    path.write_bytes(b"\x00\xff\x1f\x8b{[\n\"'\r\n\x00" * 50)
    with open_source(str(path), None) as source:
        try:
            rows, reasons = _read(source)
        except CommandFailed as error:
            assert "\n" not in str(error)  # noqa: PT017 - an error is one of two valid outcomes
        else:
            assert rows == []
            assert reasons


def test_an_unknown_format_must_be_set(tmp_path: Path):
    with pytest.raises(CommandFailed, match="set it with --format csv, ndjson or parquet"):
        open_source(__file__, None)
    with pytest.raises(CommandFailed, match="can't be read: No such file"):
        open_source(str(tmp_path / "none.csv"), None)


def test_a_bom_is_skipped_and_a_json_line_in_csv_is_rejected():
    rows, _ = read_csv("\ufeff" + HEADER + ",".join(GOOD))
    assert rows == [["AAPL", "2026-02-08T10:30:00+00:00", "7", "1.5", "2"]]
    assert read_csv(HEADER + json.dumps({"symbol": "A"}))[0] == []


FIELDS: Sequence[Sequence[str]] = (
    ("AAPL", "a", "^GSPC", "", "A B", '"A"'),
    (
        *("2026-02-28 23:59:59.123456789+00:00", "2026-02-08T10:30:00.5Z", "2028-02-29T00:00:00Z", "2026-02-29T00:00:00Z"),
        *("2026-12-31T10:30:00.5+01:00", "2026-02-08t10:30:00z", "2026-04-31T00:00:00Z", "2026-02-08T10:30:00"),
    ),
    ("1.5", "0", "00.10", "1e-8", "9" * 31, "-1"),
    ("2", "0", "0.0", "-0", "x"),
    ("0", "-7", "+7", "9" * 18, "9" * 19, "", "1.0"),
)


@settings(derandomize=True, deadline=None, database=None, max_examples=500)
@given(st.lists(st.tuples(*map(st.sampled_from, FIELDS)).map(",".join), max_size=8), st.booleans())
def test_rows_validated_as_columns_are_the_same_as_rows_validated_one_by_one(lines: list[str], ids: bool):
    text = "\n".join(["symbol,timestamp,price,volume," + ("trade_id" if ids else "note"), *lines])

    class RowSource(CsvSource):
        def blocks(self) -> Iterator[Block]:
            for block in super().blocks():
                yield block._replace(lines=pa.nulls(len(block.rows), pa.binary()))

    data = text.encode()
    assert _read(CsvSource("x", io.BytesIO(data))) == _read(RowSource("x", io.BytesIO(data)))
