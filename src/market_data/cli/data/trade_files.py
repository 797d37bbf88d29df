"""Trade files: CSV, NDJSON and Parquet as chunks of rows."""

import csv
import gzip
import importlib
import io
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self, cast

import msgspec

from market_data.errors import CommandFailed
from market_data.trade_validation import SYMBOL_PATTERN, Row

arrow: Any = importlib.import_module("pyarrow")  # it has no type annotations

COLUMNS: dict[str, Sequence[str]] = {
    "symbol": ("symbol",),
    "timestamp": ("timestamp", "time"),
    "price": ("price",),
    "volume": ("volume",),
    "trade_id": ("trade_id",),
}
"""Accepted names of each column."""

# 29 February is left to TradeValidator.
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

FORMATS = ("csv", "ndjson", "parquet")
SUFFIXES = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson", ".parquet": "parquet"}

CHUNK_ROWS = 50_000

MAX_LINE_LENGTH = 1_000_000
"""In characters. A file with a longer line is no table of trades."""

GZIP, PARQUET = b"\x1f\x8b", b"PAR1"
"""First bytes of files in these formats."""


class Chunk(NamedTuple):
    """Consecutive rows of a file."""

    line: int
    """Line number of the first row."""
    rows: Sequence[Any]
    """In the form that the source's `parse` reads."""
    lines: Any
    """Arrow array of the rows as lines of CSV without quotes, null for a row that can't be written so."""


class Source(ABC):
    """An open trade file. `has_trade_ids` and `pattern` are valid once the first chunk has been read."""

    def __init__(self, name: str, file: BinaryIO) -> None:
        self.name = name
        self.file = file
        self.has_trade_ids = False
        self.pattern = ",".join(PATTERNS.values())
        """RE2 pattern for `Chunk.lines`: `PATTERNS` in the order of the columns."""

    @abstractmethod
    def chunks(self) -> Iterator[Chunk]:
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
        """Close the file."""
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

    def text_chunks(self, header_lines: int) -> Iterator[Chunk]:
        """Read lines of text. The header lines are a first chunk of their own."""
        # Bytes that are not UTF-8 reach the file of rejected rows unchanged.
        self._text = io.TextIOWrapper(self.file, encoding="utf-8-sig", errors="surrogateescape")
        number = 1
        text = iter(lambda: self._text.readline(MAX_LINE_LENGTH), "")
        try:
            while rows := list(islice(text, CHUNK_ROWS if number > header_lines else header_lines)):
                for at in (at for at, row in enumerate(rows) if len(row) == MAX_LINE_LENGTH):
                    raise CommandFailed(f"{self.name}: line {number + at} has {MAX_LINE_LENGTH:,} characters or more.")
                yield Chunk(number, rows, arrow.nulls(len(rows), arrow.binary()))
                number += len(rows)
        except (OSError, EOFError, zlib.error) as error:
            raise CommandFailed(f"{self.name} can't be read: {error}") from None


class CsvSource(Source):
    """CSV: a header line, then one row per line."""

    def chunks(self) -> Iterator[Chunk]:
        """Read the rows below the header."""
        chunks = self.text_chunks(header_lines=1)
        header: str = next((chunk.rows[0] for chunk in chunks), "")
        names = [name.strip().lower() for name in _fields(header) or ()]
        self._positions = self.find_columns(names)
        self._width = len(names)
        columns = dict(zip(self._positions, PATTERNS.values(), strict=True))
        self.pattern = ",".join(columns.get(at, r'[^",\n]*') for at in range(len(names))) + r"\n?"
        for chunk in chunks:
            lines = [row.encode("utf-8", "surrogateescape") for row in chunk.rows]
            yield chunk._replace(lines=arrow.array(lines, arrow.binary()))

    def parse(self, row: str) -> Row | str | None:
        """Split a line into its fields."""
        if row.isspace():
            return None
        fields = _fields(row)
        if fields is None:
            return "is not valid CSV: a quote is not closed, or is inside a field"
        if len(fields) != self._width:
            return f"has {len(fields)} fields, but the header has {self._width}"
        return Row(*(None if at is None else fields[at].strip() or None for at in self._positions))


class NdjsonSource(Source):
    """One JSON object per line. The first valid line decides if the file has a `trade_id`."""

    def chunks(self) -> Iterator[Chunk]:
        """Read the lines."""
        self._decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
        for number, chunk in enumerate(self.text_chunks(header_lines=0)):
            if number == 0:
                rows = (self.parse(line) for line in chunk.rows)
                self.has_trade_ids = next((row.trade_id is not None for row in rows if isinstance(row, Row)), False)
            yield chunk

    def parse(self, row: str) -> Row | str | None:
        """Read the fields of a line."""
        if row.isspace():
            return None
        try:
            fields = self._decode(row.encode("utf-8", "surrogateescape"))
            return Row(*(_json_text(fields, accepted) for accepted in COLUMNS.values()))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return "is not a JSON object"


def open_source(path: str, kind: str | None) -> Source:
    """Open a file, or standard input (``-``), in the given format or the one that its name or first bytes show.

    Raises:
        CommandFailed: The file can't be opened, or its format is unknown.
    """
    kind = kind or SUFFIXES.get(Path(path.removesuffix(".gz")).suffix.lower())
    if kind is None and path != "-":
        raise CommandFailed(f"{path}: unknown file format; set it with --format csv, ndjson or parquet.")
    name = "standard input" if path == "-" else path
    file = _open(path)
    if path == "-" and file.peek(2).startswith(GZIP):
        file = io.BufferedReader(cast(io.RawIOBase, gzip.GzipFile(fileobj=file)))
    if path == "-" and (kind == "parquet" or file.peek(4).startswith(PARQUET)):
        raise CommandFailed(
            "Parquet can't be read from standard input, because its table of contents is at the end; save it as a file."
        )
    if kind is None:
        kind = "ndjson" if file.peek(1000).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") else "csv"
    if kind == "parquet":
        from market_data.cli.data.parquet import ParquetSource  # noqa: PLC0415 - it imports this module

        return ParquetSource(name, file)
    return CsvSource(name, file) if kind == "csv" else NdjsonSource(name, file)


def _open(path: str) -> io.BufferedReader:
    try:
        if path == "-":
            return open(0, "rb", closefd=False)
        if path.endswith(".gz"):
            return io.BufferedReader(cast(io.RawIOBase, gzip.open(path)))
        return Path(path).open("rb")
    except OSError as error:
        raise CommandFailed(f"{path} can't be read: {error.strerror}") from None


def _fields(line: str) -> list[str] | None:
    try:
        return next(csv.reader([line], strict=True), None)
    except csv.Error:
        return None


def _json_text(fields: dict[str, msgspec.Raw], accepted: Sequence[str]) -> str | None:
    """Return the contents of a string, or the digits of a number as they are in the file."""
    raw = next((fields[name] for name in accepted if name in fields), None)
    text = "null" if raw is None else bytes(raw).decode()
    if text == "null":
        return None
    return msgspec.json.decode(text, type=str) if text[0] == '"' else text
