"""Trades of a body, before the database sees them."""

import json
import re
from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from market_data.api.http.bodies import TradeReader
from market_data.trade_validation import InvalidTrade, NewTrade

HEAD = b'{"symbol":"AAPL","timestamp":"2026-02-08T10:30:00Z"'

steady = settings(derandomize=True, deadline=None, database=None, max_examples=300)


def read(text: bytes) -> NewTrade | InvalidTrade:
    """What becomes of one trade."""
    reader = TradeReader()
    reader.add(text)
    return reader.trades[0] if reader.trades else reader.rejected[0]


def with_numbers(price: str, volume: str = "1", trade_id: str = "0") -> NewTrade | InvalidTrade:
    return read(HEAD + f',"price":{price},"volume":{volume},"trade_id":{trade_id}}}'.encode())


NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,34})(\.[0-9]{1,34})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)


@steady
@given(NUMBERS, st.booleans())
@example("0.1", False)
@example("0.30000000000000004", False)
@example("1" + "0" * 29 + ".5", True)
@example("9" * 400, False)
@example("1e5", False)
def test_a_number_is_taken_as_it_is_written_or_refused_by_name(number: str, quoted: bool):
    text = json.dumps(number) if quoted else number
    row = with_numbers(text)
    whole, _, fraction = number.lstrip("-").partition(".")
    fits = (
        "e" not in number.lower()
        and len(whole.lstrip("0")) <= 30
        and len(fraction.rstrip("0")) <= 30
        and Decimal(number) > 0
    )
    if fits:
        assert isinstance(row, NewTrade)
        assert Decimal(row.price) == Decimal(number)
    else:
        assert isinstance(row, InvalidTrade)
        assert row.part == "price"
    volume = with_numbers("1", text)
    assert isinstance(volume, NewTrade) == (fits or re.fullmatch(r"-?0(\.0+)?", number) is not None)


@steady
@given(st.integers(-(2**65), 2**65), st.booleans())
@example(2**53 + 1, False)
@example(2**63, False)
@example(-(2**63), True)
def test_a_trade_id_keeps_all_its_digits(number: int, quoted: bool):
    row = with_numbers("1", "1", json.dumps(str(number) if quoted else number))
    if -(2**63) <= number < 2**63:
        assert isinstance(row, NewTrade)
        assert row.trade_id == number
    else:
        assert isinstance(row, InvalidTrade)
        assert row.part == "trade_id"


@steady
@given(st.text(max_size=20))
@example("\u0000")
@example("NaN")
@example("१")
def test_no_other_text_is_a_number(text: str):
    row = with_numbers(json.dumps(text))
    if isinstance(row, NewTrade):
        assert re.fullmatch(r"[+-]?[0-9]*\.?[0-9]*", text)
        assert Decimal(row.price) == Decimal(text)
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
def test_whatever_is_sent_is_read_or_refused(text: bytes):
    row = read(text)
    assert isinstance(row, InvalidTrade)
    assert row.detail
    assert len(str(row)) < 300


@pytest.mark.timeout(5)
@pytest.mark.parametrize("field", ["symbol", "timestamp", "price", "volume", "trade_id"])
@pytest.mark.parametrize("piece", ["1", "0", "-", ".", "1.", "A", "2026-02-08T", " "])
def test_a_long_text_is_refused_at_once(field: str, piece: str):
    fields = {"symbol": "A", "timestamp": "2026-02-08T10:30:00Z", "price": "1", "volume": "1", "trade_id": "1"}
    row = read(json.dumps(fields | {field: piece * (1_000_000 // len(piece)) + "x"}).encode())
    assert isinstance(row, InvalidTrade)
    assert row.part == field
    assert len(str(row)) < 300
