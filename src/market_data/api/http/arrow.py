"""Rows as an Arrow IPC stream: the packed columns of the database, without a step of Python for each row."""

# pyarrow comes without types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownParameterType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from market_data.queries.row_pages import PACKED_EPOCH, Column, Page

# How a column comes from the database, and what it is in Arrow. A number that is none (NaN) stands for null.
PACKED: Mapping[Column, str] = {"time": ">i8", "integer": ">i8", "number": ">f8", "flag": "?"}
TYPES: Mapping[Column, pa.DataType] = {
    "time": pa.timestamp("us", tz="UTC"),
    "integer": pa.int64(),
    "number": pa.float64(),
    "flag": pa.bool_(),
}
EPOCH = int(PACKED_EPOCH.timestamp()) * 1_000_000
"""In microseconds, by the epoch of Arrow."""


class ArrowWriter:
    """One record batch a page."""

    tail = b"\xff\xff\xff\xff\x00\x00\x00\x00"
    """The end of a stream."""

    def __init__(self, fields: Sequence[str], packed: Mapping[str, Column], symbol: str) -> None:
        self._symbol = pa.scalar(symbol, pa.string())
        self._packed = packed
        self._layout = np.dtype([(name, PACKED[column]) for name, column in packed.items()])
        self._schema = pa.schema(
            [
                pa.field(name, TYPES[packed[name]], nullable=packed[name] == "number")
                if name in packed
                else pa.field(name, pa.string(), nullable=False)
                for name in fields
            ]
        )
        self.head: bytes = self._schema.serialize().to_pybytes()

    def write(self, page: Page) -> bytes:
        """The record batch of a page."""
        if not page.count:
            return b""
        rows = np.frombuffer(page.rows, self._layout)
        columns = [
            _column(rows[name], self._packed[name]) if name in self._packed else pa.repeat(self._symbol, page.count)
            for name in self._schema.names
        ]
        return pa.record_batch(columns, schema=self._schema).serialize().to_pybytes()


def _column(values: np.ndarray[Any, Any], column: Column) -> pa.Array:
    native = values.astype(values.dtype.newbyteorder("="))
    if column == "time":
        native = (native + EPOCH).view("M8[us]")
    return pa.array(native, TYPES[column], from_pandas=column == "number")
