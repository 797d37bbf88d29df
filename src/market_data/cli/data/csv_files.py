"""CSV files: the delimiter, the header line or the layout of a preset, and the rows."""

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import chain

from market_data.cli.data.fields import FieldReader
from market_data.cli.data.presets import PRESETS
from market_data.cli.data.read_options import (
    COLUMNS,
    NOT_TRADES,
    ReadOptions,
    find_columns,
    kind_of_columns,
    kind_of_rows,
    normalized,
)
from market_data.cli.data.trade_source import SAMPLE_ROWS, Block, Source, arrow
from market_data.errors import CommandFailed
from market_data.trade_validation import InvalidTrade, Row, shown

DELIMITERS = ";\t|"
"""Delimiters besides the comma."""
NUMBER_OR_TIME = re.compile(r"[+-]?\d[\d.,:/ tz+-]*")
NUMBER = re.compile(r"[+-]?[\d.,' ]*\d[\d.,' ]*(?:[eE][+-]?\d+)?")
TIME_OF_DAY = re.compile(r"\d{1,2}:\d\d.*")

LAYOUT_ROWS = 20
"""First rows of a file without a header line, by which its layout is recognized."""


class CsvSource(Source):
    """Rows of one line each, below a header line or in the layout of a preset."""

    def blocks(self) -> Iterator[Block]:
        """Read the rows."""
        blocks = self.text_blocks(header_lines=1)
        first, second = next(blocks, None), next(blocks, None)
        line: str = first.rows[0] if first else ""
        self._delimiter = _find_delimiter(line)
        if self._delimiter != ",":
            self.description.append(f"delimiter {self._delimiter!r}")
        self._names = [normalized(field) for field in self._split(line) or ()]
        has_header = self._is_header()
        rows: list[str] = [] if has_header else [line]
        rows += second.rows[:SAMPLE_ROWS] if second else []
        if not has_header:
            self._names = self._layout([fields for row in rows[:LAYOUT_ROWS] if (fields := self._split(row))])
        if rows and self._has_date_and_time_of_day(self._split(rows[0]) or ()):
            self.options = self.options._replace(columns={**self.options.columns, "timestamp": "date+time"})
        self.find_columns(self._names)
        self.learn(rows)
        delimiter = re.escape(self._delimiter)
        form = self.usual_form(delimiter, rf'(?:[^"{delimiter}\n]*|"[^"\n]*")', len(self._names))
        self.pattern = form and form + r"\n?"
        for block in chain([] if has_header or not first else [first], [second] if second else [], blocks):
            lines = [row.encode("utf-8", "surrogateescape") for row in block.rows]
            yield block._replace(lines=arrow.array(lines, arrow.binary()))

    def parse(self, row: str) -> Row | str | None:
        """Split a line into its fields."""
        if row.isspace():
            return None
        fields = self._split(row)
        if fields is None:
            return "is not valid CSV: a quote is not closed, or is inside a field"
        if len(fields) != len(self._names):
            return f"has {len(fields)} fields, but the header has {len(self._names)}"
        for at, values in self.only.items():
            if fields[at].strip() not in values:
                return f"is not a trade: {self._names[at]} is {shown(fields[at])}"
        return Row(*(" ".join(fields[at].strip() for at in places) or None for places in self.positions.values()))

    def _split(self, line: str) -> list[str] | None:
        try:
            return next(csv.reader([line], delimiter=self._delimiter, strict=True), None)
        except csv.Error:
            return None

    def _is_header(self) -> bool:
        alternatives = (name for column in COLUMNS for names in self.options.alternatives(column) for name in names)
        known = {normalized(part) for name in alternatives for part in name.split("+") if not part.isdecimal()}
        if known.intersection(self._names) or kind_of_columns(self._names):
            return True
        return not any(map(NUMBER_OR_TIME.fullmatch, self._names))

    def _layout(self, rows: Sequence[Sequence[str]]) -> list[str]:
        """Return the names of the columns of a file without a header line: those of the preset, or their numbers.

        Raises:
            CommandFailed: The file has another layout.
        """
        chosen = self.options.preset
        fitting = {
            preset: layout.split(",")
            for preset in ([chosen] if chosen else PRESETS)
            for layout in reversed(PRESETS[preset].layouts)
            if any(self._fits(layout.split(","), preset, fields) for fields in rows)
        }
        if chosen in fitting:
            return fitting[chosen]
        if not chosen and self.options.columns:
            return [str(number) for number in range(1, len(rows[0]) + 1)]
        kind = None if fitting else kind_of_rows(rows)
        if kind:
            raise CommandFailed(f"{self.name} {NOT_TRADES[kind]}")
        if chosen:
            layouts = next(iter(PRESETS[chosen].layouts), "those named in a header line")
            raise CommandFailed(f"{self.name} does not have the columns of --preset {chosen}, such as {layouts}.")
        remedy = f"choose --preset {' or '.join(fitting)}" if fitting else "choose a --preset"
        raise CommandFailed(
            f"{self.name} has no header line; {remedy}, or give the numbers of its columns, such as --column price=2."
        )

    def _fits(self, names: Sequence[str], preset: str, fields: Sequence[str]) -> bool:
        if len(names) != len(fields):
            return False
        values = dict(zip(names, fields, strict=True))
        if any(name.startswith("is_") and value.strip().lower() not in {"true", "false"} for name, value in values.items()):
            return False
        options = ReadOptions(preset, {}, "?", self.options.time_format, self.options.timezone)
        positions = find_columns(names, options, self.name)
        try:
            FieldReader(options, self.name).read_time(" ".join(fields[at].strip() for at in positions["timestamp"]))
        except InvalidTrade:
            return False
        return all(NUMBER.fullmatch(fields[positions[column][0]].strip()) for column in ("price", "volume"))

    def _has_date_and_time_of_day(self, fields: Sequence[str]) -> bool:
        if self.options.preset or "timestamp" in self.options.columns or "timestamp" in self._names:
            return False
        values = dict(zip(self._names, fields, strict=False))
        return "date" in values and TIME_OF_DAY.fullmatch(values.get("time", "").strip()) is not None


def _find_delimiter(line: str) -> str:
    """Return the most frequent of the other delimiters, unless the line has more commas."""
    unquoted = re.sub(r'"[^"]*"', "", line)
    found = max(DELIMITERS, key=unquoted.count)
    return found if unquoted.count(found) >= max(1, unquoted.count(",")) else ","
