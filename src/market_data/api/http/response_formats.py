"""Formats of rows besides JSON: one writer each, and the choice between them."""

import re
from collections.abc import Mapping
from typing import Any, Final, Literal, Protocol

from litestar import Request
from litestar.datastructures.headers import Accept

from market_data.api.http.parameters import ResponseFormat
from market_data.queries.row_pages import Columns, Page

MEDIA_TYPES: Final[Mapping[ResponseFormat, str]] = {
    "json": "application/json",
    "csv": "text/csv",
    "arrow": "application/vnd.apache.arrow.stream",
}
FORMATS: Final[Mapping[str, ResponseFormat]] = {media_type: name for name, media_type in MEDIA_TYPES.items()}

# The lookbehind lets a match begin only at the start of a word: without it, a long word takes quadratic time.
REFUSED = re.compile(r"(?<![\w.+-])([\w.+-]+/[\w.+-]+)\s*;\s*q=0(?:\.0*)?\s*(?:,|$)")


def accepted_format(request: Request[Any, Any, Any]) -> ResponseFormat:
    """Return the format that `Accept` prefers; JSON if it names none of them, or has no preference."""
    header = ",".join(request.headers.getall("accept", []))
    if not header:
        return "json"
    refused = REFUSED.findall(header)
    offered = [media_type for media_type in FORMATS if media_type not in refused]
    return FORMATS[Accept(header).best_match(offered, MEDIA_TYPES["json"])]


class Writer(Protocol):
    """Formats rows page by page, between a head and a tail."""

    head: bytes
    tail: bytes

    def write(self, page: Page) -> bytes:
        """Return the rows of a page."""
        ...


class CsvWriter:
    """Lines as the database formats them, below a line with the names of the columns."""

    tail = b""

    def __init__(self, columns: Columns) -> None:
        self.head = f"{','.join(column.name for column in columns)}\n".encode()

    def write(self, page: Page) -> bytes:
        """Return the lines of a page."""
        return page.rows


def row_writer(response_format: Literal["csv", "arrow"], columns: Columns, symbol: str) -> Writer:
    """Return the writer of a format."""
    if response_format == "csv":
        return CsvWriter(columns)
    # Arrow and NumPy take 50 MB and 0.25 s, and most services never need them.
    from market_data.api.http.arrow import ArrowWriter  # noqa: PLC0415 # a late import, as the comment above says

    return ArrowWriter(columns, symbol)
