"""Pages of rows, written by the database in the form that they are answered in.

Measured on a server: 1,440 candles as JSON cost the service a third of the time that structs encoded here do, the database
a sixth more; 10,000 block its event loop for 6 ms, not 18. For 200,000 trades as CSV the database takes 0.29 s with
`to_json`, 0.40 s with `to_char`, 0.33 s through COPY, which hands over each row on its own; packed, in one binary value,
0.24 s, against 0.31 s through COPY and 0.41 s as arrays. Symbols need no escaping: their form is checked by the table.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from struct import Struct as Layout
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import Raw, Struct
from psycopg import AsyncConnection

Connection = AsyncConnection[Any]

RowKey = tuple[datetime, int]
"""Of a trade: time and trade_id. Of a candle: start of its bucket and 0."""

Order = Literal["asc", "desc"]
"""By key: oldest or newest first."""

RowFormat = Literal["json", "csv", "packed"]
"""How rows are written: as the elements of a JSON array; as lines of CSV; or packed, each column in the binary form of
PostgreSQL (big-endian, times in microseconds since 2000) and as many bytes wide in every row."""

Column = Literal["time", "integer", "number", "flag"]
"""What a packed column holds. A number that is not there is NaN."""

PACKED_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Page:
    """Rows in the form that was asked for, their number, and the key of the last of them where others follow."""

    rows: Raw | bytes
    """The whole array as JSON; the lines of CSV; the packed rows one behind the other."""
    count: int
    last: RowKey | None
    found: int
    """Those of them that are stored, and not made up to fill a gap."""


class KeyReaders(NamedTuple):
    """How to tell a row's key from its line of CSV, and from its packed form; from JSON it is always the same."""

    csv: Callable[[str], RowKey]
    packed: Callable[[bytes], RowKey]


class _JsonKey(Struct):
    timestamp: datetime
    trade_id: int = 0


def cut(form: RowFormat, rows: Any, count: int, found: int, limit: int, key: KeyReaders) -> Page:
    """The page in a statement's answer, which has one row more than the limit where others follow."""
    follow = count > limit
    last = None
    if form == "json":
        if follow:
            rows = rows.rpartition(",{")[0]
            read = msgspec.json.decode(rows[rows.rindex("{") :], type=_JsonKey)
            last = read.timestamp, read.trade_id
        rows = Raw(f"[{rows or ''}]")
    elif form == "csv":
        if follow:
            rows = rows[: rows.rindex("\n", 0, -1) + 1]
            last = key.csv(rows[rows.rfind("\n", 0, -1) + 1 : -1])
        rows = (rows or "").encode()
    elif follow:
        width = len(rows) // count
        rows = rows[:-width]
        last = key.packed(rows[-width:])
    return Page(rows or b"", min(count, limit), last, found)


def csv_time(text: str) -> datetime:
    """A time as the database writes it into CSV."""
    return datetime.fromisoformat(text)


_PACKED_KEY = Layout("!qq")


def packed_key(row: bytes) -> RowKey:
    """The key of a packed row that begins with a time and a number."""
    microseconds, number = _PACKED_KEY.unpack_from(row)
    return PACKED_EPOCH + timedelta(microseconds=microseconds), number
