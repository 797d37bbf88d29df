"""Trade files as vendors and spreadsheets write them: layouts, times, numbers and encodings."""

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market_data.cli.data.csv_files import CsvSource
from market_data.cli.data.presets import PRESETS
from market_data.cli.data.read_options import ReadOptions
from market_data.cli.data.trade_batches import validated_batches
from market_data.cli.data.trade_files import open_source
from market_data.cli.data.trade_source import Source
from market_data.errors import CommandFailed
from market_data.trade_validation import rfc3339

NEW_YORK = ReadOptions(timezone=ZoneInfo("America/New_York"))
PLAIN = "symbol,time,price,volume\n"


def read(source: Source) -> tuple[list[str], dict[int, str]]:
    """Return the rows for the database, and the reasons of the rejected rows by line."""
    rows: dict[int, str] = {}
    reasons: dict[int, str] = {}
    for batch in validated_batches(source):
        for line in batch.parts[0].data.decode().splitlines():
            index, symbol, time, trade_id, price, volume = line.split("\t")
            moment = datetime.fromisoformat(time).replace(tzinfo=UTC)
            rows[batch.block.line + int(index)] = f"{symbol} {rfc3339(moment)} {price} {volume} {trade_id}"
        reasons |= {batch.block.line + index: reason for index, reason in batch.rejected.items()}
    return [rows[line] for line in sorted(rows)], reasons


def read_csv(text: str | bytes, options: ReadOptions | None = None) -> tuple[list[str], dict[int, str]]:
    return read(CsvSource("test", io.BytesIO(text if isinstance(text, bytes) else text.encode()), options))


def times(options: ReadOptions, *texts: str) -> list[str]:
    """Return the stored times, or the reasons why they are rejected."""
    rows, reasons = read_csv(PLAIN + "".join(f'A,"{text}",1.5,1\n' for text in texts), options)
    assert len(rows) + len(reasons) == len(texts)
    return [row.split(" ")[1] for row in rows] + [reasons[line].partition(": ")[2] for line in sorted(reasons)]


VENDOR_FILES: Sequence[tuple[str, str, str, Sequence[str]]] = [
    (
        "binance",
        "BNBUSDT-trades-2025-01-15.csv",
        "51175358,17.80180000,5.69000000,101.29224200,1736899200123456,True,True\n",
        ["BNBUSDT 2025-01-15T00:00:00.123456Z 17.80180000 5.69000000 51175358"],
    ),
    (
        "binance",
        "BTCUSDT_240329-trades-2024-01-15.csv",
        "id,price,qty,quote_qty,time,is_buyer_maker\n4500000001,42000.1,0.002,84.0002,1705276800123,true\n",
        ["BTCUSDT_240329 2024-01-15T00:00:00.123000Z 42000.1 0.002 4500000001"],
    ),
    (
        "binance",
        "ETHUSDT-aggTrades-2024-01.csv",
        "26129,0.01633102,4.70443515,27781,27782,1498793709153,true\n",
        ["ETHUSDT 2017-06-30T03:35:09.153000Z 0.01633102 4.70443515 26129"],
    ),
    (
        "kraken",
        "XBTUSD.csv",
        "1700000000.1234,36500.1,0.00100000\n1700000000.1234,36500.2,1e-8\n1700000001,36500.3,2\n",
        [
            "XBTUSD 2023-11-14T22:13:20.123400Z 36500.1 0.00100000 0",
            "XBTUSD 2023-11-14T22:13:20.123400Z 36500.2 0.00000001 1",
            "XBTUSD 2023-11-14T22:13:21Z 36500.3 2 0",
        ],
    ),
    (
        "databento",
        "pretty.csv",
        "ts_recv,ts_event,action,price,size,sequence,symbol\n"
        "2023-09-29T13:52:15.228370773Z,2023-09-29T13:52:15.227854084Z,T,0.259900000,8,1,GCTK\n"
        "2023-09-29T13:52:15.228370773Z,2023-09-29T13:52:15.227854084Z,T,0.260000000,9,1,GCTK\n",
        ["GCTK 2023-09-29T13:52:15.227854Z 0.259900000 8 0", "GCTK 2023-09-29T13:52:15.227854Z 0.260000000 9 1"],
    ),
    (
        "databento",
        "raw.csv",
        "ts_event,action,price,size,symbol\n1696000335227854084,T,259900000,8,GCTK\n1696000335227854084,T,4500250000000,1,ESZ3\n",
        ["GCTK 2023-09-29T15:12:15.227854Z 0.259900000 8 0", "ESZ3 2023-09-29T15:12:15.227854Z 4500.250000000 1 0"],
    ),
    (
        "databento",
        "spreads.csv",
        "ts_event,action,price,size,symbol\n1696000335227854084,T,-37630000000,8,CLK0-CLM0\n"
        "1696000335227854084,T,-500000,1,CLK0-CLM0\n1696000335227854084,T,-0.250000000,1,CL:C1 HO-CL\n",
        [
            "CLK0-CLM0 2023-09-29T15:12:15.227854Z -37.630000000 8 0",
            "CLK0-CLM0 2023-09-29T15:12:15.227854Z -0.000500000 1 1",
            "CL:C1 HO-CL 2023-09-29T15:12:15.227854Z -0.250000000 1 0",
        ],
    ),
    (
        "massive",
        "2023-03-28.csv",
        "ticker,conditions,correction,exchange,id,participant_timestamp,price,sequence_number,sip_timestamp,size\n"
        'MSFT,"12,37",0,11,1,1679990400018025984,276.16,1550,1679990400018381329,55\n'
        "MSFT,12,0,12,1,1679990400018025984,276.17,1551,1679990400018381329,5\n",
        ["MSFT 2023-03-28T08:00:00.018025Z 276.16 55 1550", "MSFT 2023-03-28T08:00:00.018025Z 276.17 5 1551"],
    ),
    (
        "tardis",
        "bitmex_trades_2020-03-01_XBTUSD.csv",
        "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n"
        "bitmex,XBTUSD,1583020803145000,1583020803307160,ccc3c1fa-212c-e8b0-1706-9b9c4f3d5ecf,sell,8531.5,2152\n"
        "bitmex,XBTUSD,1583020803145000,1583020803307160,ddd4d2fb-313d-f9c1-2807-aca5d4e6d6d0,buy,8532,10\n",
        ["XBTUSD 2020-03-01T00:00:03.145000Z 8531.5 2152 0", "XBTUSD 2020-03-01T00:00:03.145000Z 8532 10 1"],
    ),
    (
        "tardis",
        "binance_trades_2022-01-01_BTCUSDT.csv",
        "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n"
        "binance,BTCUSDT,1640995200000000,1640995200100000,7001,buy,50000.0,1.0\n",
        ["BTCUSDT 2022-01-01T00:00:00Z 50000.0 1.0 7001"],
    ),
    (
        "kibot",
        "IVE_tickbidask.txt",
        "01/15/2024,09:30:00,189.11,189.10,189.12,100\n07/15/2024,09:30:00.1239999,190.5,190.4,190.6,200\n",
        ["IVE 2024-01-15T14:30:00Z 189.11 100 0", "IVE 2024-07-15T13:30:00.123999Z 190.5 200 0"],
    ),
    ("kibot", "BRK.B.txt", "01/15/2024,09:30:00,189.11,100\n", ["BRK.B 2024-01-15T14:30:00Z 189.11 100 0"]),
]


@pytest.mark.parametrize(("preset", "name", "text", "expected"), VENDOR_FILES, ids=lambda value: str(value)[:24])
def test_presets_read_the_files_of_vendors(preset: str, name: str, text: str, expected: Sequence[str], tmp_path: Path):
    path = tmp_path / name
    path.write_text(text)
    assert read(open_source(str(path), None, ReadOptions(preset))) == (expected, {})


def test_each_preset_has_a_test():
    assert {preset for preset, *_ in VENDOR_FILES} == set(PRESETS)


def test_rows_of_vendors_that_are_no_trades_are_rejected():
    rows, reasons = read_csv(
        "ticker,correction,participant_timestamp,price,size,sequence_number\n"
        "A,1,1679990400018025984,1.5,5,1\nA,8,1679990400018025984,1.5,5,2\n",
        ReadOptions("massive"),
    )
    assert (len(rows), reasons) == (1, {3: "is not a trade: correction is '8'"})
    rows, reasons = read_csv(
        "ts_event,action,price,size,symbol\n1696000335227854084,A,1.500000000,8,A\n", ReadOptions("databento")
    )
    assert (rows, reasons) == ([], {2: "is not a trade: action is 'A'"})
    with pytest.raises(CommandFailed, match="contains quotes"):
        read_csv("ts_event,price,size,symbol,bid_px_00,ask_px_00\n", ReadOptions("databento"))


def test_the_header_of_a_vendor_is_recognized():
    with pytest.raises(CommandFailed, match=r"no column timestamp; .*\. The columns are those of --preset massive\."):
        read_csv("ticker,participant_timestamp,price,size\n")
    with pytest.raises(CommandFailed, match="has no header line; choose --preset kibot, or give the numbers"):
        read_csv("01/15/2024,09:30:00,189.11,189.10,189.12,100\n")
    with pytest.raises(CommandFailed, match="the columns of --preset kraken, such as timestamp,price,volume"):
        read_csv("AAPL,5,A,7\n", ReadOptions("kraken"))
    with pytest.raises(CommandFailed, match=r"no column symbol; .* Set it with --symbol SYMBOL\."):
        read_csv("1700000000.5,36500.1,1\n", ReadOptions("kraken"))


def test_the_unit_of_epochs_shows_in_their_magnitude():
    moment = "2023-11-14T22:13:20"
    assert times(ReadOptions(), "1700000000", "1700000000123", "1700000000123456", "1700000000123456789") == [
        f"{moment}Z",
        f"{moment}.123000Z",
        f"{moment}.123456Z",
        f"{moment}.123456Z",
    ]
    assert times(ReadOptions(), "1700000000.", "1700000000.1", "1700000000.123456999", "1700000000123.4567") == [
        f"{moment}Z",
        f"{moment}.100000Z",
        f"{moment}.123456Z",
        f"{moment}.123456Z",
    ]
    assert times(ReadOptions(), "99999999999", "100000000000") == ["5138-11-16T09:46:39Z", "1973-03-03T09:46:40Z"]
    assert times(ReadOptions(time_format="s"), "20260208", "0.5") == ["1970-08-23T11:50:08Z", "1970-01-01T00:00:00.500000Z"]
    assert times(ReadOptions(time_format="ns"), "1700000000123456789", "x")[1].startswith("must be an epoch")


@settings(derandomize=True, deadline=None, database=None, max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**64).map(str)
            | st.integers(10**8, 2 * 10**9).map(str)
            | st.sampled_from(["0", "007", "9" * 19]),
            st.sampled_from(["", ".", ".5", ".1234567"]),
            st.sampled_from(["-", ""]),
        ),
        min_size=1,
        max_size=10,
    )
)
def test_epochs_read_as_columns_are_the_same_as_epochs_read_one_by_one(epochs: list[tuple[str, str, str]]):
    lines = ["A,1700000000,1,1\n", *(f"A,{whole}{fraction},1.5,{sign}2\n" for whole, fraction, sign in epochs)]
    one_by_one = [line.replace(",1700000000,", ",2023-11-14T22:13:20Z,") for line in lines]
    assert read_csv(PLAIN + "".join(lines)) == read_csv(PLAIN + "".join(one_by_one))


def test_local_times_follow_daylight_saving_time():
    assert times(NEW_YORK, "2024-01-15 09:30:00", "2024-07-15T09:30:00.1234567", "2024-07-15T09:30:00Z") == [
        "2024-01-15T14:30:00Z",
        "2024-07-15T13:30:00.123456Z",
        "2024-07-15T09:30:00Z",
    ]
    assert times(NEW_YORK, "2024-03-10 01:59:59.999999", "2024-03-10 03:00:00") == [
        "2024-03-10T06:59:59.999999Z",
        "2024-03-10T07:00:00Z",
    ]
    assert times(NEW_YORK, "2024-11-03 00:59:59", "2024-11-03 02:00:00") == ["2024-11-03T04:59:59Z", "2024-11-03T07:00:00Z"]


def test_local_times_that_are_skipped_or_repeated_are_rejected():
    skipped, repeated, unzoned, midnight = (
        *times(NEW_YORK, "2024-03-10 02:30:00", "2024-11-03 01:30:00"),
        *times(ReadOptions(), "2024-01-15 09:30:00"),
        *times(NEW_YORK, "2024-01-15 24:00:00"),
    )
    assert skipped == "does not exist in America/New_York, where clocks were set forward: '2024-03-10 02:30:00'"
    assert "exists twice in America/New_York, where clocks were set back; add its offset, such as -04:00" in repeated
    assert unzoned.startswith("has no time zone; set it with --timezone")
    assert midnight.startswith("is a time that does not exist")


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [
        ("%d.%m.%Y %H:%M:%S", "15.01.2024 09:30:00,123", "2024-01-15T14:30:00.123000Z"),
        ("%d.%m.%Y %H:%M:%S", "15.01.2024 09:30:00", "2024-01-15T14:30:00Z"),
        ("%Y%m%d%H%M%S", "20240115093000", "2024-01-15T14:30:00Z"),
        ("%Y%m%d %H:%M:%S.%f", "20240115 09:30:00.123456789", "2024-01-15T14:30:00.123456Z"),
        ("%d/%m/%y %I:%M %p %z", "15/01/24 09:30 PM +0100", "2024-01-15T20:30:00Z"),
        ("%d.%m.%Y", "32.01.2024", "is no time of the form %d.%m.%Y: '32.01.2024'"),
    ],
)
def test_times_of_other_forms_are_read_with_a_format(form: str, text: str, expected: str):
    assert times(NEW_YORK._replace(time_format=form), text) == [expected]


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        (["189,11;1.000", "1.189,5;2"], ["189.11 1000.0", "1189.5 2.0"]),
        (["1.189,11;1.000"], ["1189.11 1000.0"]),
        (["1,189.11;1,000", "12 189.5;2"], ["1189.11 1000", "12189.5 2"]),
        (["1'189.11;-1'000.5", "1.5;-2e1"], ["1189.11 1000.5", "1.5 20.0"]),
        (["1.500;2", "1.5;1,000"], ["1.500 2", "1.5 1000"]),
        (["189,11;-,5", "5e-1;1,5E2"], ["189.11 0.5", "0.5 150.0"]),
        (["1.234.567;1"], ["1234567.0 1.0"]),
    ],
)
def test_the_decimal_mark_is_detected(numbers: list[str], expected: list[str]):
    text = "symbol;time;price;volume\n" + "".join(f"A;2026-02-08T10:30:00Z;{each}\n" for each in numbers)
    rows, reasons = read_csv(text)
    assert reasons == {}
    assert [" ".join(row.split(" ")[2:4]) for row in rows] == expected


def test_numbers_that_contradict_the_decimal_mark_are_rejected():
    lines = ["1,5;1", "1.5;1", "1.23,5;1", "1,2,3;1", ";1", ",;1"]
    text = "symbol;time;price;volume\n" + "".join(f"A;2026-02-08T10:30:00Z;{each}\n" for each in lines)
    rows, reasons = read_csv(text, ReadOptions(decimal=","))
    assert [row.split(" ")[2:] for row in rows] == [["1.5", "1.0", "0"]]
    assert sorted(reasons) == [3, 4, 5, 6, 7]
    assert reasons[3] == "price: must be a number with a decimal comma, such as 270,15, not '1.5'"


@pytest.mark.parametrize("numbers", [["1,234;5"], ["1,5;1.234"], ["1,234;1.234"]])
def test_ambiguous_decimal_marks_must_be_set(numbers: list[str]):
    text = "symbol;time;price;volume\n" + "".join(f"A;2026-02-08T10:30:00Z;{each}\n" for each in numbers)
    with pytest.raises(CommandFailed, match=r"set the decimal mark with --decimal , or --decimal \."):
        read_csv(text)
    assert read_csv(text, ReadOptions(decimal=","))[1] == {}


def test_a_comma_after_rows_without_one_is_rejected():
    rows, reasons = read_csv(PLAIN + "A,2026-02-08T10:30:00Z,5,1\n" * 2000 + 'A,2026-02-08T10:30:00Z,"1,234",1\n')
    assert (len(rows), reasons) == (2000, {2002: "price: must be a number such as 270.15, not '1,234'"})
