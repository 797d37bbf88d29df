"""Rows as an Arrow IPC stream: the packed columns of the database, without a step of Python for each row."""

# pyarrow has no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownParameterType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

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


class ArrowWriter:
    """One record batch a page."""

    tail = b"\xff\xff\xff\xff\x00\x00\x00\x00"

    def __init__(self, columns: Columns, symbol: str) -> None:
        self._symbol = pa.scalar(symbol, pa.string())
        self._columns = columns
        self._layout = np.dtype([(column.name, f">{PACKED_CODES[column.kind]}") for column in packed_columns(columns)])
        # Numbers are nullable in all rows, as they have always been.
        self._schema = pa.schema(
            [pa.field(column.name, TYPES[column.kind], nullable=TYPES[column.kind] == NUMBER) for column in columns]
        )
        self.head: bytes = self._schema.serialize().to_pybytes()

    def write(self, page: Page) -> bytes:
        """Return the record batch of a page."""
        if not page.count:
            return b""
        rows = np.frombuffer(page.rows, self._layout)
        arrays = [
            pa.repeat(self._symbol, page.count) if column.kind == "text" else _array(rows[column.name], column.kind)
            for column in self._columns
        ]
        return pa.record_batch(arrays, schema=self._schema).serialize().to_pybytes()


def _array(values: np.ndarray[Any, Any], kind: Kind) -> pa.Array:
    native = values.astype(values.dtype.newbyteorder("="))
    if TYPES[kind] == TIME:
        native = (native + EPOCH).view("M8[us]")
    return pa.array(native, TYPES[kind], from_pandas=TYPES[kind] == NUMBER)  # NaN is null
