"""Rows as an Arrow IPC stream or Parquet: the packed columns of the database, without a step of Python for each row."""

# pyarrow has no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownParameterType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from market_data.queries.row_pages import PACKED_CODES, PACKED_EPOCH, Columns, Kind, Page, packed_columns

TIME, NUMBER = pa.timestamp("us", tz="UTC"), pa.float64()
TYPES: Mapping[Kind, pa.DataType] = {
    "text": pa.string(),
    "time": TIME,
    "bucket": TIME,
    "integer": pa.int64(),
    "decimal": NUMBER,
    "float": NUMBER,
    "flag": pa.bool_(),
}
EPOCH = int(PACKED_EPOCH.timestamp()) * 1_000_000
"""Epoch of packed times, in microseconds since Arrow's."""


class RecordBatches:
    """Turns pages into record batches."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._layout = np.dtype([(column.name, f">{PACKED_CODES[column.kind]}") for column in packed_columns(columns)])
        # Numbers are nullable in all rows, as they have always been.
        self.schema = pa.schema(
            [pa.field(column.name, TYPES[column.kind], nullable=TYPES[column.kind] == NUMBER) for column in columns]
        )

    def batch(self, symbol: str, page: Page) -> pa.RecordBatch:
        """Return the rows of a page."""
        rows = np.frombuffer(page.rows, self._layout)
        symbols = pa.scalar(symbol, pa.string())
        arrays = [
            pa.repeat(symbols, page.count) if column.kind == "text" else _array(rows[column.name], column.kind)
            for column in self._columns
        ]
        return pa.record_batch(arrays, schema=self.schema)


class ArrowWriter:
    """An Arrow IPC stream with a record batch a page."""

    def __init__(self, columns: Columns) -> None:
        self._batches = RecordBatches(columns)
        self.head: bytes = self._batches.schema.serialize().to_pybytes()

    def write(self, symbol: str, page: Page) -> bytes:
        """Return the record batch of a page."""
        return self._batches.batch(symbol, page).serialize().to_pybytes() if page.count else b""

    def finish(self) -> bytes:
        """Return the end of the stream."""
        return b"\xff\xff\xff\xff\x00\x00\x00\x00"


class ParquetWriter:
    """A Parquet file with a row group a page."""

    head = b""

    def __init__(self, columns: Columns) -> None:
        self._batches = RecordBatches(columns)
        self._written = _Pieces()
        self._file = pq.ParquetWriter(self._written, self._batches.schema, compression="zstd")

    def write(self, symbol: str, page: Page) -> bytes:
        """Return the row group of a page, and the beginning of the file before the first one."""
        if page.count:
            self._file.write_batch(self._batches.batch(symbol, page))
        return self._written.take()

    def finish(self) -> bytes:
        """Return the end of the file, which describes all row groups."""
        self._file.close()
        return self._written.take()


class _Pieces(io.RawIOBase):
    """A file that is sent while it is written."""

    def __init__(self) -> None:
        super().__init__()
        self._position = 0
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self._pieces.append(bytes(piece))
        self._position += len(self._pieces[-1])
        return len(self._pieces[-1])

    def tell(self) -> int:
        return self._position

    def take(self) -> bytes:
        """Return what was written since the last call."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def _array(values: np.ndarray[Any, Any], kind: Kind) -> pa.Array:
    native = values.astype(values.dtype.newbyteorder("="))
    if TYPES[kind] == TIME:
        native = (native + EPOCH).view("M8[us]")
    return pa.array(native, TYPES[kind], from_pandas=TYPES[kind] == NUMBER)  # NaN is null


def write_table(kinds: Mapping[str, Kind], columns: Sequence[Sequence[Any]], *, is_parquet: bool) -> bytes:
    """Return a small table of nullable columns as an Arrow IPC stream or Parquet."""
    schema = pa.schema([pa.field(name, TYPES[kind]) for name, kind in kinds.items()])
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    table = pa.table(arrays, schema=schema)
    written = pa.BufferOutputStream()
    if is_parquet:
        pq.write_table(table, written, compression="zstd")
    else:
        with pa.ipc.new_stream(written, schema) as stream:
            stream.write_table(table)
    return written.getvalue().to_pybytes()
