"""Parquet files as columns of text, which are validated like those of the other formats."""

import importlib
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from market_data.cli.data.read_options import COLUMNS, normalized
from market_data.cli.data.trade_source import BLOCK_ROWS, Block, Source, arrow, compute
from market_data.errors import CommandFailed
from market_data.trade_validation import Row, shown

parquet: Any = importlib.import_module("pyarrow.parquet")  # it has no type annotations

MAX_FIELD_LENGTH = 1000
"""Characters of a text that are read, and bytes of a column per row."""


class ParquetSource(Source):
    """A Parquet table. Lines are numbers of rows."""

    def blocks(self) -> Iterator[Block]:
        """Read the row groups."""
        number = 1
        try:
            schema = parquet.read_schema(self.file)
            names: list[str] = schema.names
            self.find_columns([normalized(name) for name in names])
            fields = self._choose(names)
            chosen = list(dict.fromkeys(name for parts in fields.values() for name in parts))
            texts = [name for name in chosen if _is_text(schema.field(name).type)]
            table = parquet.ParquetFile(self.file, read_dictionary=texts)
            self._check_sizes(table.metadata, chosen)
            for batch in table.iter_batches(self.block_rows, columns=chosen):
                found = {name: _to_text(batch.column(name)) for name in chosen}
                columns = [
                    compute.binary_join_element_wise(*(found[name] for name in parts), " ") for parts in fields.values()
                ]
                rows = arrow.StructArray.from_arrays(columns, list(fields))
                if number == 1:
                    self.learn(rows)
                    self.pattern = self.usual_form(",", "[^,]*", len(fields))
                yield Block(number, rows, compute.binary_join_element_wise(*columns, ","))
                number += len(batch)
        except (arrow.ArrowException, OSError, ValueError, OverflowError) as error:  # the last two: values beyond Python's
            raise CommandFailed(f"{self.name} can't be read: {str(error).partition(chr(10))[0]}") from None

    def _choose(self, names: Sequence[str]) -> dict[str, list[str]]:
        """Return the names in the file by field of a row, and set the positions to those of the fields."""
        fields = {
            field: [names[at] for at in self.positions[column]]
            for field, column in zip(Row._fields, COLUMNS, strict=True)
            if self.positions[column]
        }
        self.positions = {
            column: (list(fields).index(field),) if field in fields else ()
            for field, column in zip(Row._fields, COLUMNS, strict=True)
        }
        self._others = {f"other {at}": names[at] for at in self.only}
        self.only = {len(fields) + number: values for number, values in enumerate(self.only.values())}
        return fields | {field: [name] for field, name in self._others.items()}

    def _check_sizes(self, metadata: Any, chosen: Sequence[str]) -> None:
        """Raise `CommandFailed` for columns that a batch could not hold in memory."""
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            for column in map(group.column, range(group.num_columns)):
                name = column.path_in_schema.partition(".")[0]
                if name in chosen and column.total_uncompressed_size > MAX_FIELD_LENGTH * max(group.num_rows, BLOCK_ROWS):
                    raise CommandFailed(f"{self.name}: the column {name} has more than {MAX_FIELD_LENGTH:,} bytes per row.")

    def parse(self, row: Any) -> Row | str:
        """Return the fields of a row."""
        fields: dict[str, str | None] = row.as_py()
        for (other, name), values in zip(self._others.items(), self.only.values(), strict=True):
            value = fields[other] or ""
            if value not in values:
                return f"is not a trade: {name} is {shown(value)}"
        return Row(*(fields.get(field) for field in Row._fields))

    def text(self, row: Any) -> str:
        """Return a row as a JSON array."""
        return msgspec.json.encode([row.as_py().get(field) for field in Row._fields]).decode()


def _is_text(kind: Any) -> bool:
    types = arrow.types
    return types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind) or types.is_large_binary(kind)


def _to_text(column: Any) -> Any:
    """Convert a column to strings. Times without a zone have none in the text either, so they are rejected.

    Columns of text are read as dictionaries, whose values are cut: a small file can repeat a long one in every row.
    """
    if arrow.types.is_timestamp(column.type) and column.type.tz is not None:
        # A cast alone rounds nanoseconds before 1970 up.
        column = compute.floor_temporal(column, unit="microsecond").cast(arrow.timestamp("us", "UTC"), safe=False)
    try:
        if arrow.types.is_dictionary(column.type):
            values = compute.utf8_slice_codeunits(column.dictionary.cast(arrow.string()), 0, MAX_FIELD_LENGTH)
            return values.take(column.indices)
        return column.cast(arrow.string())
    except (arrow.ArrowNotImplementedError, arrow.ArrowInvalid):
        return arrow.array([None if value is None else str(value) for value in column.to_pylist()], arrow.string())
