"""Database for the benchmarks: two days of trades of five symbols, after a week of trades of one of them."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg

from market_data.database import migrations

SYMBOLS = ["AAPL", "AMZN", "GOOGL", "MSFT", "TSLA"]

START = datetime(2026, 2, 2, tzinfo=UTC)
"""Time of the first trade, of the first symbol."""
DAY = datetime(2026, 2, 8, tzinfo=UTC)
"""Start of two days in which all symbols have a trade every five seconds."""

FILL = """
    INSERT INTO trades (time, symbol, trade_id, price, volume)
    SELECT time, symbol, 0, round((180 + 8 * sin(extract(epoch FROM time) / 7000) + random())::numeric, 2),
        round(exp(4 + random())::numeric, 2)
    FROM unnest(%s::text[]) AS symbol, generate_series(%s, %s::timestamptz - interval '1 s', %s::interval) AS time
"""


def fill(database_url: str) -> str:
    """Migrate and fill an empty database, disable its jobs, and return a description of the server."""
    migrations.upgrade(database_url)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs")
        connection.execute("SELECT setseed(0.5)")
        connection.execute(
            "INSERT INTO symbols (symbol, name) SELECT s, s || ' Inc.' FROM unnest(%s::text[]) AS s", [SYMBOLS]
        )
        connection.execute(FILL, [SYMBOLS[:1], START, DAY, "30 s"])
        connection.execute(FILL, [SYMBOLS, DAY, DAY.replace(day=10), "5 s"])
        connection.execute("CALL refresh_candles()")
        connection.execute("VACUUM ANALYZE")
        return " ".join(
            connection.execute(query).fetchall()[0][0]
            for query in (
                "SELECT split_part(version(), ' on ', 1)",
                "SELECT 'with TimescaleDB ' || extversion FROM pg_extension WHERE extname = 'timescaledb'",
            )
        )


@contextmanager
def new_database() -> Iterator[str]:
    """Create an empty database, on the server in TEST_DATABASE_URL or on an embedded engine, within a `with` block."""
    if server := os.environ.get("TEST_DATABASE_URL"):
        name = f"market_data_benchmark_{uuid4().hex[:12]}"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        try:
            yield urlsplit(server)._replace(path=f"/{name}").geturl()
        finally:
            with psycopg.connect(server, autocommit=True) as connection:
                connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())
    else:
        from market_data import embedded

        with (
            tempfile.TemporaryDirectory() as folder,
            embedded.owned_engine(Path(folder), report=print, port=0) as database_url,
        ):
            yield database_url
