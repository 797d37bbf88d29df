"""SQL over HTTP in DuckDB: the candles of two symbols side by side.

python duckdb_candles.py http://127.0.0.1:8000 now-1d    (pip install duckdb)
"""

import json
import sys
from pathlib import Path

import duckdb

BASE, START = sys.argv[1:3] if len(sys.argv) > 2 else ("http://127.0.0.1:8000", "now-1d")
URL = f"{BASE}/candles?interval=1h&start={START}&format=parquet"

QUERY = """
    SELECT strftime(aapl.timestamp AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%SZ') AS hour, aapl.close, msft.close,
           aapl.close / msft.close AS ratio
    FROM read_parquet(? || '&symbol=AAPL') AS aapl
    JOIN read_parquet(? || '&symbol=MSFT') AS msft ON msft.timestamp = aapl.timestamp
    ORDER BY aapl.timestamp
"""

# With AUTH=required: CREATE SECRET (TYPE http, BEARER_TOKEN 'md_…').
config = {}
try:
    import duckdb_ext  # DuckDB loads `httpfs` from its own server; this package has it, for networks without that server

    config["extension_directory"] = str(Path(next(iter(duckdb_ext.__path__)), "extensions"))
except ImportError:
    pass
with duckdb.connect(config=config) as database:
    rows = database.execute(QUERY, [URL, URL]).fetchall()

print(json.dumps(rows))
