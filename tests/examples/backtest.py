"""A backtest with `backtesting`: two moving averages on candles of a minute.

python backtest.py http://127.0.0.1:8000 now-1d    (pip install backtesting)
"""

import json
import sys

import pandas as pd
from backtesting import Backtest, Strategy
from backtesting.lib import crossover

BASE, START = sys.argv[1:3] if len(sys.argv) > 2 else ("http://127.0.0.1:8000", "now-1d")
URL = f"{BASE}/candles?symbol=AAPL&interval=1m&start={START}&format=csv"


def average(values, length):
    return pd.Series(values).rolling(length).mean()


class Crossing(Strategy):
    fast, slow = 5, 20

    def init(self):
        self.fast_average = self.I(average, self.data.Close, self.fast)
        self.slow_average = self.I(average, self.data.Close, self.slow)

    def next(self):
        if crossover(self.fast_average, self.slow_average):
            self.buy()
        elif crossover(self.slow_average, self.fast_average):
            self.position.close()


# With `as_of=…` in the URL (a version or time), later corrections do not change the result.
candles = pd.read_csv(URL, parse_dates=["timestamp"], index_col="timestamp")
candles = candles[candles["closed"]]  # the last one still changes
candles.columns = [name.capitalize() for name in candles.columns]
result = Backtest(candles, Crossing, cash=100_000, finalize_trades=True).run()

print(
    json.dumps(
        {
            "candles": len(candles),
            "trades": int(result["# Trades"]),
            "return": result["Return [%]"],
            "buy_and_hold": result["Buy & Hold Return [%]"],
            "final": result["Equity Final [$]"],
        }
    )
)
