"""QuantConnect's LEAN: candles of a minute as custom data of a local run (`lean backtest`).

Copy the class into a project; `self.add_data(MarketDataCandle, "AAPL", Resolution.MINUTE)` subscribes to it.
"""

from datetime import datetime, timedelta

from AlgorithmImports import PythonData, SubscriptionDataSource, SubscriptionTransportMedium

# The service as LEAN's container sees it. With AUTH=required, SubscriptionDataSource takes headers as its last argument.
BASE = "http://host.docker.internal:8000"


class MarketDataCandle(PythonData):
    """A candle. LEAN reads one CSV a day."""

    def get_source(self, config, date, is_live):
        day, next_day = (f"{each:%Y-%m-%d}" for each in (date, date + timedelta(days=1)))
        url = f"{BASE}/candles?symbol={config.symbol.value}&interval=1m&start={day}&end={next_day}&format=csv"
        return SubscriptionDataSource(url, SubscriptionTransportMedium.REMOTE_FILE)

    def reader(self, config, line, date, is_live):
        symbol, timestamp, *values = line.split(",")
        if symbol == "symbol":
            return None  # the names of the columns
        candle = MarketDataCandle()
        candle.symbol = config.symbol
        candle.time = datetime.strptime(timestamp, "%Y-%m-%dT%H:%M:%SZ")
        candle.end_time = candle.time + timedelta(minutes=1)
        for name, value in zip(("open", "high", "low", "close", "volume"), values, strict=False):
            candle[name] = float(value)
        candle.value = candle["close"]
        return candle
