"""Trade files: CSV and NDJSON, and what they have in common with Parquet."""

import csv
import gzip
import io
import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self, cast

import msgspec

from market_data.errors import CommandFailed
from market_data.trade_validation import FAST, Row

COLUMNS: dict[str, Sequence[str]] = {
    "symbol": ("symbol",),
    "timestamp": ("timestamp", "time"),
    "price": ("price",),
    "volume": ("volume",),
    "trade_id": ("trade_id",),
}
"""The parts of a row, and what they may be called."""

SUFFIXES = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson", ".parquet": "parquet"}

CHUNK_ROWS = 50_000

LONGEST_LINE = 1_000_000
"""In characters: what has longer ones is no table of trades."""

GZIP, PARQUET = b"\x1f\x8b", b"PAR1"
"""What files of these kinds begin with."""

Match = Callable[[str], re.Match[str] | None]


class Chunk(NamedTuple):
    """Rows that stand one after the other in the file, as they stand there, and the line of the first."""

    line: int
    rows: Sequence[str]


class Source(ABC):
    """A file that is open. `has_trade_ids` and `fast` are right from its first chunk on."""

    def __init__(self, name: str, file: BinaryIO) -> None:
        self.name = name
        self.file = file
        self.has_trade_ids = False
        self.fast: Match | None = None
        """Matches a whole row with nothing unusual in it; its groups are those of `rows.FAST`."""

    @abstractmethod
    def chunks(self) -> Iterator[Chunk]:
        """The file.

        Raises:
            CommandFailed: It can't be read, is not of its format, or lacks a column.
        """

    @abstractmethod
    def row(self, text: str) -> Row | str | None:
        """The parts of a row; or what is wrong with all of it; None for an empty line."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.file.close()

    def columns(self, names: Sequence[str]) -> list[int | None]:
        """Where each part of a row is."""
        where: list[int | None] = []
        for column, called in COLUMNS.items():
            found = [at for at, name in enumerate(names) if name in called]
            if len(found) > 1:
                raise CommandFailed(f"{self.name} has the column {column} twice.")
            if not found and column != "trade_id":
                raise CommandFailed(f"{self.name} has no column {column}; it has {', '.join(names)[:200] or 'none'}.")
            where.append(found[0] if found else None)
        self.has_trade_ids = where[-1] is not None
        return where

    def lines(self, header: int) -> Iterator[Chunk]:
        """The lines of a text that has so many header lines, which come in a first chunk of their own."""
        # Bytes that are no UTF-8 come out of it as they went in, into the file of rejected rows.
        self._text = io.TextIOWrapper(self.file, encoding="utf-8-sig", errors="surrogateescape")
        number = 1
        text = iter(lambda: self._text.readline(LONGEST_LINE), "")
        try:
            while rows := list(islice(text, CHUNK_ROWS if number > header else header)):
                for at in (at for at, row in enumerate(rows) if len(row) == LONGEST_LINE):
                    raise CommandFailed(f"{self.name}: line {number + at} has {LONGEST_LINE:,} characters or more.")
                yield Chunk(number, rows)
                number += len(rows)
        except (OSError, EOFError, zlib.error) as error:
            raise CommandFailed(f"{self.name} can't be read: {error}") from None


class CsvSource(Source):
    """A header line, then a row a line."""

    def chunks(self) -> Iterator[Chunk]:
        """The file without its header."""
        lines = self.lines(header=1)
        header = next(lines, Chunk(1, [""])).rows[0]
        names = [name.strip().lower() for name in _fields(header) or ()]
        self._where = self.columns(names)
        self._width = len(names)
        parts = dict(zip(self._where, COLUMNS, strict=True))
        fields = (r"[^\",\n]*" if at not in parts else FAST[parts[at]] for at in range(len(names)))
        self.fast = re.compile(",".join(fields) + r"\n?", re.ASCII).fullmatch
        yield from lines

    def row(self, text: str) -> Row | str | None:
        """The parts of a line."""
        if text.isspace():
            return None
        fields = _fields(text)
        if fields is None:
            return "is no CSV: a quote is not closed, or stands within a field"
        if len(fields) != self._width:
            return f"has {len(fields)} fields, not {self._width} as the header"
        return Row(*(None if at is None else fields[at].strip() or None for at in self._where))


class NdjsonSource(Source):
    """A JSON object a line. Whether there are trade_ids, the first line that can be read tells."""

    def chunks(self) -> Iterator[Chunk]:
        """The file."""
        self._decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
        for number, chunk in enumerate(self.lines(header=0)):
            if number == 0:
                rows = (self.row(line) for line in chunk.rows)
                self.has_trade_ids = next((row.trade_id is not None for row in rows if isinstance(row, Row)), False)
            yield chunk

    def row(self, text: str) -> Row | str | None:
        """The parts of a line."""
        if text.isspace():
            return None
        try:
            fields = self._decode(text.encode("utf-8", "surrogateescape"))
            return Row(*(_json_text(fields, called) for called in COLUMNS.values()))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return "is no JSON object"


def open_source(path: str, kind: str | None) -> Source:
    """Open a file, or standard input (``-``), in the format given or the one that name or beginning tell.

    Raises:
        CommandFailed: It can't be opened, or its format is not known.
    """
    kind = kind or SUFFIXES.get(Path(path.removesuffix(".gz")).suffix.lower())
    if kind is None and path != "-":
        raise CommandFailed(f"{path}: unknown kind of file; give its format with --format csv, ndjson or parquet.")
    name = "standard input" if path == "-" else path
    file = _open(path)
    if path == "-" and file.peek(2).startswith(GZIP):
        file = io.BufferedReader(cast(io.RawIOBase, gzip.GzipFile(fileobj=file)))
    if path == "-" and (kind == "parquet" or file.peek(4).startswith(PARQUET)):
        raise CommandFailed(
            "Parquet can't be read from standard input, for its table of contents is at the end; save it first."
        )
    if kind is None:
        kind = "ndjson" if file.peek(1000).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") else "csv"
    if kind == "parquet":
        from market_data.cli.data.parquet import ParquetSource  # noqa: PLC0415 - pyarrow, which takes 0.2 s

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


def _json_text(fields: dict[str, msgspec.Raw], called: Sequence[str]) -> str | None:
    """A field's text: a string's contents, or a number as it is written."""
    raw = next((fields[name] for name in called if name in fields), None)
    text = "null" if raw is None else bytes(raw).decode()
    if text == "null":
        return None
    return msgspec.json.decode(text, type=str) if text[0] == '"' else text
