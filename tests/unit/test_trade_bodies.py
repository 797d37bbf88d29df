"""Trades of a request body, without a database."""

import json
import re
from decimal import Context, Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from market_data.api.http.decoding import InvalidFields, decode_fields
from market_data.api.http.trade_bodies import decode_array, decode_valid
from market_data.models_writes import TradeIn
from market_data.trade_validation import InvalidTrade, rfc3339

HEAD = b'{"symbol":"AAPL","timestamp":"2026-02-08T10:30:00Z"'

steady = settings(derandomize=True, deadline=None, database=None, max_examples=300)


def read(text: bytes) -> TradeIn | InvalidTrade:
    """Decode a trade field by field, and assert that decoding it as a whole returns the same trade or None."""
    as_a_whole = decode_valid(b"[" + text + b"]", decode_array)
    try:
        trade = decode_fields(TradeIn, text)
    except InvalidFields as invalid:
        assert not as_a_whole
        return invalid.problems[0]
    assert as_a_whole in (None, [trade])
    return trade


def with_numbers(price: str, volume: str = "1", trade_id: str = "0") -> TradeIn | InvalidTrade:
    return read(HEAD + f',"price":{price},"volume":{volume},"trade_id":{trade_id}}}'.encode())


NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,34})(\.[0-9]{1,34})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)


@steady
@given(NUMBERS, st.booleans())
@example("0.1", False)
@example("0.30000000000000004", False)
@example("1" + "0" * 29 + ".5", True)
@example("9" * 400, False)
@example("1e5", False)
@example("1e-8", False)
@example("6.44e-06", True)
@example("1e29", False)
@example("1e30", False)
@example("1.5e-30", False)
@example("0e999", True)
@example("-1e-30", True)
@example("-1e30", False)
@example("-0.0", False)
def test_number_is_read_exactly_or_refused_with_the_field_name(number: str, quoted: bool):
    text = json.dumps(number) if quoted else number
    row = with_numbers(text)
    written = Decimal(number)
    *_, exponent = written.normalize(Context(prec=500)).as_tuple()
    assert isinstance(exponent, int)
    fits = not written or (abs(written) < Decimal("1e30") and exponent >= -30)
    if fits:
        assert isinstance(row, TradeIn)
        assert row.price == written
    else:
        assert isinstance(row, InvalidTrade)
        assert row.part == "price"
    volume = with_numbers("1", text)
    assert isinstance(volume, TradeIn) == (fits and written >= 0)


@steady
@given(st.integers(-(2**65), 2**65), st.booleans())
@example(2**53 + 1, False)
@example(2**63, False)
@example(-(2**63), True)
def test_trade_id_keeps_all_digits(number: int, quoted: bool):
    row = with_numbers("1", "1", json.dumps(str(number) if quoted else number))
    if -(2**63) <= number < 2**63:
        assert isinstance(row, TradeIn)
        assert row.trade_id == number
    else:
        assert isinstance(row, InvalidTrade)
        assert row.part == "trade_id"


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2026-02-08T23:30:00+23:00", "2026-02-08T00:30:00Z"),
        ("2026-02-08T23:30:00+00:59", "2026-02-08T22:31:00Z"),
        ("2026-02-08T00:30:00.123456789-23:59", "2026-02-09T00:29:00.123456Z"),
        ("2026-02-08T23:59:59.999999999Z", "2026-02-08T23:59:59.999999Z"),
    ],
)
def test_time_is_read_in_utc(time: str, expected: str):
    row = read(f'{{"symbol":"A","timestamp":"{time}","price":1,"volume":1}}'.encode())
    assert isinstance(row, TradeIn)
    assert rfc3339(row.timestamp) == expected


@pytest.mark.parametrize(
    "time",
    [
        *("2026-02-08T10:30:60Z", "2026-02-08T10:60:00Z", "2026-02-08T24:00:00Z", "2026-02-30T10:30:00Z"),
        *("2026-02-08T10:30:00+24:00", "2026-02-08T10:30:00+01:60", "0001-01-01T00:00:00+00:01"),
    ],
)
def test_time_that_does_not_exist_is_refused(time: str):
    row = read(f'{{"symbol":"A","timestamp":"{time}","price":1,"volume":1}}'.encode())
    assert str(row) == f"timestamp: is a time that does not exist: '{time}'"


@steady
@given(st.text(max_size=20))
@example("\u0000")
@example("NaN")
@example("१")
def test_other_text_is_not_a_number(text: str):
    row = with_numbers(json.dumps(text))
    if isinstance(row, TradeIn):
        assert re.fullmatch(r"[+-]?[0-9]*\.?[0-9]*([eE][+-]?[0-9]+)?", text)
        assert row.price == Decimal(text)
    else:
        assert row.part == "price"


@steady
@given(
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["symbol", "price", "volume", "timestamp", "trade_id", "x"]), inner, max_size=6
            )
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_noise_is_refused_with_a_short_reason(text: bytes):
    row = read(text)
    assert isinstance(row, InvalidTrade)
    assert row.detail
    assert len(str(row)) < 300


@pytest.mark.timeout(5)
@pytest.mark.parametrize("field", ["symbol", "timestamp", "price", "volume", "trade_id"])
@pytest.mark.parametrize("piece", ["1", "0", "-", ".", "1.", "A", "2026-02-08T", " "])
def test_long_text_is_refused_quickly(field: str, piece: str):
    fields = {"symbol": "A", "timestamp": "2026-02-08T10:30:00Z", "price": "1", "volume": "1", "trade_id": "1"}
    row = read(json.dumps(fields | {field: piece * (1_000_000 // len(piece)) + "x"}).encode())
    assert isinstance(row, InvalidTrade)
    assert row.part == field
    assert len(str(row)) < 300
