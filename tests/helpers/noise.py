"""Random input for parsers, and limits of the error messages about it."""

from hypothesis import settings
from hypothesis import strategies as st

MAX_MESSAGE_LENGTH = 300
"""Characters of an error message, however long the input is."""

steady = settings(derandomize=True, deadline=None, database=None, max_examples=200)

TRADE_JSON = b'{"symbol":"AAPL","price":1.5,"volume":2,"timestamp":"2026-02-08T10:30:00Z","trade_id":7}'
PIECES = (
    *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\n", b"\r\n", b" ", b"\0", b"\xff", b"\xef\xbb\xbf"),
    *(b'"price"', b'"symbol":', b'"trade_id":null', b"1e999999999", b"-", b"NaN", b'"\\ud800"', b"9" * 50, TRADE_JSON),
)
BYTES = st.binary(max_size=60) | st.lists(st.sampled_from(PIECES), max_size=20).map(b"".join)
"""Random bytes, and fragments of JSON in random order."""


@st.composite
def damaged(draw: st.DrawFn, valid: bytes) -> bytes:
    """Replace, insert or delete a few bytes of a valid input."""
    data = bytearray(valid)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return bytes(data)


def assert_short(text: str) -> None:
    assert len(text) <= MAX_MESSAGE_LENGTH
    assert text.isprintable(), "contains control characters"
