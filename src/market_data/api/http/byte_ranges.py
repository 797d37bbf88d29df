"""The header `Range` (RFC 9110, 14.2): one range of bytes. Lists of ranges, other units and malformed values are ignored."""

import re
from typing import Final, NamedTuple

BYTE_RANGE: Final = re.compile(r"bytes=[ \t]*(?:([0-9]{1,18})-([0-9]{1,18})?|-([0-9]{1,18}))[ \t]*", re.IGNORECASE)
"""At most 18 digits: a number of a thousand digits takes long to convert."""


class ByteRange(NamedTuple):
    """A range as the client gave it: `first-`, `first-last`, or `-length` for the end of the body."""

    first: int | None
    last: int | None = None
    """Included in the range."""
    length: int = 0

    @property
    def may_begin_read(self) -> bool:
        """True for the first range of readers that send no HEAD: readers of Parquet begin with the end of the body."""
        return not self.first

    @property
    def is_resumption(self) -> bool:
        """True for the rest of a download that was interrupted, as in `curl -C -`."""
        return bool(self.first) and self.last is None

    def resolve(self, size: int) -> range | None:
        """Return the positions in a body of `size` bytes; None if it has none of them."""
        if self.first is None:
            start, stop = max(0, size - self.length), size
        else:
            start, stop = self.first, size if self.last is None else min(self.last + 1, size)
        return range(start, stop) if start < stop else None


def parse_range(header: str) -> ByteRange | None:
    """Return the range of a header; None if it is to be ignored."""
    match = BYTE_RANGE.fullmatch(header)
    if match is None:
        return None
    first, last, length = (None if digits is None else int(digits) for digits in match.groups())
    if length is not None:
        return ByteRange(None, length=length)
    return None if first is not None and last is not None and last < first else ByteRange(first, last)
