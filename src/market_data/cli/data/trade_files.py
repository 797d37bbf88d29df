"""Trade files: NDJSON, and the choice of the format."""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath

import msgspec

from market_data.cli.data.compressed_files import UNREADABLE, expanded
from market_data.cli.data.csv_files import CsvSource
from market_data.cli.data.parquet import ParquetSource
from market_data.cli.data.presets import PRESETS
from market_data.cli.data.read_options import COLUMNS, NOT_TRADES, ReadOptions, kind_of_columns, normalized
from market_data.cli.data.trade_source import Block, Source
from market_data.errors import CommandFailed
from market_data.trade_validation import Row, shown

FORMATS = ("csv", "ndjson", "parquet")
SUFFIXES = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": None,
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".parquet": "parquet",
}
"""Format by the end of the file's name; None if it depends on the contents."""
COMPRESSED = (".gz", ".zip", ".zst")

PARQUET = b"PAR1"
"""First bytes of a Parquet file."""


class NdjsonSource(Source):
    """One JSON object per line. The first valid line decides if the file has a `trade_id`."""

    def blocks(self) -> Iterator[Block]:
        """Read the lines."""
        self._decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
        self._names = {column: self._alternatives(column) for column in COLUMNS}
        for number, block in enumerate(self.text_blocks(header_lines=0)):
            if number == 0:
                self._start(block.rows)
            yield block

    def _alternatives(self, column: str) -> Sequence[Sequence[str]]:
        if column == "symbol" and self.options.symbol:
            return ()
        names = (name for alternatives in self.options.alternatives(column) for name in alternatives)
        return [[normalized(part) for part in name.split("+")] for name in names]

    def _start(self, rows: Sequence[str]) -> None:
        objects = (fields for row in rows if isinstance(fields := self._fields(row), dict))
        first = next(objects, dict[str, msgspec.Raw]())
        kind = kind_of_columns(list(first))
        if kind and not any(name in first for parts in self._names["price"] for name in parts):
            raise CommandFailed(f"{self.name} {NOT_TRADES[kind]}")
        self._trade_id_name = next((name for (name, *_) in self._names["trade_id"] if name in first), None)
        parsed = (self.parse(row) for row in rows)
        self.has_trade_ids = next((row.trade_id is not None for row in parsed if isinstance(row, Row)), False)
        self.learn(rows)

    def _fields(self, row: str) -> dict[str, msgspec.Raw] | str | None:
        if row.isspace():
            return None
        try:
            fields = self._decode(row.encode("utf-8", "surrogateescape"))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return "is not a JSON object"
        return {name.lower(): value for name, value in fields.items()}

    def parse(self, row: str) -> Row | str | None:
        """Read the fields of a line."""
        fields = self._fields(row)
        if not isinstance(fields, dict):
            return fields
        try:
            for name, values in self.options.only.items():
                value = _json_text(fields, [[name]])
                if value is not None and value not in values:
                    return f"is not a trade: {name} is {shown(value)}"
            return Row(*(_json_text(fields, alternatives) for alternatives in self._names.values()))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return "is not a JSON object"


def open_source(path: str, kind: str | None, options: ReadOptions | None = None) -> Source:
    """Open a file, or standard input (``-``), in the given format or the one that its name or first bytes show.

    Raises:
        CommandFailed: The file can't be opened, or its format is unknown.
    """
    plain = _open(path)
    with ExitStack() as on_failure:
        on_failure.callback(plain.close)
        try:
            source = _choose(path, plain, kind, options or ReadOptions())
        except UNREADABLE as error:
            raise CommandFailed(f"{path} can't be read: {error}") from None
        on_failure.pop_all()
    return source


def _choose(path: str, plain: io.BufferedReader, kind: str | None, options: ReadOptions) -> Source:
    name = "standard input" if path == "-" else path
    file, member = expanded(plain, path)
    suffix = PurePosixPath(without_compression(member)).suffix.lower()
    kind = kind or SUFFIXES.get(suffix)
    if kind is None and path != "-" and suffix not in SUFFIXES:
        raise CommandFailed(f"{path}: unknown file format; set it with --format csv, ndjson or parquet.")
    if kind == "parquet" or file.peek(4).startswith(PARQUET):
        if path == "-" or file is not plain:
            raise CommandFailed(
                "Parquet can't be read from standard input or from a compressed file, because its table of contents is at "
                "the end; save it as a file."
            )
        return ParquetSource(name, file, options)
    if kind is None:
        kind = "ndjson" if file.peek(1000).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") else "csv"
    if options.preset and not options.symbol:
        options = options._replace(symbol=_symbol_in_name(options.preset, member))
    return CsvSource(name, file, options) if kind == "csv" else NdjsonSource(name, file, options)


def without_compression(path: str) -> str:
    """Return the name of a file without `.gz`, `.zip` or `.zst`."""
    return path[: -len(suffix)] if (suffix := PurePosixPath(path).suffix.lower()) in COMPRESSED else path


def _symbol_in_name(preset: str, path: str) -> str | None:
    pattern = PRESETS[preset].symbol_in_name
    found = re.fullmatch(pattern, PurePosixPath(without_compression(path)).stem) if pattern else None
    return found[1] if found else None


def _open(path: str) -> io.BufferedReader:
    try:
        return open(0, "rb", closefd=False) if path == "-" else Path(path).open("rb")
    except OSError as error:
        raise CommandFailed(f"{path} can't be read: {error.strerror}") from None


def _json_text(fields: dict[str, msgspec.Raw], alternatives: Sequence[Sequence[str]]) -> str | None:
    """Return the contents of strings, or the digits of numbers as they are in the file."""
    parts = next((parts for parts in alternatives if all(name in fields for name in parts)), ())
    texts = [bytes(fields[name]).decode() for name in parts]
    if not texts or "null" in texts:
        return None
    return " ".join(msgspec.json.decode(text, type=str) if text[0] == '"' else text for text in texts)
