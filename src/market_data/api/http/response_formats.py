"""The forms that rows are answered in besides JSON: one writer each, and how a request chooses."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from litestar import Request
from litestar.datastructures.headers import Accept

from market_data.api.http.readers import Format
from market_data.queries.row_pages import Column, Page

MEDIA_TYPES: Final[Mapping[Format, str]] = {
    "json": "application/json",
    "csv": "text/csv",
    "arrow": "application/vnd.apache.arrow.stream",
}
FORMATS: Final[Mapping[str, Format]] = {media_type: name for name, media_type in MEDIA_TYPES.items()}

# It looks for a beginning only where one can be: each character of a long word as one would take its square of time.
REFUSED = re.compile(r"(?<![\w.+-])([\w.+-]+/[\w.+-]+)\s*;\s*q=0(?:\.0*)?\s*(?:,|$)")


def accepted(request: Request[Any, Any, Any]) -> Format:
    """What a request's `Accept` prefers; JSON where it names none of them, or has no preference."""
    header = ",".join(request.headers.getall("accept", []))
    if not header:
        return "json"
    refused = REFUSED.findall(header)
    offered = [media_type for media_type in FORMATS if media_type not in refused]
    return FORMATS[Accept(header).best_match(offered, MEDIA_TYPES["json"])]


class Writer(Protocol):
    """Writes an answer's rows, page by page, behind its head and before its tail."""

    head: bytes
    tail: bytes

    def write(self, page: Page) -> bytes:
        """The rows of a page, as they stand in the answer."""
        ...


class CsvWriter:
    """Lines as the database writes them, below one with the names of the columns."""

    tail = b""

    def __init__(self, fields: Sequence[str]) -> None:
        self.head = f"{','.join(fields)}\n".encode()

    def write(self, page: Page) -> bytes:
        """The lines of a page."""
        return bytes(page.rows)


def writer(form: Format, fields: Sequence[str], packed: Mapping[str, Column], symbol: str) -> Writer:
    """The writer of an answer in CSV or Arrow, with these fields in this order."""
    if form == "csv":
        return CsvWriter(fields)
    # Arrow and NumPy take 50 MB and a quarter of a second, which a service that is never asked for them is spared.
    from market_data.api.http.arrow import ArrowWriter  # noqa: PLC0415

    return ArrowWriter(fields, packed, symbol)
