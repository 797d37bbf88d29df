"""Report what each column costs on disk: `uv run --group benchmarks python tests/benchmarks/disk.py`.

On the server in TEST_DATABASE_URL (a superuser's DSN), else on the embedded engine (with few `--days`). `growth.py` takes
hours to fill months. Here, its 20 liquid symbols trade every eight seconds in the first three weeks only, then every 40
seconds: each still has a candle in every minute. The other 4,980 symbols trade as in `growth.py`, so chunks have the same
candles in the same batches. Bytes of trades are those of the first three weeks, and bytes of candles are divided by the
trades that `growth.py` has in the same days.

Chunks are converted as the policies would at the time of the newest trade. `--of URL` measures a database that exists.
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from filled import new_database
from growth_history import BURST, HOUR, LIQUID, START, STEP_SECONDS, History, Trades
from growth_table import Connection, Table, connect
from psycopg import sql

SYMBOLS = 5000
DENSE_DAYS = 21
FOREVER = datetime(9999, 1, 1, tzinfo=UTC)
SPARSE_SECONDS = 40
TRADES_A_DAY = LIQUID * 86_400 // STEP_SECONDS + (SYMBOLS - LIQUID) * BURST // 3

TABLES = """
    SELECT 'trades', 'public.trades'
    UNION ALL
    SELECT view_name, format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name)
    FROM timescaledb_information.continuous_aggregates
"""
CHUNKS = """
    SELECT format('%%I.%%I', chunk.chunk_schema, chunk.chunk_name), settings.compress_relid::regclass::text
    FROM timescaledb_information.chunks AS chunk
    LEFT JOIN _timescaledb_catalog.compression_settings AS settings
        ON settings.relid = format('%%I.%%I', chunk.chunk_schema, chunk.chunk_name)::regclass
    WHERE format('%%I.%%I', hypertable_schema, hypertable_name) = %s AND range_start < %s
"""
COLUMNS = (
    "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
)
BATCHES = sql.SQL("SELECT count(*), coalesce(sum(_ts_meta_count), 0)::bigint{} FROM {}")
BYTES = sql.SQL(", coalesce(sum(pg_column_size({})), 0)::bigint")
SIZE = "SELECT pg_total_relation_size(%s::regclass)"
INDEXES = "SELECT pg_indexes_size(%s::regclass)"
ROWS = sql.SQL("SELECT count(*) FROM ONLY {}")


class Spread(History):
    """Days on which all symbols trade, three weeks of them with as many trades as in `growth.py`."""

    def _generate(self) -> Iterator[Trades]:
        others = np.arange(self.liquid, len(self.names))
        first = int(START.timestamp()) * 1_000_000
        day = 0
        while True:
            seconds = STEP_SECONDS if day < DENSE_DAYS else SPARSE_SECONDS
            yield self._dense_day(first + day * 24 * HOUR, others[day % 3 :: 3], seconds)
            day += 1


class Space:
    """Bytes of a hypertable: of its chunks in rows, and of those in the columnstore."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows = 0
        self.bytes_in_rows = 0
        self.converted = 0
        self.batches = 0
        self.columns: dict[str, int] = {}
        self.indexes = 0
        self.bytes_converted = 0

    @property
    def total(self) -> int:
        """Bytes of all chunks."""
        return self.bytes_in_rows + self.bytes_converted

    def add(self, connection: Connection, chunk: str, compressed: str | None) -> None:
        """Count a chunk."""
        size = _one(connection, SIZE, chunk)
        rows = connection.execute(ROWS.format(sql.SQL(chunk))).fetchall()[0][0]  # pyright: ignore[reportArgumentType]
        if not compressed:
            self.rows += rows
            self.bytes_in_rows += size
            return
        names = [name for (name,) in connection.execute(COLUMNS, [compressed])]
        query = BATCHES.format(
            sql.Composed([BYTES.format(sql.Identifier(name)) for name in names]),
            sql.SQL(compressed),  # pyright: ignore[reportArgumentType]  # a quoted name
        )
        batches, converted, *figures = connection.execute(query).fetchall()[0]
        self.batches += batches
        self.converted += converted + rows
        for name, figure in zip(names, figures, strict=True):
            column = "metadata" if name.startswith("_ts_meta_") else name
            self.columns[column] = self.columns.get(column, 0) + figure
        self.indexes += _one(connection, INDEXES, compressed)
        self.bytes_converted += size + _one(connection, SIZE, compressed)


def main() -> None:
    options = _options()
    with _database(options) as (database_url, days), connect(database_url) as connection:
        spaces = [*_spaces(connection, FOREVER if options.of else START + timedelta(days=DENSE_DAYS))]
        _print_tables(spaces, days)
        _print_columns(spaces)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Reports what each column costs on disk.")
    parser.add_argument("--days", type=int, default=210, help="length of the history, at least 42 (default: %(default)s)")
    parser.add_argument("--of", metavar="URL", help="measure this database, with a history of --days, instead")
    return parser.parse_args()


@contextmanager
def _database(options: argparse.Namespace) -> Iterator[tuple[str, int]]:
    if options.of:
        yield options.of, options.days
        return
    with new_database() as database_url:
        table = Table(database_url, Spread(SYMBOLS), 2 if os.environ.get("TEST_DATABASE_URL") else 1)
        dense = min(DENSE_DAYS, options.days)
        sparse_a_day = TRADES_A_DAY - LIQUID * (86_400 // STEP_SECONDS - 86_400 // SPARSE_SECONDS)
        table.fill(dense * TRADES_A_DAY + (options.days - dense) * sparse_a_day)
        table.connection.close()
        yield database_url, options.days


def _spaces(connection: Connection, until: datetime) -> Iterator[Space]:
    for name, hypertable in connection.execute(TABLES).fetchall():
        space = Space(name)
        for chunk, compressed in connection.execute(CHUNKS, [hypertable, until if name == "trades" else FOREVER]).fetchall():
            space.add(connection, chunk, compressed)
        yield space


def _one(connection: Connection, query: str, *parameters: object) -> Any:
    return connection.execute(query.encode(), parameters).fetchall()[0][0]


def _print_tables(spaces: Sequence[Space], days: int) -> None:
    candles = sum(space.total for space in spaces[1:])
    print("\n| | rows | share of candles | bytes a row, in rows | in the columnstore | rows a batch | bytes a trade |")
    print("| --- |" + " ---: |" * 6)
    for space in spaces:
        is_trades = space.name == "trades"
        cells = [
            f"{space.rows + space.converted:,}",
            "" if is_trades else f"{100 * space.total / candles:.0f}%",
            f"{space.bytes_in_rows / space.rows:.1f}" if space.rows else "",
            f"{space.bytes_converted / space.converted:.1f}" if space.converted else "",
            f"{space.converted / space.batches:.0f}" if space.batches else "",
            "" if is_trades else f"{space.total / days / TRADES_A_DAY:.2f}",
        ]
        print(f"| `{space.name}` | {' | '.join(cells)} |")
    print(f"\ncandles: {candles / days / TRADES_A_DAY:.2f} bytes a trade at {TRADES_A_DAY:,} trades a day for {days} days")


def _print_columns(spaces: Sequence[Space]) -> None:
    """Print the bytes of a row in the columnstore, by column; `filling` is what pages and headers add to values."""
    names = list(dict.fromkeys(name for space in spaces for name in space.columns))
    print(f"\n| columnstore | {' | '.join(f'`{space.name}`' for space in spaces if space.converted)} |")
    print("| --- |" + " ---: |" * sum(1 for space in spaces if space.converted))
    for name in names:
        cells = [
            f"{space.columns[name] / space.converted:.2f}" if name in space.columns else ""
            for space in spaces
            if space.converted
        ]
        print(f"| {name} | {' | '.join(cells)} |")
    for name in ("indexes", "filling"):
        cells = [f"{_rest(space)[name] / space.converted:.2f}" for space in spaces if space.converted]
        print(f"| {name} | {' | '.join(cells)} |")


def _rest(space: Space) -> dict[str, int]:
    values = sum(space.columns.values())
    return {"indexes": space.indexes, "filling": space.bytes_converted - space.indexes - values}


if __name__ == "__main__":
    main()
