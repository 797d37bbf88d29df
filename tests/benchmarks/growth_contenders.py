"""The same reads by other means: from raw trades in SQL, from a plain table, by DuckDB over Parquet.

Each contender returns JSON that the database encodes, like the service. Each is optimized: the plain table gets its primary
key after it is filled, so that the index is compact, and has first() and last() of TimescaleDB; DuckDB caches the metadata
of the files, and orders trades by time alone instead of (time, trade_id).
"""

import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb  # pyright: ignore[reportMissingImports]  # the checks do not install the group `benchmarks`
import psycopg
import pyarrow.parquet as pq
from growth_history import HOUR, START, History, Trades, joined
from growth_reads import DAY, DEEP, PAGE, READS, Places, answers
from growth_table import connect, copy_all, progress, timed

Reads = Mapping[str, Callable[[str, Places], Any]]
"""Functions that return JSON for a symbol and a time range, by read."""

CREATE_PLAIN = """
    CREATE TABLE plain_trades (
        time timestamptz NOT NULL,
        symbol text NOT NULL,
        trade_id bigint NOT NULL DEFAULT 0,
        price numeric NOT NULL,
        volume numeric NOT NULL,
        write_id bigint NOT NULL DEFAULT 0
    )
"""
COPY_PLAIN = "COPY plain_trades (time, symbol, trade_id, price, volume) FROM STDIN (FORMAT binary)"
KEY = "ALTER TABLE plain_trades ADD PRIMARY KEY (symbol, time, trade_id)"

ENOUGH_SECONDS = 3.0
LIMIT_SECONDS = 180.0
LARGEST_REPEATS = 50

# {0} is the table. Latest prices are read by symbol, because DISTINCT ON reads every trade.
LATEST = """
    SELECT row_to_json(latest)::text FROM (
        SELECT symbol, price, volume, time AS timestamp FROM {0}
        WHERE symbol = %(symbol)s ORDER BY time DESC, trade_id DESC LIMIT 1
    ) AS latest
"""
ALL_LATEST = """
    SELECT json_agg(latest ORDER BY symbol)::text FROM (
        SELECT newest.* FROM symbols CROSS JOIN LATERAL (
            SELECT symbol, price, volume, time AS timestamp FROM {0} AS t
            WHERE t.symbol = symbols.symbol ORDER BY time DESC, trade_id DESC LIMIT 1
        ) AS newest
    ) AS latest
"""
CANDLES = """
    SELECT json_agg(candle ORDER BY timestamp)::text FROM (
        SELECT
            time_bucket(%(bucket)s, time) AS timestamp,
            first(price, time ORDER BY trade_id) AS open, max(price) AS high, min(price) AS low,
            last(price, time ORDER BY trade_id DESC) AS close, sum(volume) AS volume,
            (sum(price * volume) / nullif(sum(volume), 0))::float8 AS vwap, count(*) AS trade_count
        FROM {0}
        WHERE symbol = %(symbol)s AND time >= %(start)s AND time < %(end)s
        GROUP BY time_bucket(%(bucket)s, time)
    ) AS candle
"""
TRADES = """
    SELECT json_agg(page ORDER BY timestamp DESC, trade_id DESC)::text FROM (
        SELECT symbol, price, volume, time AS timestamp, trade_id FROM {0}
        WHERE symbol = %(symbol)s AND time >= %(start)s AND time <= %(end)s AND (time, trade_id) < (%(end)s, 0)
        ORDER BY time DESC, trade_id DESC LIMIT %(limit)s
    ) AS page
"""

DUCK_LATEST = """
    SELECT to_json({symbol: symbol, price: price, volume: volume, timestamp: time})
    FROM trades WHERE symbol = $symbol ORDER BY time DESC, trade_id DESC LIMIT 1
"""
DUCK_ALL_LATEST = """
    SELECT to_json(list({symbol: symbol, price: l.price, volume: l.volume, timestamp: l.time} ORDER BY symbol)) FROM (
        SELECT symbol, arg_max({price: price, volume: volume, time: time}, time) AS l FROM trades GROUP BY symbol
    )
"""
DUCK_CANDLES = """
    SELECT to_json(list(candle ORDER BY candle.timestamp)) FROM (
        SELECT {
            timestamp: time_bucket($bucket::interval, time),
            open: arg_min(price, time), high: max(price), low: min(price), close: arg_max(price, time), volume: sum(volume),
            vwap: sum(price::double * volume::double) / nullif(sum(volume), 0)::double, trade_count: count(*)
        } AS candle
        FROM trades
        WHERE symbol = $symbol AND time >= $start AND time < $end
        GROUP BY time_bucket($bucket::interval, time)
    )
"""
DUCK_TRADES = """
    SELECT to_json(list({symbol: symbol, price: price, volume: volume, timestamp: time, trade_id: trade_id}
        ORDER BY time DESC, trade_id DESC))
    FROM (
        SELECT * FROM trades
        WHERE symbol = $symbol AND time >= $start AND time <= $end AND (time < $end OR (time = $end AND trade_id < 0))
        ORDER BY time DESC, trade_id DESC LIMIT $limit
    )
"""


def compare(database_url: str, symbols: Sequence[str], history: History, size: int, at: Places, connections: int) -> Any:
    """Yield each contender with its milliseconds by read, on the first `size` trades of a history; None for a time-out."""
    expected = {name: _values(answer) for name, answer in answers(database_url, symbols[0], at).items()}
    with connect(database_url) as connection, TemporaryDirectory() as folder:
        connection.execute(f"SET statement_timeout = {round(LIMIT_SECONDS * 1000)}".encode())
        yield "raw trades in SQL", _times(_sql(connection, "trades"), expected, symbols, at)
        with timed("Parquet written"):
            _write_parquet(Path(folder), History(len(history.names)).take(size), history)
        yield "DuckDB over Parquet", _times(_duckdb(Path(folder)), expected, symbols, at)
        with _plain_table(database_url, History(len(history.names)).take(size), history, connections):
            yield "plain table, B-tree", _times(_sql(connection, "plain_trades"), expected, symbols, at)


def _times(reads: Reads, expected: Mapping[str, Any], symbols: Sequence[str], at: Places) -> dict[str, float | None]:
    figures: dict[str, float | None] = {}
    for name in READS:
        figures[name] = None
        try:
            first = time.perf_counter()
            answer = reads[name](symbols[0], at)
            figures[name] = (time.perf_counter() - first) * 1000
        except psycopg.errors.QueryCanceled:
            continue
        assert _values(answer) == expected[name], f"{name}: {str(answer)[:200]} is not {str(expected[name])[:200]}"
        times: list[float] = []
        while len(times) < LARGEST_REPEATS and time.perf_counter() < first + ENOUGH_SECONDS:
            start = time.perf_counter()
            reads[name](symbols[len(times) % len(symbols)], at)
            times.append((time.perf_counter() - start) * 1000)
        if times:
            figures[name] = statistics.median(times)
        progress(f"  {name}: {figures[name]:,.1f} ms")
    return figures


def _sql(connection: psycopg.Connection[Any], table: str) -> Reads:
    def run(query: str, **parameters: object) -> str:
        cursor = connection.execute(query.format(table).encode(), parameters, prepare=True)
        return cursor.fetchall()[0][0]

    return _reads(run, LATEST, ALL_LATEST, CANDLES, TRADES, lambda moment: moment)


def _duckdb(folder: Path) -> Reads:
    database = duckdb.connect()
    database.execute("SET parquet_metadata_cache = true")
    database.execute(f"CREATE VIEW trades AS SELECT * FROM read_parquet('{folder}/*.parquet')")

    def run(query: str, **parameters: object) -> str:
        return database.execute(query, parameters).fetchall()[0][0]

    return _reads(run, DUCK_LATEST, DUCK_ALL_LATEST, DUCK_CANDLES, DUCK_TRADES, lambda moment: moment.replace(tzinfo=None))


def _reads(
    run: Callable[..., str],
    latest: str,
    all_latest: str,
    candles: str,
    trades: str,
    encode_time: Callable[[datetime], datetime],
) -> Reads:
    """Return the reads of a contender, in the order of READS."""

    def candles_of(bucket: str, days: int) -> Callable[[str, Places], str]:
        return lambda symbol, at: run(
            candles, symbol=symbol, bucket=bucket, start=encode_time(at.midnight - days * DAY), end=encode_time(at.midnight)
        )

    calls = (
        lambda symbol, _: run(latest, symbol=symbol),
        lambda _, __: run(all_latest),
        candles_of("1 minute", 1),
        candles_of("1 day", 365),
        lambda symbol, at: run(trades, symbol=symbol, start=encode_time(START), end=encode_time(at.beyond), limit=PAGE),
        lambda symbol, _: run(trades, symbol=symbol, start=encode_time(START), end=encode_time(DEEP), limit=PAGE),
    )
    return dict(zip(READS, calls, strict=True))


def _write_parquet(folder: Path, batches: Iterator[Trades], history: History) -> None:
    """Write one file per week."""
    week, parts = 0, list[Trades]()

    def write() -> None:
        if parts:
            pq.write_table(
                joined(parts).arrow(history.names),
                folder / f"{week}.parquet",
                compression="zstd",
                row_group_size=122_880,
                store_decimal_as_integer=True,
            )

    for batch in batches:
        weeks = batch.time // (7 * 24 * HOUR)
        for each in sorted(set(weeks.tolist())):
            if each != week:
                write()
                week, parts = each, []
            parts.append(batch[weeks == each])
    write()
    progress(f"the Parquet files have {sum(path.stat().st_size for path in folder.iterdir()) / 1e6:,.0f} MB")


@contextmanager
def _plain_table(database_url: str, batches: Iterator[Trades], history: History, connections: int) -> Iterator[None]:
    with connect(database_url) as connection:
        connection.execute(CREATE_PLAIN)
        try:
            with timed("plain table filled"):
                copy_all(database_url, batches, history.names, COPY_PLAIN, connections)
            with timed("primary key created"):
                connection.execute("SET maintenance_work_mem = '512MB'")
                connection.execute(KEY)
            with timed("vacuumed"):
                connection.execute("VACUUM ANALYZE plain_trades")
            size = connection.execute("SELECT pg_total_relation_size('plain_trades')").fetchall()[0][0]
            progress(f"the plain table has {size / 1e6:,.0f} MB")
            yield
        finally:
            connection.execute("DROP TABLE plain_trades")


def _values(answer: bytes | str) -> list[tuple[object, ...]]:
    """Return the values of each row in the order of their names, because the encodings of the contenders differ."""
    rows = json.loads(answer)
    return [
        tuple(_value(name, row[name]) for name in sorted(row) if name != "closed")
        for row in (rows if isinstance(rows, list) else [rows])
    ]


def _value(name: str, value: Any) -> object:
    if name == "timestamp":
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=moment.tzinfo or UTC)
    return value if isinstance(value, str) else float(f"{float(value):.9g}")
