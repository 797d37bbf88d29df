"""polars, fsspec and DuckDB read rows over HTTP in byte ranges."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from helpers.support import Connection, store, trade

UV = os.environ.get("UV") or shutil.which("uv")
SCRIPT = Path(__file__).parent / "clients" / "range_readers.py"
PACKAGES = ("polars>=2.1,<3", "fsspec>=2026.9", "aiohttp>=3.14,<4", "duckdb==1.4.4", "duckdb-ext-httpfs==1.4.4.20260205")
"""DuckDB usually downloads its extension `httpfs` from its own server; this version finds it on PyPI, too."""

COUNT = 20_000
"""Trades at the start, more than a megabyte in each format but Parquet: readers need several ranges."""

INSERT = """
    INSERT INTO trades (time, symbol, trade_id, price, volume)
    SELECT '2026-02-08T10:30:00Z'::timestamptz + number * INTERVAL '10 milliseconds', 'AAPL', number,
        100 + random(), random()
    FROM generate_series(%s::int, %s::int) AS number
"""


@pytest.fixture
def arriving(connection: Connection, database_url: str) -> Iterator[None]:
    """Store trades with ascending ids, and newer ones until the end of the test."""
    store(connection, trade(0, "1", symbol="MSFT"))
    connection.execute("INSERT INTO symbols (symbol, name) VALUES ('AAPL', 'Apple')")
    with connection.transaction():
        connection.execute("SET LOCAL market_data.stream = 'off'")  # events would take most of the time
        connection.execute(INSERT, (1, COUNT))
    stopped = threading.Event()

    def insert() -> None:
        number = COUNT
        with psycopg.connect(database_url, autocommit=True) as writer:
            while not stopped.wait(0.01):
                number += 1
                writer.execute(INSERT, (number, number))

    thread = threading.Thread(target=insert)
    thread.start()
    yield
    stopped.set()
    thread.join()


@pytest.mark.timeout(300)  # the first run downloads the readers
@pytest.mark.skipif(UV is None, reason="uv installs the readers")
@pytest.mark.usefixtures("arriving")
def test_readers_get_the_rows_of_one_moment(base: str):
    packages = [argument for package in PACKAGES for argument in ("--with", package)]
    command = [
        str(UV),
        "run",
        "--quiet",
        "--isolated",
        "--no-project",
        "--python",
        sys.executable,
        *packages,
        "python",
        SCRIPT,
    ]
    url = f"{base}/trades?symbol=AAPL&order=desc"
    done = subprocess.run([*command, url], capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == 0, done.stderr[-3000:]
    counts = list(json.loads(done.stdout).values())
    assert len(counts) == 8
    assert COUNT < counts[0] < counts[-1]
