"""Parquet files as columns of text, which are validated like those of the other formats."""

import importlib
from collections.abc import Iterator
from typing import Any

import msgspec

from market_data.cli.data.trade_source import BLOCK_ROWS, PATTERNS, Block, Source, arrow, compute
from market_data.errors import CommandFailed
from market_data.trade_validation import Row

parquet: Any = importlib.import_module("pyarrow.parquet")  # it has no type annotations


class ParquetSource(Source):
    """A Parquet table. Lines are numbers of rows."""

    def blocks(self) -> Iterator[Block]:
        """Read the row groups."""
        number = 1
        try:
            table = parquet.ParquetFile(self.file)
            names: list[str] = table.schema_arrow.names
            positions = self.find_columns([name.lower() for name in names])
            chosen = [names[at] for at in positions if at is not None]
            self.pattern = ",".join(list(PATTERNS.values())[: len(chosen)])
            for batch in table.iter_batches(BLOCK_ROWS, columns=chosen):
                columns = [_to_text(batch.column(name)) for name in chosen]
                rows = arrow.StructArray.from_arrays(columns, list(Row._fields[: len(chosen)]))
                yield Block(number, rows, compute.binary_join_element_wise(*columns, ","))
                number += len(batch)
        except (arrow.ArrowException, OSError, ValueError, OverflowError) as error:  # the last two: values beyond Python's
            raise CommandFailed(f"{self.name} can't be read: {str(error).partition(chr(10))[0]}") from None

    def parse(self, row: Any) -> Row:
        """Return the fields of a row."""
        return Row(**{"trade_id": None, **row.as_py()})

    def text(self, row: Any) -> str:
        """Return a row as a JSON array."""
        return msgspec.json.encode(self.parse(row)).decode()


def _to_text(column: Any) -> Any:
    """Convert a column to strings. Times without a zone have none in the text either, so they are rejected."""
    if arrow.types.is_timestamp(column.type) and column.type.tz is not None:
        # A cast alone rounds nanoseconds before 1970 up.
        column = compute.floor_temporal(column, unit="microsecond").cast(arrow.timestamp("us", "UTC"), safe=False)
    try:
        return column.cast(arrow.string())
    except (arrow.ArrowNotImplementedError, arrow.ArrowInvalid):
        return arrow.array([None if value is None else str(value) for value in column.to_pylist()], arrow.string())
