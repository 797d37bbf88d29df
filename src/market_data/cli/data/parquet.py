"""Parquet files, as text: what it says of a time or a number is then checked as in the other formats."""

import importlib
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec

from market_data.cli.data.trade_files import CHUNK_ROWS, Chunk, Source
from market_data.errors import CommandFailed
from market_data.trade_validation import Row

arrow: Any = importlib.import_module("pyarrow")  # it has no types
parquet: Any = importlib.import_module("pyarrow.parquet")

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(list[str | None]).decode


class ParquetSource(Source):
    """A table. A row stands as a JSON array in what is reported."""

    def chunks(self) -> Iterator[Chunk]:
        """The file; lines are the numbers of its rows."""
        number = 1
        try:
            table = parquet.ParquetFile(self.file)
            names: list[str] = table.schema_arrow.names
            where = self.columns([name.lower() for name in names])
            for batch in table.iter_batches(CHUNK_ROWS, columns=[names[at] for at in where if at is not None]):
                nothing: list[str | None] = [None] * len(batch)
                columns = [nothing if at is None else _texts(batch.column(names[at])) for at in where]
                yield Chunk(number, [encode(values).decode() for values in zip(*columns, strict=True)])
                number += len(batch)
        except (arrow.ArrowException, OSError, ValueError, OverflowError) as error:  # the last two of what Python can't hold
            raise CommandFailed(f"{self.name} can't be read: {str(error).partition(chr(10))[0]}") from None

    def row(self, text: str) -> Row:
        """The parts of a row."""
        return Row(*decode(text))


def _texts(column: Any) -> list[str | None]:
    """A column as text: times without a zone stay without one, and are rejected for it."""
    types = arrow.types
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if types.is_timestamp(column.type):
        if column.type.tz is not None:
            column = column.cast(arrow.timestamp("us", "UTC"), safe=False)
        return column.cast(arrow.string()).to_pylist()
    if types.is_string(column.type) or types.is_large_string(column.type):
        return column.to_pylist()
    return [None if value is None else _text(value) for value in column.to_pylist()]


def _text(value: Any) -> str:
    """A number in its shortest digits, without an exponent; of anything else what Python says."""
    text = str(value)
    if isinstance(value, float | Decimal) and "e" in text.lower():
        return f"{Decimal(text):f}"
    return text
