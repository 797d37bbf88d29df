"""NautilusTrader: candles of a minute as bars, for `BacktestEngine.add_data` or a `ParquetDataCatalog`.

python nautilus_bars.py http://127.0.0.1:8000 now-1d    (pip install nautilus_trader)
"""

import json
import sys

import pandas as pd
from nautilus_trader.model.data import BarType
from nautilus_trader.persistence.wranglers import BarDataWrangler
from nautilus_trader.test_kit.providers import TestInstrumentProvider

BASE, START = sys.argv[1:3] if len(sys.argv) > 2 else ("http://127.0.0.1:8000", "now-1d")
URL = f"{BASE}/candles?symbol=AAPL&interval=1m&start={START}&format=csv"

instrument = TestInstrumentProvider.equity(symbol="AAPL", venue="XNAS")  # an Equity with a tick of 0.01
bar_type = BarType.from_str(f"{instrument.id}-1-MINUTE-LAST-EXTERNAL")
candles = pd.read_csv(URL, parse_dates=["timestamp"], index_col="timestamp")[["open", "high", "low", "close", "volume"]]
candles.index += pd.Timedelta(minutes=1)  # Nautilus stamps a bar with its end, the service with its start
bars = BarDataWrangler(bar_type, instrument).process(candles)

print(json.dumps([[bar.ts_event, bar.ts_init, str(bar.open), str(bar.close), str(bar.volume)] for bar in bars]))
