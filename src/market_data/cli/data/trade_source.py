"""A trade file as blocks of rows: the interface of all file formats."""

import codecs
import importlib
import io
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, BinaryIO, NamedTuple, Self, cast

from market_data.cli.data.compressed_files import UNREADABLE
from market_data.cli.data.fields import FieldReader
from market_data.cli.data.read_options import ReadOptions, find_columns
from market_data.errors import CommandFailed
from market_data.trade_validation import SYMBOL_PATTERN, InvalidTrade, Row, read_trade_id

arrow: Any = importlib.import_module("pyarrow")  # it has no type annotations
compute: Any = importlib.import_module("pyarrow.compute")  # likewise

# `validate_row` checks 29 February.
DAY_PATTERN = (
    r"[1-9]\d{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|02-(?:0[1-9]|1\d|2[0-8]))"
)
PATTERNS = {
    "symbol": f"(?P<symbol>{SYMBOL_PATTERN})",
    "timestamp": rf"(?P<time>{DAY_PATTERN}[T ](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d+)?)(?:Z|\+00:00)",
    "price": r"(?P<price>-?\d+(?:\.\d+)?)",
    "volume": r"-?(?P<volume>\d+(?:\.\d+)?)",
    "trade_id": r"(?P<trade_id>-?\d{1,18})",
}
"""Usual forms of the columns, in RE2's syntax. Only fields of these forms are validated as Arrow columns."""
FRACTIONAL_PRICE = r"(?P<price>-?\d+\.\d+)"
EPOCH_PATTERN = r"(?P<epoch>[1-8]\d*)(?:\.(?P<fraction>\d*))?"
"""Takes the place of the pattern of timestamps in files with epochs; an epoch of 19 digits fits into 64 bits."""

SAMPLE_ROWS = 1000
"""First rows, from which the forms of the fields are derived."""

BLOCK_ROWS = 50_000

BLOCK_CHARACTERS = 16_000_000
"""Characters of a block's lines, after which it ends before `BLOCK_ROWS`: a block is held in memory, several times."""

STEP_ROWS = 200

MAX_LINE_LENGTH = 100_000
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
    """An open trade file. What is derived from its contents is valid once the first block has been read."""

    def __init__(self, name: str, file: BinaryIO, options: ReadOptions | None = None) -> None:
        self.name = name
        self.file = file
        self.options = options or ReadOptions()
        self.fields = FieldReader(self.options, name)
        self.has_trade_ids = False
        self.pattern: str | None = None
        """RE2 pattern for `Block.lines`: the forms of the fields in the order of the columns. None if no row is usual."""
        self.block_rows = BLOCK_ROWS
        """Rows of a block, unless `BLOCK_CHARACTERS` ends it."""
        self.description: list[str] = []
        """Properties of the file that were derived from its contents."""
        self.positions: dict[str, tuple[int, ...]] = {}
        """Positions of each column: one, two that are joined, or none."""
        self.only: dict[int, Sequence[str]] = {}
        """Values of other columns that trades have, by position."""
        self._trade_id_name: str | None = None

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

    def find_columns(self, names: Sequence[str]) -> None:
        """Set the positions of the columns in the file."""
        self.positions = find_columns(names, self.options, self.name)
        found = {column: "+".join(names[at] for at in places) for column, places in self.positions.items() if places}
        self.description.append(", ".join(f"{column} from {name}" for column, name in found.items() if name != column))
        self._trade_id_name = found.get("trade_id")
        self.has_trade_ids = self._trade_id_name is not None
        self.only = {names.index(name): values for name, values in self.options.only.items() if name in names}

    def learn(self, rows: Iterable[Any]) -> None:
        """Derive the forms of the fields from the first rows."""
        sample = [row for row in map(self.parse, islice(rows, SAMPLE_ROWS)) if isinstance(row, Row)]
        self.fields.learn(sample)
        first = next((row.trade_id for row in sample if row.trade_id is not None), None)
        named = self._trade_id_name == "trade_id" or "trade_id" in self.options.columns
        if first is not None and not named and not _is_trade_id(first):
            self.has_trade_ids, self.fields.ignores_trade_ids = False, True
            self.description.append("ids are not whole numbers, so trades of one time are numbered")
        self.description.append(self.fields.description)

    def usual_form(self, separator: str, others: str, width: int) -> str | None:
        """Return the pattern of the usual form of a row, whose fields are separated by `separator`.

        None if the file has times in a format of its own, joined columns or decimal commas.
        """
        columns = [column for column, places in self.positions.items() if places]
        if self.fields.ignores_trade_ids:
            columns.remove("trade_id")
        patterns = {at: f"(?:{'|'.join(map(re.escape, values))})" for at, values in self.only.items()}
        patterns |= {self.positions[column][0]: self._field_pattern(column) for column in columns}
        joined = any(len(places) > 1 for places in self.positions.values())
        shared = len(patterns) < len(columns) + len(self.only)
        if joined or shared or self.fields.has_unusual_forms:
            return None
        return separator.join(patterns.get(at, others) for at in range(width))

    def _field_pattern(self, column: str) -> str:
        if column == "timestamp" and self.fields.epochs:
            return EPOCH_PATTERN
        return FRACTIONAL_PRICE if column == "price" and self.fields.price_places else PATTERNS[column]

    def text_blocks(self, header_lines: int) -> Iterator[Block]:
        """Read lines of text. The header lines are a first block of their own."""
        buffered = hasattr(self.file, "peek")
        file = cast(io.BufferedReader, self.file) if buffered else io.BufferedReader(cast(io.RawIOBase, self.file))
        number = 1
        try:
            encoding = _encoding(file.peek(20)[:20])
            if encoding != "utf-8-sig":
                self.description.append(encoding)
            # Bytes that are not UTF-8 reach the file of rejected rows unchanged.
            errors = "surrogateescape" if encoding == "utf-8-sig" else "replace"
            self._text = io.TextIOWrapper(file, encoding=encoding, errors=errors)
            text = iter(lambda: self._text.readline(MAX_LINE_LENGTH), "")
            while rows := _take(text, self.block_rows if number > header_lines else header_lines):
                for at in (at for at, row in enumerate(rows) if len(row) == MAX_LINE_LENGTH):
                    raise CommandFailed(f"{self.name}: line {number + at} has {MAX_LINE_LENGTH:,} characters or more.")
                yield Block(number, rows, arrow.nulls(len(rows), arrow.binary()))
                number += len(rows)
        except UNREADABLE as error:
            raise CommandFailed(f"{self.name} can't be read: {error}") from None


def _encoding(start: bytes) -> str:
    """Return the encoding of a text by its byte order mark, or by zeros as every second byte."""
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    for encoding, zeros, others in (("utf-16-le", start[1::2], start[::2]), ("utf-16-be", start[::2], start[1::2])):
        if len(start) > 9 and not any(zeros) and all(others):
            return encoding
    return "utf-8-sig"


def _is_trade_id(text: str) -> bool:
    try:
        read_trade_id(text)
    except InvalidTrade:
        return False
    return True


def _take(lines: Iterator[str], maximum: int) -> list[str]:
    """Return the next lines: at most so many, and few after `BLOCK_CHARACTERS`. Counted in steps, which takes 1 ms."""
    taken: list[str] = []
    characters = 0
    while characters < BLOCK_CHARACTERS and (step := list(islice(lines, min(STEP_ROWS, maximum - len(taken))))):
        taken += step
        characters += sum(map(len, step))
    return taken
