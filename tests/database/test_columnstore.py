"""Trades in the columnstore: late ones that are stored after a chunk was compressed are read in order."""

from datetime import UTC, datetime

import psycopg
from helpers.candle_scenarios import connected_to_migrated
from helpers.schema import alembic
from helpers.support import SERVER, Connection, Databases

STORE = """
    INSERT INTO trades (time, symbol, trade_id, price, volume)
    SELECT %s::timestamptz + number * INTERVAL '1 minute', 'AAPL', %s + number, 1, 1
    FROM generate_series(%s::int, %s::int) AS number
"""
START = datetime(2026, 2, 9, tzinfo=UTC)
COMPRESS = "SELECT compress_chunk(chunk) FROM show_chunks('trades') AS chunk"
ORDERED = "SELECT time, trade_id FROM trades WHERE symbol = 'AAPL' ORDER BY time, trade_id"


def store_and_compress(connection: Connection) -> None:
    """Compress trades, then late ones: one before them, others between them with lower ids."""
    connection.execute("INSERT INTO symbols (symbol, name) VALUES ('AAPL', 'Apple')")
    connection.execute(STORE, (START, 1000, 10, 100))
    connection.execute(COMPRESS)
    connection.execute(STORE, (START, 0, 1, 1))
    connection.execute(STORE, (START.replace(second=30), 0, 40, 43))
    connection.execute(COMPRESS)


def are_in_order(connection: Connection) -> bool:
    trades = connection.execute(ORDERED).fetchall()
    return len(trades) == 96 and trades == sorted(trades)


def test_late_trades_that_are_compressed_among_others_are_read_in_order(new_migrated_database: Databases):
    with connected_to_migrated(new_migrated_database) as connection:
        store_and_compress(connection)
        assert are_in_order(connection)


if not SERVER:  # whose TimescaleDB may be older

    def test_chunks_that_were_recompressed_in_a_wrong_order_are_repaired(new_migrated_database: Databases):
        with new_migrated_database() as url:
            assert alembic(url, "downgrade", "0012").returncode == 0
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("SET timescaledb.enable_segmentwise_recompression = on")
                store_and_compress(connection)
                assert not are_in_order(connection)
            assert alembic(url, "upgrade", "head").returncode == 0
            with psycopg.connect(url, autocommit=True) as connection:
                assert are_in_order(connection)
                connection.execute(COMPRESS)
                assert are_in_order(connection)
