"""Comparison of the database, the API and the copies of stream clients with the model."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx
from helpers.candle_scenarios import INTERVALS
from helpers.chaos.model import SYMBOLS, Model, TradeKey, Values, candles
from helpers.chaos.stage import Stage, connect
from helpers.follower import CandleKey, Follower, Market, Price, read_market
from helpers.follower import TradeKey as CopiedTradeKey
from helpers.support import Connection

ACTOR = "chaos"
"""Name of the API key of the writers."""

TRADES = "SELECT symbol, time, trade_id, price, volume FROM trades"
DROPPED_BEFORE = "SELECT nullif(dropped_before, '-infinity') FROM retention"
CANDLES = {
    interval: f"""
        SELECT symbol, bucket, open, high, low, close, volume, turnover, trade_count, (turnover / nullif(volume, 0))::float8
        FROM candles_{interval}
        ORDER BY symbol, bucket
    """
    for interval in INTERVALS
}
LATEST = "SELECT symbol, time, trade_id, price, volume FROM latest_trades"
CHANGES = f"SELECT id, action, symbol, time, trade_id FROM trade_changes WHERE actor = '{ACTOR}' ORDER BY id"
COUNTS = "SELECT (SELECT sum(trade_count) FROM data_version), (SELECT count(*) FROM trades)"
LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)


class Comparison:
    """Compares the database with the model, then the API and the copies of stream clients with the database."""

    def __init__(self, stage: Stage, model: Model, followers: Mapping[str, Follower]) -> None:
        self._stage = stage
        self._model = model
        self._followers = followers
        self._stored = Market()
        self._dropped_before = LONG_AGO
        self.version = 0
        """Version of the database that was compared."""

    def database(self) -> list[str]:
        with connect(self._stage) as connection, connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            ((dropped_before,),) = connection.execute(DROPPED_BEFORE.encode()).fetchall()
            self._dropped_before = dropped_before or LONG_AGO
            ((self.version,),) = connection.execute("SELECT newest_version()").fetchall()
            return self._compare_tables(connection)

    def api(self) -> list[str]:
        with httpx.Client(base_url=self._stage.environment.address, timeout=60) as api:
            return labelled("API", read_market(api).differences(self._stored))

    def copies(self) -> list[str]:
        return [
            difference
            for name, follower in self._followers.items()
            for difference in labelled(f"copy over {name}", self._without_dropped(follower).differences(self._stored))
        ]

    def _compare_tables(self, connection: Connection) -> list[str]:
        rows = connection.execute(TRADES.encode()).fetchall()
        stored = {TradeKey(*row[:3]): Values(*row[3:]) for row in rows}
        fed = {key: values for key, values in stored.items() if key.symbol not in SYMBOLS}
        whole = self._model.trades | fed
        kept = {key: values for key, values in whole.items() if key.time >= self._dropped_before}
        found = compare("trade", kept, stored)
        self._stored = Market({CopiedTradeKey(*key): floats(values) for key, values in stored.items()})
        for interval, query in CANDLES.items():
            rows = connection.execute(query.encode()).fetchall()
            found += compare(f"candle of {interval}", by_bucket(candles(whole.items(), interval)), by_bucket(rows))
            self._stored.candles |= {CandleKey(row[0], interval, row[1]): candle_values(row) for row in rows}
        newest = {key.symbol: (key, values) for key, values in sorted(whole.items())}
        rows = connection.execute(LATEST.encode()).fetchall()
        latest = {row[0]: (TradeKey(*row[:3]), Values(*row[3:])) for row in rows}
        found += compare("latest trade", newest, latest)
        self._stored.prices = {symbol: Price(key.time, *floats(values)) for symbol, (key, values) in latest.items()}
        changes = {(row[0], row[1], TradeKey(*row[2:])): 1 for row in connection.execute(CHANGES.encode()).fetchall()}
        found += compare("change", {tuple(each): 1 for each in self._model.changes}, changes)
        ((counted, present),) = connection.execute(COUNTS.encode()).fetchall()
        return found if counted == present else [*found, f"data_version counts {counted} trades of {present}"]

    def _without_dropped(self, follower: Follower) -> Market:
        """Return a copy without the trades that were dropped: no event says so."""
        market = follower.copy.market
        kept = {key: values for key, values in dict(market.trades).items() if key.time >= self._dropped_before}
        return Market(kept, dict(market.candles), dict(market.prices))


def compare(what: str, expected: Mapping[Any, Any], found: Mapping[Any, Any]) -> list[str]:
    return [
        f"{what} {key}: {found.get(key)} instead of {expected.get(key)}"
        for key in sorted(expected.keys() | found.keys())
        if expected.get(key) != found.get(key)
    ]


def labelled(label: str, found: Iterable[str]) -> list[str]:
    return [f"{label}: {each}" for each in found]


def by_bucket(rows: Iterable[Any]) -> dict[tuple[str, datetime], tuple[Any, ...]]:
    """Return the values of candles without their vwap."""
    return {(row[0], row[1]): tuple(row[2:9]) for row in rows}


def floats(values: Values) -> tuple[float, float]:
    return float(values.price), float(values.volume)


def candle_values(row: Any) -> tuple[Any, ...]:
    """Return the values of a candle as the API has them."""
    *_, volume, _, trade_count, vwap = row
    return (*map(float, row[2:6]), float(volume), vwap, trade_count)
