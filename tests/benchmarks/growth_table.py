"""Table of the growth benchmark: filled like a backfill and an import, then maintained like the jobs do."""

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
from growth_history import History, Trades, joined
from psycopg import sql

from market_data.database import migrations

Connection = psycopg.Connection[Any]

COPY_TRADES = "COPY trades (time, symbol, trade_id, price, volume) FROM STDIN (FORMAT binary)"
STAGE = """
    CREATE TEMPORARY TABLE staged (
        time timestamptz NOT NULL,
        symbol text NOT NULL,
        trade_id bigint NOT NULL,
        price numeric NOT NULL,
        volume numeric NOT NULL
    ) ON COMMIT DROP
"""
COPY_STAGED = "COPY staged (time, symbol, trade_id, price, volume) FROM STDIN (FORMAT binary)"
INSERT_STAGED = """
    INSERT INTO trades (time, symbol, trade_id, price, volume)
    SELECT time, symbol, trade_id, price, volume
    FROM staged
    ON CONFLICT (symbol, time, trade_id) DO NOTHING
"""
PAUSE_JOBS = "SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs WHERE job_id >= 1000"
ADD_SYMBOLS = "INSERT INTO symbols (symbol, name) SELECT s, s || ' Inc.' FROM unnest(%s::text[]) AS s"
# The chunks that the policies would convert if the current time was that of the newest trade. Jobs of aggregates name views,
# chunks the hypertables behind them.
OLD_CHUNKS = """
    SELECT c.chunk_schema, c.chunk_name, c.hypertable_name = 'trades'
    FROM timescaledb_information.jobs AS j
    JOIN _timescaledb_catalog.hypertable AS h ON h.id = (j.config ->> 'hypertable_id')::int
    JOIN timescaledb_information.chunks AS c ON (c.hypertable_schema, c.hypertable_name) = (h.schema_name, h.table_name)
    WHERE j.config ? 'compress_after'
        AND NOT c.is_compressed
        AND c.range_end < %s - (j.config ->> 'compress_after')::interval
    ORDER BY c.range_end
"""
CONVERT = "CALL convert_to_columnstore(%s::regclass, if_not_columnstore => true)"
ROWS = sql.SQL("SELECT count(*) FROM {}")
# Bytes of the converted chunks before and after their conversion.
DISK = """
    SELECT sum(before_compression_total_bytes), sum(after_compression_total_bytes)
    FROM chunk_columnstore_stats('trades')
"""
DISK_OF_TABLE = "SELECT total_bytes FROM hypertable_detailed_size('trades')"
DISK_OF_CANDLES = """
    SELECT sum(hypertable_size(
        format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name)::regclass
    ))
    FROM timescaledb_information.continuous_aggregates
"""

SLICE = 10_000_000
"""Trades after which old chunks are converted to the columnstore."""
SAMPLE = 3_000_000
"""Maximum number of trades for which ingest is timed; at most a quarter of a step."""
KNOWN = 100_000
"""Stored trades in each imported batch, which has as many new trades."""
IMPORTS = 3
"""Batches whose import is timed."""


def progress(text: str) -> None:
    """Print a line with the time of day to standard error."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def connect(database_url: str) -> Connection:
    """Return a connection without time-outs: a `COPY` whose first trade needs a new chunk waits for the other one."""
    options = "-c timezone=UTC -c statement_timeout=0 -c lock_timeout=0"
    return psycopg.connect(database_url, autocommit=True, options=options)


@contextmanager
def timed(text: str) -> Iterator[None]:
    """Print the duration of the block."""
    start = time.perf_counter()
    yield
    progress(f"{text}: {time.perf_counter() - start:.1f} s")


def copy_all(database_url: str, batches: Iterator[Trades], names: Any, statement: str, connections: int) -> None:
    """Store batches over several concurrent connections."""
    lock = threading.Lock()

    def work() -> None:
        with connect(database_url) as connection:
            while True:
                with lock:
                    batch = next(batches, None)
                if batch is None:
                    return
                _copy(connection, statement, batch.encoded(names))

    with ThreadPoolExecutor(connections) as pool:
        for done in [pool.submit(work) for _ in range(connections)]:
            done.result()


def _copy(connection: Connection, statement: str, data: bytes) -> None:
    with connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
        copy.write(data)


class Table:
    """A table that contains the first `count` trades of a history."""

    def __init__(self, database_url: str, history: History, connections: int) -> None:
        self.url = database_url
        self.history = history
        self.count = 0
        self.newest = 0
        self._converted = 0
        self._connections = connections
        migrations.upgrade(database_url)
        self.connection = connect(database_url)
        self.connection.execute(PAUSE_JOBS)
        self.connection.execute(ADD_SYMBOLS, [[name.decode() for name in self.history.names]])

    def grow(self, size: int) -> dict[str, float]:
        """Add trades until the table has `size`, and refresh candles. Return rates and bytes per trade by name."""
        step = size - self.count
        sample = min(SAMPLE, step // 4)
        known = min(KNOWN, sample)
        self.fill(step - sample - IMPORTS * known)
        figures = self._ingest(list(self._take(sample)), known)
        self._settle()
        with timed("vacuumed"):
            self.connection.execute("VACUUM ANALYZE")
        return figures | self._disk()

    def fill(self, count: int) -> None:
        """Add trades, refresh their candles and convert old chunks."""
        for done in range(0, count, SLICE):
            part = min(SLICE, count - done)
            with timed(f"stored {part:,} trades by {self._connections} connections"):
                copy_all(self.url, self._take(part), self.history.names, COPY_TRADES, self._connections)
            self._settle()

    def _take(self, count: int) -> Iterator[Trades]:
        for batch in self.history.take(count):
            self.count += len(batch)
            self.newest = max(self.newest, int(batch.time[-1]))
            yield batch

    def _ingest(self, sample: list[Trades], known: int) -> dict[str, float]:
        """Return the trades per second over one connection, of COPY and of an import of which half is stored already."""
        names = self.history.names
        buffers = [batch.encoded(names) for batch in sample]
        start = time.perf_counter()
        for data in buffers:
            _copy(self.connection, COPY_TRADES, data)
        rate = sum(map(len, sample)) / (time.perf_counter() - start)
        last = joined(sample)[-known:]
        buffers = []
        for _ in range(IMPORTS):
            fresh = joined(list(self._take(known)))
            buffers.append(joined([last, fresh]).encoded(names))
            last = fresh
        start = time.perf_counter()
        for data in buffers:
            with self.connection.transaction():
                self.connection.execute(STAGE)
                _copy(self.connection, COPY_STAGED, data)
                stored = self.connection.execute(INSERT_STAGED).rowcount
                assert stored == known, stored
        import_rate = IMPORTS * 2 * known / (time.perf_counter() - start)
        progress(f"{self.count:,} trades: COPY {rate:,.0f}/s, with duplicates {import_rate:,.0f}/s")
        return {"COPY, trades/s": rate, "import, trades/s": import_rate}

    def _settle(self) -> None:
        """Refresh candles and convert old chunks, as the jobs do."""
        with timed("candles refreshed"):
            self.connection.execute("SET work_mem = '128MB'")  # refreshes are not measured
            while self._one("SELECT EXISTS (SELECT FROM stale_ranges)"):
                self.connection.execute("CALL refresh_candles()")
            self.connection.execute("RESET work_mem")
        newest = self._one("SELECT to_timestamp(%s)", self.newest / 1e6)
        chunks = self.connection.execute(OLD_CHUNKS, [newest]).fetchall()
        with timed(f"{len(chunks)} chunks converted"):
            self._convert(chunks)

    def _convert(self, chunks: Sequence[tuple[str, str, bool]]) -> None:
        left = iter(chunks)
        lock = threading.Lock()

        def work() -> None:
            with connect(self.url) as connection:
                while True:
                    with lock:
                        schema, name, of_trades = next(left, ("", "", False))
                    if not name:
                        return
                    chunk = sql.Identifier(schema, name)
                    rows = connection.execute(ROWS.format(chunk)).fetchall()[0][0] if of_trades else 0
                    connection.execute(CONVERT, [chunk.as_string(connection)])
                    with lock:
                        self._converted += rows

        with ThreadPoolExecutor(self._connections) as pool:
            for done in [pool.submit(work) for _ in range(self._connections)]:
                done.result()

    def _disk(self) -> dict[str, float]:
        before, after = self.connection.execute(DISK).fetchall()[0]
        return {
            "bytes a trade, in rows": float(before) / self._converted,
            "bytes a trade, in the columnstore": float(after) / self._converted,
            "bytes a trade, whole table": self._one(DISK_OF_TABLE) / self.count,
            "bytes a trade, its candles": float(self._one(DISK_OF_CANDLES)) / self.count,
        }

    def _one(self, query: str, *parameters: object) -> Any:
        return self.connection.execute(query.encode(), parameters or None).fetchall()[0][0]
