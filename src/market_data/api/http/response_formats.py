"""Formats of rows besides JSON: one writer each, and the choice between them."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, Protocol

from litestar import Request
from litestar.datastructures.headers import Accept

from market_data.api.http.parameters import ResponseFormat
from market_data.queries.row_pages import Columns, Page, RowFormat

MEDIA_TYPES: Final[Mapping[ResponseFormat, str]] = {
    "json": "application/json",
    "csv": "text/csv",
    "arrow": "application/vnd.apache.arrow.stream",
    "ndjson": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}
FORMATS: Final[Mapping[str, ResponseFormat]] = {media_type: name for name, media_type in MEDIA_TYPES.items()}

ROW_FORMATS: Final[Mapping[ResponseFormat, RowFormat]] = {
    "json": "json",
    "ndjson": "ndjson",
    "csv": "csv",
    "arrow": "packed",
    "parquet": "packed",
}
"""Formats in which the database returns the rows."""

# The lookbehind lets a match begin only at the start of a word: without it, a long word takes quadratic time.
REFUSED = re.compile(r"(?<![\w.+-])([\w.+-]+/[\w.+-]+)\s*;\s*q=0(?:\.0*)?\s*(?:,|$)")

MAX_CACHED_HEADER: Final = 200
"""Characters of an `Accept` whose choice is kept: clients can send any text."""


def accepted_format(request: Request[Any, Any, Any]) -> ResponseFormat:
    """Return the format that `Accept` prefers; JSON if it names none of them, or has no preference."""
    return FORMATS[accepted_media_type(request, tuple(FORMATS))]


def accepted_media_type(request: Request[Any, Any, Any], offered: tuple[str, ...]) -> str:
    """Return the media type that `Accept` prefers; the first one if it names none of them, or has no preference."""
    header = ",".join(request.headers.getall("accept", []))
    if not header:
        return offered[0]
    best_match = _best_match_cached if len(header) <= MAX_CACHED_HEADER else _best_match
    return best_match(header, offered)


def _best_match(header: str, offered: tuple[str, ...]) -> str:
    refused = REFUSED.findall(header)
    return Accept(header).best_match([media_type for media_type in offered if media_type not in refused], offered[0])


_best_match_cached = lru_cache(1024)(_best_match)


class Writer(Protocol):
    """Formats the rows of a response page by page."""

    head: bytes
    """Bytes before the rows."""

    def write(self, symbol: str, page: Page) -> bytes:
        """Return the rows of a page, all of which have one symbol."""
        ...

    def finish(self) -> bytes:
        """Return what stands behind the rows."""
        ...


class LineWriter:
    """Lines as the database formats them, below a head."""

    def __init__(self, head: str) -> None:
        self.head = head.encode()

    def write(self, symbol: str, page: Page) -> bytes:  # the lines have their symbol
        """Return the lines of a page."""
        return page.rows.encode()

    def finish(self) -> bytes:
        """Return nothing: lines have no end."""
        return b""


def row_writer(response_format: ResponseFormat, columns: Columns) -> Writer:
    """Return the writer of a format other than JSON."""
    if response_format == "csv":
        return LineWriter(f"{','.join(column.name for column in columns)}\n")
    if response_format == "ndjson":
        return LineWriter("")
    # Arrow and NumPy take 50 MB and 0.25 s, and most services never need them.
    from market_data.api.http.arrow import ArrowWriter, ParquetWriter  # noqa: PLC0415 # a late import, as said above

    return ArrowWriter(columns) if response_format == "arrow" else ParquetWriter(columns)
