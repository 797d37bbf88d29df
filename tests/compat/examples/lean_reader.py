"""Read a day as LEAN does, with the class of the example and a stub of LEAN. Prints the candles, one JSON document."""

import json
import sys
import types
import urllib.request
from datetime import datetime
from types import SimpleNamespace


class PythonData(dict):  # type: ignore[type-arg]
    """Stub of LEAN's base class: values by name, and attributes."""


stub = types.ModuleType("AlgorithmImports")
vars(stub).update(
    PythonData=PythonData,
    SubscriptionDataSource=lambda url, medium: url,
    SubscriptionTransportMedium=SimpleNamespace(REMOTE_FILE="remote"),
)
sys.modules["AlgorithmImports"] = stub

folder, base, day = sys.argv[1:]
sys.path.insert(0, folder)
import lean_candles  # noqa: E402 # pyright: ignore[reportMissingImports]

lean_candles.BASE = base
config = SimpleNamespace(symbol=SimpleNamespace(value="AAPL"))
data, date = lean_candles.MarketDataCandle(), datetime.fromisoformat(day)
lines = urllib.request.urlopen(data.get_source(config, date, False)).read().decode().splitlines()
read = [candle for line in lines if (candle := data.reader(config, line, date, False)) is not None]
print(json.dumps([[candle.time.isoformat() + "Z", candle.end_time.isoformat() + "Z", dict(candle)] for candle in read]))  # noqa: T201
