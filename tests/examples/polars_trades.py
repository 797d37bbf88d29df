"""Trades in polars: volume and volume-weighted average price of each hour and symbol, from one Parquet response.

python polars_trades.py http://127.0.0.1:8000 now-1d    (pip install polars)
"""

import sys

import polars as pl

BASE, START = sys.argv[1:3] if len(sys.argv) > 2 else ("http://127.0.0.1:8000", "now-1d")
URL = f"{BASE}/trades?symbols=AAPL,MSFT&start={START}&order=asc&format=parquet"

trades = pl.read_parquet(URL)
hours = (
    trades.group_by("symbol", pl.col("timestamp").dt.truncate("1h"))
    .agg(
        pl.col("volume").sum(),
        ((pl.col("price") * pl.col("volume")).sum() / pl.col("volume").sum()).alias("vwap"),
        pl.len().alias("trade_count"),
    )
    .sort("symbol", "timestamp")
)

print(hours.write_json())
