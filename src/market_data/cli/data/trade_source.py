"""A trade file as blocks of rows: the interface of all file formats."""

import importlib
import io
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, BinaryIO, NamedTuple, Self

from market_data.errors import CommandFailed
from market_data.trade_validation import SYMBOL_PATTERN, Row

arrow: Any = importlib.import_module("pyarrow")  # it has no type annotations
compute: Any = importlib.import_module("pyarrow.compute")  # likewise

COLUMNS: dict[str, Sequence[str]] = {
    "symbol": ("symbol",),
    "timestamp": ("timestamp", "time"),
    "price": ("price",),
    "volume": ("volume",),
    "trade_id": ("trade_id",),
}
"""Accepted names of each column."""

# `validate_row` checks 29 February.
DAY_PATTERN = (
    r"[1-9]\d{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|02-(?:0[1-9]|1\d|2[0-8]))"
)
PATTERNS = {
    "symbol": f"(?P<symbol>{SYMBOL_PATTERN})",
    "timestamp": rf"(?P<time>{DAY_PATTERN}[T ](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d+)?)(?:Z|\+00:00)",
    "price": r"(?P<price>\d+(?:\.\d+)?)",
    "volume": r"(?P<volume>\d+(?:\.\d+)?)",
    "trade_id": r"(?P<trade_id>-?\d{1,18})",
}
"""Usual forms of the columns, in RE2's syntax. Only fields of these forms are validated as Arrow columns."""

BLOCK_ROWS = 50_000

MAX_LINE_LENGTH = 1_000_000
"""In characters. A file with a longer line does not contain trades."""


class Block(NamedTuple):
    """Consecutive rows of a file."""

    line: int
    """Line number of the first row."""
    rows: Sequence[Any]
    """Rows in the form that `Source.parse` reads."""
    lines: Any
    """Arrow array of the rows as lines of CSV without quotes, null for a row without this form."""


class Source(ABC):
    """An open trade file. `has_trade_ids` and `pattern` are valid once the first block has been read."""

    def __init__(self, name: str, file: BinaryIO) -> None:
        self.name = name
        self.file = file
        self.has_trade_ids = False
        self.pattern = ",".join(PATTERNS.values())
        """RE2 pattern for `Block.lines`: `PATTERNS` in the order of the columns."""

    @abstractmethod
    def blocks(self) -> Iterator[Block]:
        """Read the file.

        Raises:
            CommandFailed: The file can't be read, is not of this format, or lacks a column.
        """

    @abstractmethod
    def parse(self, row: Any) -> Row | str | None:
        """Return the fields of a row, an error that concerns the whole row, or None for an empty line."""

    def text(self, row: Any) -> str:
        """Return a row as it is reported among the rejected rows."""
        return row

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def find_columns(self, names: Sequence[str]) -> list[int | None]:
        """Return the position of each of `COLUMNS` in the file."""
        positions: list[int | None] = []
        for column, accepted in COLUMNS.items():
            found = [at for at, name in enumerate(names) if name in accepted]
            if len(found) > 1:
                raise CommandFailed(f"{self.name} has the column {column} twice.")
            if not found and column != "trade_id":
                raise CommandFailed(f"{self.name} has no column {column}; it has {', '.join(names)[:200] or 'none'}.")
            positions.append(found[0] if found else None)
        self.has_trade_ids = positions[-1] is not None
        return positions

    def text_blocks(self, header_lines: int) -> Iterator[Block]:
        """Read lines of text. The header lines are a first block of their own."""
        # Bytes that are not UTF-8 reach the file of rejected rows unchanged.
        self._text = io.TextIOWrapper(self.file, encoding="utf-8-sig", errors="surrogateescape")
        number = 1
        text = iter(lambda: self._text.readline(MAX_LINE_LENGTH), "")
        try:
            while rows := list(islice(text, BLOCK_ROWS if number > header_lines else header_lines)):
                for at in (at for at, row in enumerate(rows) if len(row) == MAX_LINE_LENGTH):
                    raise CommandFailed(f"{self.name}: line {number + at} has {MAX_LINE_LENGTH:,} characters or more.")
                yield Block(number, rows, arrow.nulls(len(rows), arrow.binary()))
                number += len(rows)
        except (OSError, EOFError, zlib.error) as error:
            raise CommandFailed(f"{self.name} can't be read: {error}") from None
