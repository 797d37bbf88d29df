"""Candles in pandas: the minutes since a time, and their hours.

python pandas_candles.py http://127.0.0.1:8000 now-1d    (pip install pandas)
"""

import sys

import pandas as pd

BASE, START = sys.argv[1:3] if len(sys.argv) > 2 else ("http://127.0.0.1:8000", "now-1d")
URL = f"{BASE}/candles?symbol=AAPL&interval=1m&start={START}&format=csv"

# With AUTH=required: pd.read_csv(URL, storage_options={"Authorization": "Bearer md_…"}, …)
minutes = pd.read_csv(URL, parse_dates=["timestamp"], index_col="timestamp")
minutes["turnover"] = minutes["vwap"] * minutes["volume"]
columns = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum", "turnover": "sum"}
hours = minutes.resample("1h").agg(columns).dropna()
hours["vwap"] = hours.pop("turnover") / hours["volume"]
hours["return"] = hours["close"].pct_change()

print(hours.reset_index().to_json(orient="records", date_format="iso", date_unit="s", double_precision=15))
