"""Trade files: CSV and NDJSON, and the choice of the format."""

import csv
import gzip
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import msgspec

from market_data.cli.data.parquet import ParquetSource
from market_data.cli.data.trade_source import COLUMNS, PATTERNS, Block, Source, arrow
from market_data.errors import CommandFailed
from market_data.trade_validation import Row

FORMATS = ("csv", "ndjson", "parquet")
SUFFIXES = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson", ".parquet": "parquet"}

GZIP, PARQUET = b"\x1f\x8b", b"PAR1"
"""First bytes of files in these formats."""


class CsvSource(Source):
    """CSV: a header line, then one row per line."""

    def blocks(self) -> Iterator[Block]:
        """Read the rows below the header."""
        blocks = self.text_blocks(header_lines=1)
        header: str = next((block.rows[0] for block in blocks), "")
        names = [name.strip().lower() for name in _fields(header) or ()]
        self._positions = self.find_columns(names)
        self._width = len(names)
        columns = dict(zip(self._positions, PATTERNS.values(), strict=True))
        self.pattern = ",".join(columns.get(at, r'[^",\n]*') for at in range(len(names))) + r"\n?"
        for block in blocks:
            lines = [row.encode("utf-8", "surrogateescape") for row in block.rows]
            yield block._replace(lines=arrow.array(lines, arrow.binary()))

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

    def blocks(self) -> Iterator[Block]:
        """Read the lines."""
        self._decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
        for number, block in enumerate(self.text_blocks(header_lines=0)):
            if number == 0:
                rows = (self.parse(line) for line in block.rows)
                self.has_trade_ids = next((row.trade_id is not None for row in rows if isinstance(row, Row)), False)
            yield block

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
