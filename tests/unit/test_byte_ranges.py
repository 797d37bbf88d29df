"""The header `Range`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_data.api.http.byte_ranges import ByteRange, parse_range

BODY = bytes(range(100))
numbers = st.integers(0, 200)


def sent(header: str, body: bytes = BODY) -> bytes | None:
    asked = parse_range(header)
    assert asked
    part = asked.resolve(len(body))
    return None if part is None else body[part.start : part.stop]


@given(numbers, numbers)
def test_ranges_are_slices_whose_end_is_included(first: int, last: int):
    if first <= last:
        assert sent(f"bytes={first}-{last}") == (BODY[first : last + 1] or None)
    else:
        assert parse_range(f"bytes={first}-{last}") is None


@given(numbers)
def test_ranges_without_an_end_and_ends_of_a_body(number: int):
    assert sent(f"bytes={number}-") == (BODY[number:] or None)
    assert sent(f"bytes=-{number}") == (BODY[-number:] if number else None)


@given(st.one_of(st.text(), st.from_regex(r"bytes=[0-9 ,-]*", fullmatch=True)), st.integers(0, 10**20))
def test_no_header_leaves_the_body(header: str, size: int):
    asked = parse_range(header)
    part = asked and asked.resolve(size)
    assert part is None or 0 <= part.start < part.stop <= size


@pytest.mark.parametrize(
    "header",
    [
        *("", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=1-2-3", "bytes=--1", "bytes=+1-2", "bytes=1", "bytes=5-4"),
        *("bytes=0-1,3-4", "bytes=0-1,", "items=0-1", "bytes 0-1", "bytes=0x1-2", "bytes=٣-٤", f"bytes={'9' * 19}-"),
    ],
)
def test_lists_other_units_and_malformed_ranges_are_ignored(header: str):
    assert parse_range(header) is None


def test_units_are_case_insensitive():
    assert parse_range("Bytes=1-2") == ByteRange(1, 2) == parse_range("bytes= 1-2 ")


def test_reads_begin_at_the_first_byte_or_at_the_end():
    begins = {header: parse_range(header) for header in ("bytes=0-3", "bytes=0-", "bytes=-8", "bytes=4-", "bytes=4-8")}
    assert [bool(asked and asked.may_begin_read) for asked in begins.values()] == [True, True, True, False, False]
    assert [bool(asked and asked.is_resumption) for asked in begins.values()] == [False, False, False, True, False]
